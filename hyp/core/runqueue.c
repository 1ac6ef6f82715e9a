/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Run queues: one per CPU, ordered by weighted virtual runtime, least first; and how a CPU takes from another's.
 *
 * A vCPU's state, vruntime and queue links are covered by the rq_lock of the CPU that v->cpu names; v->cpu changes only under that lock, so
 * rq_lock_home() takes it and looks again. A second rq_lock is only ever tried, never waited for. A thief may not take a vCPU whose
 * registers are still live on the victim (victim->current): the victim puts another in that place only after it has saved them (release;
 * here: acquire).
 *
 * sched_shared.waiting counts what is READY in all queues. It is raised before the queuer reads who runs without a slice (alarm.c), and
 * rq_least is only a hint for those who do not hold the lock.
 */
#include "hyp/core/runqueue.h"
#include "hyp/arch/timer.h"

struct sched_shared sched_shared;

static struct vcpu *stealable(struct cpu *c, struct cpu *victim, uint64_t below) {
  list_for_each (node, &victim->rq) {
    struct vcpu *v = list_entry(node, struct vcpu, rq_node);
    if (v->vruntime >= below)
      return NULL;
    if (atomic_load_acquire(&victim->current) != v && (v->affinity & BIT(c->id)))
      return v;
  }
  return NULL;
}

struct vcpu *rq_steal(struct cpu *c, uint64_t below) {
  for (unsigned i = 1; i < cpu_count; i++) {
    struct cpu *victim = &cpus[(c->id + i) % cpu_count];
    if (!rq_has_below(victim, below) || !spin_trylock(&victim->rq_lock))
      continue;
    struct vcpu *v = stealable(c, victim, below);
    if (v)
      rq_take(c, victim, v, timer_now());
    spin_unlock(&victim->rq_lock);
    if (v)
      return v;
  }
  return NULL;
}
