/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Takes memory until there is none: the kernel must end the child that does it, with a report, and get everything back. Done twice: the
 * second child must get as far as the first. The argument is the MiB of address space to try (default 4096).
 */
#include "user.h"

#define NEAR_PAGES 64 /* what caches may keep between the two runs */

static volatile unsigned long *progress; /* shared with the children */
static unsigned long bytes = 4096ul << 20;

static int take_all(void *arg) {
  (void)arg;
  volatile unsigned char *p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (is_error((const void *)(uintptr_t)p))
    return 1;
  for (unsigned long i = 0; i < bytes / PAGE; i++) {
    p[i * PAGE] = 1;
    *progress = i + 1;
  }
  return 0;
}

static unsigned long run(void) {
  *progress = 0;
  EXPECT_EQ(in_child(take_all, NULL), LINUX_SIGKILL);
  print("hog: ended after %lu pages\n", *progress);
  return *progress;
}

int main(int argc, char **argv, char **envp) {
  (void)envp;
  if (argc > 1 && str_number(argv[1]) > 0)
    bytes = str_number(argv[1]) << 20;
  progress = sys_mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  *progress = 0;
  unsigned long first = run(), second = run();
  expect(first > 0 && second + NEAR_PAGES >= first && first + NEAR_PAGES >= second, "pages of the second run", second, first);
  return verdict("hog");
}
