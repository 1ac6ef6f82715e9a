/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that is touched and let go, with as few instructions as can be: a word in each page. Arguments: MiB, rounds, milliseconds from one
 * to the next. What it costs others is measured by whoever reads "high" (all touched) and "low" (all let go).
 */
#include "user.h"

#define MIB_PAGES ((1ul << 20) / PAGE)

static void round_of(unsigned long pages, unsigned long n) {
  char *area = sys_mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  EXPECT_EQ(is_error(area), 0);
  if (is_error(area))
    return;
  for (char *at = area; at < area + pages * PAGE; at += PAGE)
    *(volatile unsigned long *)at = n;
  print("touch: high %lu\n", n);
  EXPECT_EQ(sys_munmap(area, pages * PAGE), 0);
  print("touch: low %lu\n", n);
}

int main(int argc, char **argv, char **envp) {
  unsigned long pages = (argc > 1 ? str_number(argv[1]) : 64) * MIB_PAGES;
  unsigned long rounds = argc > 2 ? str_number(argv[2]) : 2, ms = argc > 3 ? str_number(argv[3]) : 1000;
  (void)envp;
  for (unsigned long n = 0; n < rounds; n++) {
    if (n > 0)
      sleep_ms(ms);
    round_of(pages, n);
  }
  return verdict("touch");
}
