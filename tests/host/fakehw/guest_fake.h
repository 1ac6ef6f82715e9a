/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FAKEHW_GUEST_FAKE_H
#define FAKEHW_GUEST_FAKE_H

/*
 * Hardware for host tests of guest/drivers, in the place of arch/barrier.h and guest/drivers/timer.h (by their include guards: tests pass
 * this file with -include): barriers of this machine, and a clock that the test owns.
 */

#include <stdint.h>

#define ARCH_BARRIER_H
#define dsb(option_) __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define dmb(option_) __atomic_thread_fence(__ATOMIC_SEQ_CST)
static inline void isb(void) {
}
static inline void cpu_relax(void) {
}

#define GUEST_DRIVERS_TIMER_H
#define TIMER_NEVER (~(uint64_t)0)
extern uint64_t timer_hz;
uint64_t timer_now(void);

#endif
