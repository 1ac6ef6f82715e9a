/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Costs of VMs by the performance monitors (cost.h). Owns event counters 0 and 1 of every CPU; guests have none (MDCR_EL2.TPM).
 *
 * The counters run freely. Whoever hands the CPU from one beneficiary to the next says to whom belongs what was counted up to then. A step
 * of work every WATCH_MS sees to it that no difference passes 2^32.
 */
#include "hyp/core/cost.h"
#include "arch/pmu.h"
#include "core/atomic.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/mem/stage2.h"

#define WATCH_MS 1000u

static enum work_result watch(struct work *w) {
  w->wake_at = time_now() + time_from_ms(WATCH_MS);
  return WORK_WAIT;
}

static struct work watcher;

bool cost_start(void) {
  if (pmu_counters() < 2)
    return false;
  trace_mask |= TRACE_WATCH_COST;
  cost_cpu_init();
  watcher.step = watch;
  work_wake(&watcher);
  return true;
}

void cost_cpu_init(void) {
  if (cost_is_measured() && pmu_counters() >= 2)
    pmu_count_by_level();
}

void cost_charge(struct cpu *c, struct vm *vm) {
  uint32_t el2 = pmu_el2(), guest = pmu_guest();
  if (vm) {
    atomic_fetch_add_relaxed(&vm->cost.el2, (uint32_t)(el2 - c->cost_el2));
    atomic_fetch_add_relaxed(&vm->cost.guest, (uint32_t)(guest - c->cost_guest));
    atomic_fetch_add_relaxed(&vm->cost.tlbis, c->cost_tlbis);
  }
  c->cost_el2 = el2;
  c->cost_guest = guest;
  c->cost_tlbis = 0;
}

void cost_pause_measured(struct cpu *c) {
  cost_charge(c, c->current ? c->current->vm : NULL);
}

uint64_t cost_of_zeroing(pfn_t f, unsigned order) {
  uint32_t before = pmu_el2();
  stage2_cleanse_block(f, order);
  return (uint32_t)(pmu_el2() - before);
}
