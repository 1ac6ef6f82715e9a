/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_TIMER_H
#define GUEST_DRIVERS_TIMER_H

/* The virtual generic timer. Times are in ticks of CNTVCT_EL0. */

#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "core/types.h"

#define TIMER_NEVER (~(uint64_t)0)

extern uint64_t timer_hz;

/* Per CPU: stopped, its interrupt enabled. */
void timer_cpu_init(uint32_t intid);

static inline uint64_t timer_now(void) {
  isb(); /* else the read may be early (Arm ARM D11.2.2) */
  return sysreg_read(cntvct_el0);
}

/* Interrupt this CPU at `deadline`, replacing what was asked before; TIMER_NEVER: not at all. */
static inline void timer_arm(uint64_t deadline) {
  if (deadline == TIMER_NEVER) {
    sysreg_write(cntv_ctl_el0,
                 0); /* and not a compare value near 2^64: QEMU up to 8.1 adds CNTVOFF_EL2 to it without minding the carry, and hangs */
    return;
  }
  sysreg_write(cntv_cval_el0, deadline);
  sysreg_write(cntv_ctl_el0, CNT_CTL_ENABLE);
}

uint64_t timer_ns(uint64_t ticks);
/* Rounded up: a sleep is never too short. Saturates. */
uint64_t timer_ticks(uint64_t seconds, uint64_t ns);

#endif
