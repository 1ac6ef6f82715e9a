/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The alarm of each CPU (CNTHP, one shot) and the slices that end by it.
 *
 * The alarm stands for the earliest of: the end of the slice of the vCPU that runs here, the timer of a vCPU that sleeps here, the emulated
 * timer of the one that runs, EL2's own work (CPU 0). It may be early, never late; when it fires, sched_tick() works out the next one from
 * everything.
 *
 * Slices: a CPU counts one while somebody waits anywhere. When a slice ends and nobody waits it goes on without (`tickless`), until whoever
 * makes a vCPU ready tells it. Its bit is set before the count of waiting vCPUs is read, and who queues one reads the bits after counting
 * it: one of the two sees the other. A vCPU that was handed to an idle CPU is not counted as waiting until that CPU turns out to take
 * another.
 *
 * Lock: timer_at and slice_end are their CPU's own; `sleepers` is under rq_lock, which is taken here and not held by callers.
 */
#include "hyp/core/alarm.h"
#include "hyp/arch/gic.h"
#include "hyp/core/runqueue.h"
#include "hyp/core/sched.h"
#include "hyp/core/work.h"

static uint64_t earliest_sleeper(struct cpu *c) {
  uint64_t at = TIMER_NEVER;
  if (c->sleepers.next == &c->sleepers) /* only this CPU adds to it */
    return at;
  spin_lock(&c->rq_lock); /* another CPU may be waking one of them */
  list_for_each (node, &c->sleepers)
    at = min_u64(at, vtimer_next(&list_entry(node, struct vcpu, sleep_node)->vtimer));
  spin_unlock(&c->rq_lock);
  return at;
}

void alarm_update(struct cpu *c, uint64_t until) {
  struct vcpu *v = c->current;
  uint64_t at = min_u64(until, earliest_sleeper(c));
  if (v && v->state == VCPU_RUNNING)
    at = min_u64(at, vtimer_next(&v->vtimer));
  alarm_by(c, c->id == 0 ? min_u64(at, work_next()) : at);
}

static struct vcpu *first_due(struct cpu *c, uint64_t now) {
  struct vcpu *due = NULL;
  spin_lock(&c->rq_lock);
  list_for_each (node, &c->sleepers) {
    struct vcpu *v = list_entry(node, struct vcpu, sleep_node);
    if (vtimer_next(&v->vtimer) <= now) {
      due = v;
      break;
    }
  }
  spin_unlock(&c->rq_lock);
  return due;
}

/* The interrupt itself is raised by the CPU that has or loads the vCPU, for only that one may touch its timer. */
void alarm_expire_sleepers(struct cpu *c, uint64_t now) {
  struct vcpu *due;
  while ((due = first_due(c, now)) != NULL) {
    if (due == c->current)
      vtimer_expire(due, now);
    vcpu_request(due, VCPU_REQ_VGIC);
  }
}

bool slice_drop(struct cpu *c) {
  if (atomic_load_relaxed(&sched_shared.waiting) != 0)
    return false;
  c->slice_end = TIMER_NEVER;
  atomic_fetch_or(&sched_shared.tickless, BIT(c->id));
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (likely(atomic_load_relaxed(&sched_shared.waiting) == 0))
    return true;
  atomic_fetch_and(&sched_shared.tickless, ~BIT(c->id));
  return false;
}

void slice_restore_all(void) {
  uint64_t who = atomic_exchange(&sched_shared.tickless, 0);
  while (who) {
    struct cpu *c = &cpus[bits_ffs(who)];
    who &= who - 1;
    if (c == this_cpu()) {
      c->slice_end = slice_from(timer_now());
      alarm_by(c, c->slice_end);
    } else {
      gic_send_sgi(c, GIC_SGI_KICK);
    }
  }
}
