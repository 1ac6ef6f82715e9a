/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory use that rises and falls: an area that is kept and one that comes and goes, both filled with patterns that name their place.
 * Arguments: MiB kept, MiB of the flood, floods, milliseconds from one to the next; with a fifth, a flood whose time has passed is left
 * out, so that all is over in time on a slow machine, too. `told` in place of the milliseconds: each but the first comes when a line is
 * typed. It says when each flood is at its height and when it is over; "tide: PASS" means that no word was anything but what was written,
 * and that fresh memory was zero.
 */
#include "user.h"

#define WORDS (PAGE / sizeof(unsigned long))
#define MIB_PAGES ((1ul << 20) / PAGE)

static unsigned long pattern(unsigned long page, unsigned long word, unsigned long salt) {
  unsigned long z = (page << 20 ^ word << 3 ^ salt << 50) * 0x9e3779b97f4a7c15ul;
  return z ^ z >> 29;
}

/* Eight words of each page, another eight in each flood. Returns how many words were not zero before. */
static unsigned long fill(unsigned long *area, unsigned long pages, unsigned long salt, bool fresh) {
  unsigned long dirty = 0;
  for (unsigned long p = 0; p < pages; p++)
    for (unsigned long w = salt % 64; w < WORDS; w += 64) {
      dirty += fresh && area[p * WORDS + w] != 0;
      area[p * WORDS + w] = pattern(p, w, salt);
    }
  return dirty;
}

static unsigned long wrong(const unsigned long *area, unsigned long pages, unsigned long salt) {
  unsigned long bad = 0;
  for (unsigned long p = 0; p < pages; p++)
    for (unsigned long w = salt % 64; w < WORDS; w += 64)
      bad += area[p * WORDS + w] != pattern(p, w, salt);
  return bad;
}

static unsigned long *map(unsigned long pages) {
  unsigned long *area = sys_mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  expect(!is_error(area), "mmap", (unsigned long)area, 0);
  return is_error(area) ? NULL : area;
}

static void flood(unsigned long pages, unsigned long n) {
  unsigned long *area = map(pages);
  if (!area)
    return;
  EXPECT_EQ(fill(area, pages, n, true), 0);
  EXPECT_EQ(wrong(area, pages, n), 0);
  print("tide: high %lu\n", n);
  EXPECT_EQ(sys_munmap(area, pages * PAGE), 0);
  print("tide: low %lu\n", n);
}

static unsigned long argument(int argc, char **argv, int n, unsigned long otherwise) {
  return argc > n ? str_number(argv[n]) : otherwise;
}

static void await_line(void) {
  char c = 0;
  while (c != '\n' && sys_read(0, &c, 1) == 1)
    ;
}

int main(int argc, char **argv, char **envp) {
  unsigned long kept = argument(argc, argv, 1, 8) * MIB_PAGES, pages = argument(argc, argv, 2, 64) * MIB_PAGES;
  unsigned long floods = argument(argc, argv, 3, 2), ms = argument(argc, argv, 4, 1000);
  bool told = argc > 4 && str_starts(argv[4], "told");
  uint64_t began = now_ns();
  unsigned long *area = map(kept);
  (void)envp;
  if (!area)
    return verdict("tide");
  fill(area, kept, 99, true);
  for (unsigned long n = 0; n < floods; n++) {
    uint64_t passed = (now_ns() - began) / 1000000;
    if (n > 0 && told)
      await_line();
    else if (passed < n * ms)
      sleep_ms(n * ms - passed);
    if (argc <= 5 || passed < (n + 1) * ms)
      flood(pages, n);
    EXPECT_EQ(wrong(area, kept, 99), 0);
  }
  return verdict("tide");
}
