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
