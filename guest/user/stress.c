/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checksummed memory work: fills pages with a pattern that names its place, forks children that change their copies, checks, drops some,
 * checks again. Arguments: pages (default 256), rounds (default 4). "stress: PASS" means that no byte was anything but what was written.
 */
#include "user.h"

static unsigned long pages = 256;
static unsigned long *area;

static unsigned long pattern(unsigned long page, unsigned long word, unsigned long salt) {
  unsigned long z = (page << 20 ^ word << 3 ^ salt) * 0x9e3779b97f4a7c15ul;
  return z ^ z >> 29;
}

/* Eight words spread over the page, so that a page costs little and every line of it may be hit in some round. */
static void fill(unsigned long page, unsigned long salt) {
  for (unsigned long w = salt % 64; w < 512; w += 64)
    area[page * 512 + w] = pattern(page, w, salt);
}

static unsigned long wrong(unsigned long page, unsigned long salt) {
  unsigned long bad = 0;
  for (unsigned long w = salt % 64; w < 512; w += 64)
    bad += area[page * 512 + w] != pattern(page, w, salt);
  return bad;
}

static unsigned long wrong_all(unsigned long salt) {
  unsigned long bad = 0;
  for (unsigned long p = 0; p < pages; p++)
    bad += wrong(p, salt);
  return bad;
}

static int child(void *arg) {
  unsigned long salt = (unsigned long)arg;
  if (wrong_all(salt) != 0)
    return 1;
  for (unsigned long p = 0; p < pages; p += 2)
    fill(p, salt + 64);
  for (unsigned long p = 0; p < pages; p++)
    if (wrong(p, p % 2 == 0 ? salt + 64 : salt) != 0)
      return 2;
  return 0;
}

static void drop_and_check(unsigned long salt) {
  for (unsigned long p = 0; p < pages; p += 4)
    sys_madvise(&area[p * 512], PAGE, MADV_DONTNEED);
  for (unsigned long p = 0; p < pages; p++) {
    if (p % 4 != 0)
      EXPECT_EQ(wrong(p, salt), 0);
    else
      EXPECT_EQ(area[p * 512 + salt % 64], 0);
  }
}

int main(int argc, char **argv, char **envp) {
  unsigned long rounds = argc > 2 ? str_number(argv[2]) : 4;
  (void)envp;
  if (argc > 1 && str_number(argv[1]) > 0)
    pages = str_number(argv[1]);
  area = sys_mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (is_error(area)) {
    print("stress: mmap of %lu pages failed\n", pages);
    return 1;
  }
  for (unsigned long r = 0; r < rounds; r++) {
    for (unsigned long p = 0; p < pages; p++)
      fill(p, r);
    EXPECT_EQ(in_child(child, (void *)r), 0);
    EXPECT_EQ(wrong_all(r), 0);
    drop_and_check(r);
  }
  print("stress: %lu pages, %lu rounds, %lu minor faults\n", pages, rounds, minor_faults());
  return verdict("stress");
}
