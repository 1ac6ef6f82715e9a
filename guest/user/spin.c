/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Says that it begins, works for a while and says how far it got: what each of several runners has got of the CPU. Arguments: milliseconds
 * (default 1000), label. A round is a fixed number of instructions, so counts compare across runners.
 */
#include "user.h"

#define ROUND 1000ul

static void one_round(void) {
  unsigned long n = ROUND;
  __asm__ volatile("1: subs %0, %0, #1\n\tb.ne 1b" : "+r"(n)::"cc");
}

int main(int argc, char **argv, char **envp) {
  unsigned long ms = argc > 1 ? str_number(argv[1]) : 1000, rounds = 0;
  const char *label = argc > 2 ? argv[2] : "spin";
  (void)envp;
  print("spin: %s begins\n", label);
  uint64_t end = ticks() + ms * ticks_per_second() / 1000;
  while (ticks() < end) {
    one_round();
    rounds++;
  }
  print("spin: %s pid %ld: %lu rounds of %lu in %lu ms\n", label, sys_getpid(), rounds, ROUND, ms);
  return 0;
}
