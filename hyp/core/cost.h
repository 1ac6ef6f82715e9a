/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_COST_H
#define HYP_CORE_COST_H

/*
 * What a VM costs, in instructions: EL2's on its behalf and its own, counted by the CPU's performance monitors (event INST_RETIRED,
 * filtered by exception level), so that what is measured pays nothing for it. Only when the scenario asks (`measure-el2`).
 *
 * EL2 code belongs to the VM whose registers are in the CPU, but for EL2's own work (work.c) and idling. A vCPU's part shows when it leaves
 * the CPU or a step of such work begins: on a machine of one CPU the monitor always sees all of it.
 */

#include "core/compiler.h"
#include "core/types.h"
#include "hyp/core/cpu.h"
#include "hyp/ctl/trace.h"
#include "mm/frame.h"

/* In struct vm; any CPU, atomically. */
struct vm_cost {
  uint64_t el2, guest; /* instructions */
  uint64_t tlbis;      /* operations, not broadcasts received */
};

/* Kept as a bit of trace_mask, so that one look asks whether anybody watches. */
static inline bool cost_is_measured(void) {
  return unlikely(trace_mask & TRACE_WATCH_COST);
}

/* Measure from now on; boot CPU, before others start. False, and nothing done, if the CPU has no counters (FEAT_PMUv3, two of them). */
bool cost_start(void);
/* This CPU counts if costs are measured. Each CPU but the first, once. */
void cost_cpu_init(void);

/* What was counted since the last call is `vm`'s; NULL: nobody's. On `c` itself. */
struct vm;
void cost_charge(struct cpu *c, struct vm *vm);

/* Before and after what EL2 does for nobody in particular. */
void cost_pause_measured(struct cpu *c);
static inline void cost_pause(struct cpu *c) {
  if (cost_is_measured())
    cost_pause_measured(c);
}
static inline void cost_resume(struct cpu *c) {
  if (cost_is_measured())
    cost_charge(c, NULL);
}

/* Instructions that zeroing a block of `order` (0 or 9) takes in a stage-2 fault; measured on `f`, which is the caller's. */
uint64_t cost_of_zeroing(pfn_t f, unsigned order);

#endif
