/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_TIMER_H
#define HYP_ARCH_TIMER_H

/* The EL2 physical timer (CNTHP), EL2's only alarm: one per CPU, PPI 26. */

#include "arch/barrier.h"
#include "arch/sysreg.h"

#define TIMER_NEVER (~(uint64_t)0)

/* Without an ISB the read may be early by what the pipeline holds: good enough for policy and statistics. */
static inline uint64_t timer_now(void) {
  return sysreg_read(cntpct_el0);
}

/*
 * Is CNTPCT a count of instructions, 16 to a tick (QEMU's icount)? Else it is real time, of which the host takes as much as it likes in any
 * place. Loops of known length tell; some 32,000 instructions.
 */
static inline bool timer_counts_instructions(void) {
  const uint64_t rounds = 4000, expected = rounds * 2 / 16;
  for (unsigned i = 0; i < 4; i++) {
    uint64_t left = rounds, began = timer_now();
    __asm__ volatile("1: subs %0, %0, #1\n\tb.ne 1b" : "+r"(left)::"cc");
    uint64_t ticks = timer_now() - began;
    if (ticks < expected || ticks > expected + 2)
      return false;
  }
  return true;
}

static inline void timer_arm(uint64_t at) {
  sysreg_write(cnthp_cval_el2, at);
  sysreg_write(cnthp_ctl_el2, CNT_CTL_ENABLE);
  isb();
}

static inline void timer_disarm(void) {
  sysreg_write(cnthp_ctl_el2, 0);
  isb();
}

#endif
