/* SPDX-License-Identifier: BSD-2-Clause */
/* The virtual timer's set-up and unit conversions. Who wants to be woken when is the scheduler's business. */
#include "guest/drivers/timer.h"

#include "guest/drivers/gic.h"

#define NS_PER_S 1000000000ull

uint64_t timer_hz;

void timer_cpu_init(uint32_t intid) {
  timer_hz = sysreg_read(cntfrq_el0);
  timer_arm(TIMER_NEVER);
  isb();
  gic_enable(intid);
}

uint64_t timer_ns(uint64_t ticks) {
  return ticks / timer_hz * NS_PER_S + ticks % timer_hz * NS_PER_S / timer_hz;
}

uint64_t timer_ticks(uint64_t seconds, uint64_t ns) {
  if (seconds >= TIMER_NEVER / 2 / timer_hz)
    return TIMER_NEVER / 2;
  return seconds * timer_hz + (ns * timer_hz + NS_PER_S - 1) / NS_PER_S;
}
