/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_RUNQUEUE_H
#define HYP_CORE_RUNQUEUE_H

/* The run queues, for the files of the scheduler. See runqueue.c for the rules; short and hot steps stand here. */

#include "core/atomic.h"
#include "core/list.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"

#define RQ_EMPTY (~(uint64_t)0) /* rq_least of an empty queue */
#define RQ_WEIGHT_DEFAULT 100u

/* What all CPUs share. */
extern struct sched_shared {
  uint32_t waiting;     /* vCPUs READY anywhere; atomic */
  uint64_t idle;        /* CPUs that sleep or are about to; atomic. Whoever clears a CPU's bit queues a vCPU there and kicks it */
  uint64_t tickless;    /* CPUs whose vCPU runs without a slice (slice_end is NEVER); atomic */
  uint64_t floor;       /* virtual runtime of those picked lately: where newcomers start; racy, a hint */
  uint64_t slice_ticks; /* constant after sched_init(), as is the next */
  uint32_t slice_shift; /* 32 bits shifted right by this are at most an eighth of a slice */
} sched_shared;

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
  atomic_add_fetch(&sched_shared.waiting, (uint32_t)-1);
  rq_refresh_hint(c);
}

/* `v`, first or further down in the queue of `from`, runs on `c` from now on. */
static inline void rq_take(struct cpu *c, struct cpu *from, struct vcpu *v, uint64_t now) {
  rq_dequeue(from, v);
  v->state = VCPU_RUNNING;
  v->run_since = now;
  if (c != from)
    atomic_store_release(&v->cpu, c);
  atomic_store_relaxed(&sched_shared.floor, v->vruntime);
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

/* `v` becomes READY on `c`, in its place by virtual runtime. The caller tells the CPUs that should know (slice_somebody_waits, a kick). */
static inline void rq_enqueue(struct cpu *c, struct vcpu *v) {
  struct list_node *at = c->rq.next;
  while (at != &c->rq && list_entry(at, struct vcpu, rq_node)->vruntime <= v->vruntime)
    at = at->next;
  list_insert_between(&v->rq_node, at->prev, at);
  v->state = VCPU_READY;
  atomic_add_fetch(&sched_shared.waiting, 1);
  __atomic_thread_fence(__ATOMIC_SEQ_CST); /* see slice_drop() */
  if (v->rq_node.prev == &c->rq)
    atomic_store_relaxed(&c->rq_least, v->vruntime);
}

/* No lock held: take a vCPU that waits elsewhere and has had less than `below`. */
struct vcpu *rq_steal(struct cpu *c, uint64_t below);

/* `v`, which is RUNNING, has run till `now`. */
static inline void rq_charge(struct vcpu *v, uint64_t now) {
  uint64_t used = now - v->run_since;
  v->run_since = now;
  v->run_ticks += used;
  v->vruntime += likely(v->vm->config.weight == RQ_WEIGHT_DEFAULT) ? used : used * RQ_WEIGHT_DEFAULT / v->vm->config.weight;
}

#endif
