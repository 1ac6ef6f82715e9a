/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holds values in all FP/SIMD registers for a while, again and again, and looks whether they are still there: under a hypervisor whose own
 * code (libfdt, while it makes a VM) uses these registers too. Argument: milliseconds (default 1000).
 */
#include "user.h"

#define HOLD_MS 2u

/* guest/user/lib/fp_check.S */
bool fp_survives_wait(unsigned long seed, uint64_t until);

int main(int argc, char **argv, char **envp) {
  unsigned long ms = argc > 1 ? str_number(argv[1]) : 1000, rounds = 0;
  uint64_t hold = HOLD_MS * ticks_per_second() / 1000, end = ticks() + ms * ticks_per_second() / 1000;
  (void)envp;
  for (; ticks() < end; rounds++) {
    if (!fp_survives_wait(0x0123456789abcdeful * (rounds + 1), ticks() + hold)) {
      print("fpkeep: FAIL: a register changed in round %lu\n", rounds);
      return 1;
    }
  }
  print("fpkeep: PASS, %lu rounds\n", rounds);
  return 0;
}
