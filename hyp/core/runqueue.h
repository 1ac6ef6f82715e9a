/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_RUNQUEUE_H
#define HYP_CORE_RUNQUEUE_H

/* The run queues, for the files of the scheduler. See runqueue.c for the rules; short and hot steps stand here. */

#include "core/atomic.h"
#include "core/list.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vcpu.h"

#define RQ_EMPTY (~(uint64_t)0) /* rq_least of an empty queue */

extern uint32_t rq_waiting;  /* vCPUs READY anywhere; atomic */
extern uint64_t rq_floor;    /* virtual runtime of those picked lately: where newcomers start; racy, a hint */
extern uint64_t rq_cpu_idle; /* CPUs that sleep or are about to; atomic. Whoever clears a CPU's bit queues a vCPU there and kicks it */

/* Lock the queue that `v` belongs to. */
static inline struct cpu *rq_lock_home(struct vcpu *v) {
  for (;;) {
    struct cpu *c = atomic_load_acquire(&v->cpu);
    spin_lock(&c->rq_lock);
    if (likely(v->cpu == c))
      return c;
    spin_unlock(&c->rq_lock);
  }
}

/* Are the registers of `v` still on its CPU? */
static inline bool rq_is_live(const struct vcpu *v) {
  return atomic_load_acquire(&v->cpu->current) == v;
}

/* A glance without the lock: does a vCPU with less than `below` wait on `c`? */
static inline bool rq_has_below(const struct cpu *c, uint64_t below) {
  return atomic_load_relaxed(&c->rq_least) < below;
}

/* The rest with c->rq_lock held. */

static inline void rq_refresh_hint(struct cpu *c) {
  struct list_node *first = c->rq.next;
  atomic_store_relaxed(&c->rq_least, first != &c->rq ? list_entry(first, struct vcpu, rq_node)->vruntime : RQ_EMPTY);
}

static inline void rq_dequeue(struct cpu *c, struct vcpu *v) {
  list_remove(&v->rq_node);
  atomic_add_fetch(&rq_waiting, (uint32_t)-1);
  rq_refresh_hint(c);
}

/* `v`, first or further down in the queue of `from`, runs on `c` from now on. */
static inline void rq_take(struct cpu *c, struct cpu *from, struct vcpu *v, uint64_t now) {
  rq_dequeue(from, v);
  v->state = VCPU_RUNNING;
  v->run_since = now;
  if (c != from)
    atomic_store_release(&v->cpu, c);
  atomic_store_relaxed(&rq_floor, v->vruntime);
}

/* Take the first of c's own; NULL if there is none. */
static inline struct vcpu *rq_take_first(struct cpu *c, uint64_t now) {
  struct list_node *first = c->rq.next;
  if (first == &c->rq)
    return NULL;
  struct vcpu *v = list_entry(first, struct vcpu, rq_node);
  rq_take(c, c, v, now);
  return v;
}

/* `v` becomes READY on `c`, in its place by virtual runtime. The caller tells a CPU that should know (slice_wake_all, or a kick). */
void rq_enqueue(struct cpu *c, struct vcpu *v);

/* No lock held: take a vCPU that waits elsewhere and has had less than `below`. */
struct vcpu *rq_steal(struct cpu *c, uint64_t below);

/* `v`, which is RUNNING, has run till `now`. */
void rq_charge(struct vcpu *v, uint64_t now);

#endif
