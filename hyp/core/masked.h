/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_MASKED_H
#define HYP_CORE_MASKED_H

/*
 * How long EL2 keeps interrupts masked (design decision 5: at most 100,000 instructions). Measured only when the scenario asks
 * (`measure-masked`): from an exit, or from the wake-up of an idle CPU, to the next moment an interrupt is taken or looked for.
 */

#include "core/bits.h"
#include "core/compiler.h"
#include "hyp/arch/timer.h"
#include "hyp/core/cpu.h"
#include "hyp/ctl/trace.h"

/* Kept as a bit of trace_mask, so that an exit asks once whether anybody watches. */
static inline bool masked_is_measured(void) {
  return unlikely(trace_mask & TRACE_WATCH_MASKED);
}

static inline void masked_begin(struct cpu *c) {
  if (masked_is_measured())
    c->masked_since = timer_now();
}

static inline void masked_end(struct cpu *c) {
  if (masked_is_measured() && c->masked_since) {
    c->masked_max = max_u64(c->masked_max, timer_now() - c->masked_since);
    c->masked_since = 0;
  }
}

#endif
