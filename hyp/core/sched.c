/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vCPU scheduler: a run queue per CPU, ordered by weighted virtual runtime, with stealing.
 *
 * A CPU runs the ready vCPU that has had least. When its slice ends it looks at the other queues too and takes a waiting vCPU from there if that
 * one is further behind, so that N vCPUs on M CPUs share them evenly whatever N and M are. A CPU with nothing to run keeps the state of its
 * last vCPU loaded and waits in WFI: if that vCPU's interrupt is the next thing to happen, nothing has to move.
 *
 * Lock: a vCPU's state, vruntime and queue links are covered by the rq_lock of the CPU that v->cpu names; v->cpu changes only under that lock, so
 * lock_home() takes it and looks again. A second rq_lock is only ever tried, never waited for. A thief may not take a vCPU whose registers are
 * still live on the victim (victim->current).
 * Lock order: vms_lock -> stage2.lock -> vgic locks -> rq_lock -> (zone lock, console lock).
 */
#include "hyp/core/sched.h"
#include "core/check.h"
#include "hyp/arch/fp.h"
#include "hyp/arch/gic.h"
#include "hyp/arch/switch.h"
#include "hyp/arch/timer.h"
#include "hyp/arch/vttbr.h"
#include "hyp/core/cpu.h"
#include "hyp/core/exit.h"
#include "hyp/core/masked.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/view.h"

#define WEIGHT_DEFAULT 100u
#define NOT_READY (~(uint64_t)0)

static uint64_t slice_ticks;
static uint64_t idle_mask;      /* CPUs in WFI; atomic */
static uint64_t tickless;       /* CPUs that run a vCPU without a slice; atomic */
static uint32_t ready_count;    /* vCPUs READY anywhere; atomic */
static uint64_t floor_vruntime; /* of those picked lately: where newcomers start; racy, a hint */

void sched_init(uint32_t slice_us) {
  slice_ticks = time_from_ms(1) * slice_us / 1000;
}

/* ---- queue, under c->rq_lock ---- */

static void refresh_hint(struct cpu *c) {
  struct list_node *first = list_first(&c->rq);
  atomic_store_relaxed(&c->rq_least, first ? list_entry(first, struct vcpu, rq_node)->vruntime : NOT_READY);
}

static void enqueue(struct cpu *c, struct vcpu *v) {
  struct list_node *at = c->rq.next;
  while (at != &c->rq && list_entry(at, struct vcpu, rq_node)->vruntime <= v->vruntime)
    at = at->next;
  list_insert_between(&v->rq_node, at->prev, at);
  v->state = VCPU_READY;
  atomic_add_fetch(&ready_count, 1);
  __atomic_thread_fence(__ATOMIC_SEQ_CST); /* see start_slice() */
  refresh_hint(c);
}

static void dequeue(struct cpu *c, struct vcpu *v) {
  list_remove(&v->rq_node);
  atomic_add_fetch(&ready_count, (uint32_t)-1);
  refresh_hint(c);
}

static struct cpu *lock_home(struct vcpu *v) {
  for (;;) {
    struct cpu *c = atomic_load_acquire(&v->cpu);
    spin_lock(&c->rq_lock);
    if (v->cpu == c)
      return c;
    spin_unlock(&c->rq_lock);
  }
}

static bool is_live(const struct vcpu *v) {
  return v->cpu->current == v;
}

static void kick(const struct cpu *c) {
  if (c != this_cpu())
    gic_send_sgi(c, GIC_SGI_KICK);
}

/* ---- accounting ---- */

static void charge(struct vcpu *v, uint64_t now) {
  uint64_t used = now - v->run_since;
  v->run_since = now;
  v->run_ticks += used;
  v->vruntime += v->vm->config.weight == WEIGHT_DEFAULT ? used : used * WEIGHT_DEFAULT / v->vm->config.weight;
}

/* ---- the alarm ---- */

static uint64_t earliest_sleeper(struct cpu *c) {
  uint64_t at = TIMER_NEVER;
  spin_lock(&c->rq_lock); /* another CPU may be waking one of them */
  list_for_each (node, &c->sleepers)
    at = min_u64(at, vtimer_next(list_entry(node, struct vcpu, sleep_node)));
  spin_unlock(&c->rq_lock);
  return at;
}

/*
 * The alarm may be early, never late: what came to matter just now can only bring it forward. When it fires, sched_tick() works out the next one from
 * everything.
 */
static inline void alarm_by(struct cpu *c, uint64_t at) {
  if (at >= c->timer_at)
    return;
  c->timer_at = at;
  timer_arm(at);
}

static uint64_t next_event(struct cpu *c) {
  struct vcpu *v = c->current;
  uint64_t at = min_u64(c->slice_end, earliest_sleeper(c));
  if (v && v->state == VCPU_RUNNING)
    at = min_u64(at, vtimer_next(v));
  return c->id == 0 ? min_u64(at, work_next()) : at;
}

void sched_update_timer(struct cpu *c) {
  alarm_by(c, next_event(c));
}

void sched_alarm_by(uint64_t at) {
  alarm_by(this_cpu(), at);
}

/* The bit is set before the count is read, and whoever queues a vCPU reads the bits after counting it: one of the two sees the other. */
static void start_slice(struct cpu *c) {
  if (atomic_load_relaxed(&ready_count) == 0) {
    c->slice_end = TIMER_NEVER;
    atomic_fetch_or(&tickless, BIT(c->id));
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (likely(atomic_load_relaxed(&ready_count) == 0))
      return;
  }
  c->slice_end = timer_now() + slice_ticks;
  atomic_fetch_and(&tickless, ~BIT(c->id));
}

/* ---- moving state ---- */

/* The vCPU whose registers this CPU holds gives them up. */
static void unload(struct cpu *c) {
  struct vcpu *v = c->current;
  if (!v)
    return;
  el1_save(&v->el1);
  vgic_save(v);
  vtimer_save(v);
  fp_switch_out(v);
  alarm_by(c, vtimer_next(v)); /* its timer is not the hardware's any more */
  if (unlikely(v->serror_pending))
    v->serror_pending = el2_take_serror();
  spin_lock(&c->rq_lock);
  c->current = NULL;
  spin_unlock(&c->rq_lock);
}

static void load(struct cpu *c, struct vcpu *v) {
  if (unlikely(v->reset_pending))
    vcpu_reset(v);
  uint64_t now = timer_now();
  v->el2_stack = (uint64_t)c->stack_top;
  if (vtimer_next(v) <= now)
    vtimer_expire(v, now);
  if (unlikely(v->serror_pending))
    el2_give_serror();
  el1_walks_off();
  vttbr_load(v);
  el2_load_identity(v);
  el1_load(&v->el1);
  atomic_fetch_and(&v->requests, ~VCPU_REQ_VGIC); /* the load looks at everything that is pending */
  vgic_load(v);
  vtimer_load(v);
  fp_switch_in(v);
  c->current = v;
  if (unlikely(v->vm->entered_at == 0))
    v->vm->entered_at = now;
}

static uint64_t trace_name(const struct vcpu *v) {
  return v ? (uint64_t)v->vm->id << 16 | v->id : ~(uint64_t)0;
}

static void switch_to(struct cpu *c, struct vcpu *v) {
  trace(TRACE_GROUP_SCHED, TRACE_SWITCH, 0, trace_name(c->current), trace_name(v), 0, 0, 0);
  unload(c);
  load(c, v);
}

/* ---- choosing ---- */

static void take(struct cpu *c, struct cpu *from, struct vcpu *v) {
  dequeue(from, v);
  v->state = VCPU_RUNNING;
  v->run_since = timer_now();
  atomic_store_release(&v->cpu, c);
  atomic_store_relaxed(&floor_vruntime, v->vruntime);
}

static struct vcpu *pick_local(struct cpu *c) {
  if (atomic_load_relaxed(&c->rq_least) == NOT_READY)
    return NULL;
  spin_lock(&c->rq_lock);
  struct list_node *first = list_first(&c->rq);
  struct vcpu *v = first ? list_entry(first, struct vcpu, rq_node) : NULL;
  if (v)
    take(c, c, v);
  spin_unlock(&c->rq_lock);
  return v;
}

static struct vcpu *stealable(struct cpu *c, struct cpu *victim, uint64_t below) {
  list_for_each (node, &victim->rq) {
    struct vcpu *v = list_entry(node, struct vcpu, rq_node);
    if (v->vruntime >= below)
      return NULL;
    if (victim->current != v && (v->affinity & BIT(c->id)))
      return v;
  }
  return NULL;
}

/* A vCPU waiting elsewhere that is further behind than `below`. */
static struct vcpu *steal(struct cpu *c, uint64_t below) {
  for (unsigned i = 1; i < cpu_count; i++) {
    struct cpu *victim = &cpus[(c->id + i) % cpu_count];
    if (atomic_load_relaxed(&victim->rq_least) >= below || !spin_trylock(&victim->rq_lock))
      continue;
    struct vcpu *v = stealable(c, victim, below);
    if (v)
      take(c, victim, v);
    spin_unlock(&victim->rq_lock);
    if (v)
      return v;
  }
  return NULL;
}

/* ---- stopping and waiting ---- */

/* While its state is on the way out it counts as running: nobody may take it, nor think that it has stopped. */
static void stop_here(struct cpu *c, struct vcpu *v, enum vcpu_state as) {
  spin_lock(&c->rq_lock);
  if (v->state == VCPU_READY)
    dequeue(c, v);
  list_remove(&v->sleep_node);
  v->state = VCPU_RUNNING;
  spin_unlock(&c->rq_lock);
  unload(c);
  vttbr_park();
  spin_lock(&c->rq_lock);
  v->state = as;
  spin_unlock(&c->rq_lock);
}

static bool wants_stop(const struct vcpu *v) {
  return (atomic_load_relaxed(&v->requests) & (VCPU_REQ_PAUSE | VCPU_REQ_OFF)) != 0;
}

static void obey_stop(struct cpu *c, struct vcpu *v) {
  uint32_t req = atomic_fetch_and(&v->requests, VCPU_REQ_ALWAYS | VCPU_REQ_VGIC | VCPU_REQ_VTTBR);
  stop_here(c, v, req & VCPU_REQ_OFF ? VCPU_OFF : VCPU_PAUSED);
}

static uint32_t pending_requests(const struct vcpu *v) {
  return atomic_load_relaxed(&v->requests) & ~VCPU_REQ_ALWAYS;
}

/* True if `v` now waits; false if something came in before it could. */
static bool try_block(struct cpu *c, struct vcpu *v) {
  bool waits;
  if (vgic_has_pending(v))
    return false;
  spin_lock(&c->rq_lock);
  waits = pending_requests(v) == 0;
  if (waits) {
    charge(v, timer_now());
    v->state = VCPU_BLOCKED;
    list_push_back(&c->sleepers, &v->sleep_node);
  }
  spin_unlock(&c->rq_lock);
  return waits;
}

/* The vCPU whose state is still here may have got its interrupt by a list register. */
static struct vcpu *revive_current(struct cpu *c) {
  struct vcpu *v = c->current;
  if (!v || v->state != VCPU_BLOCKED || !vgic_has_pending(v))
    return NULL;
  spin_lock(&c->rq_lock);
  bool mine = v->state == VCPU_BLOCKED;
  if (mine) {
    list_remove(&v->sleep_node);
    v->state = VCPU_RUNNING;
    v->run_since = timer_now();
  }
  spin_unlock(&c->rq_lock);
  return mine ? v : NULL;
}

/* Nothing to run: EL2's own work if there is any, else sleep until an interrupt. */
static void idle_once(struct cpu *c) {
  if (c->id == 0 && work_run_step()) {
    irq_poll(c);
    return;
  }
  /* Somebody waits whom this CPU could not take just now: look again, at the latest after a slice. */
  c->slice_end = atomic_load_relaxed(&ready_count) > 0 ? timer_now() + slice_ticks : TIMER_NEVER;
  atomic_fetch_or(&idle_mask, BIT(c->id));
  sched_update_timer(c);
  if (atomic_load_acquire(&c->rq_least) == NOT_READY) {
    masked_end(c);
    uint64_t since = timer_now();
    dsb(sy); /* complete what others wait for before sleeping (Arm ARM D1.17: WFI does not order accesses) */
    wfi();
    c->idle_ticks += timer_now() - since;
    masked_begin(c);
  }
  atomic_fetch_and(&idle_mask, ~BIT(c->id));
  irq_poll(c);
}

/* `v` was taken: its state comes in if it is not here already, and its slice begins. */
static struct vcpu *enter(struct cpu *c, struct vcpu *v) {
  if (c->current != v)
    switch_to(c, v);
  start_slice(c);
  alarm_by(c, min_u64(c->slice_end, vtimer_next(v)));
  if (c->id == 0)
    alarm_by(c, work_next());
  return v;
}

static struct vcpu *next(struct cpu *c) {
  /* What came in while this CPU idled may be for the vCPU that is still here: it goes first, for nobody else would notice. */
  for (bool idled = false;; idled = true) {
    struct vcpu *v = idled ? revive_current(c) : NULL;
    if (!v)
      v = pick_local(c);
    if (!v)
      v = steal(c, NOT_READY);
    if (v)
      return enter(c, v);
    if (c->current && wants_stop(c->current))
      obey_stop(c, c->current);
    else
      idle_once(c);
  }
}

/* CPUs that run without a slice must begin to count, now that somebody waits. */
static void wake_tickless(void) {
  uint64_t who = atomic_exchange(&tickless, 0);
  while (who) {
    struct cpu *c = &cpus[bits_ffs(who)];
    who &= who - 1;
    if (c == this_cpu()) {
      c->slice_end = timer_now() + slice_ticks;
      alarm_by(c, c->slice_end);
    } else {
      gic_send_sgi(c, GIC_SGI_KICK);
    }
  }
}

/* `v`, which ran here till now, waits again. Its state stays here until another takes its place. */
static void requeue(struct cpu *c, struct vcpu *v) {
  spin_lock(&c->rq_lock);
  enqueue(c, v);
  spin_unlock(&c->rq_lock);
  if (atomic_load_relaxed(&tickless) != 0)
    wake_tickless();
}

/* End of a slice: somebody further behind, here or elsewhere, takes over; else `v` goes on. */
static struct vcpu *rotate(struct cpu *c, struct vcpu *v) {
  spin_lock(&c->rq_lock);
  charge(v, timer_now());
  spin_unlock(&c->rq_lock);
  if (atomic_load_relaxed(&c->rq_least) < v->vruntime) {
    requeue(c, v);
    return next(c);
  }
  struct vcpu *other = steal(c, v->vruntime);
  if (!other)
    return enter(c, v);
  requeue(c, v);
  return enter(c, other);
}

static void do_work(struct cpu *c) {
  (void)work_run_step();
  sched_update_timer(c);
}

struct vcpu *sched_exit(struct vcpu *v) {
  struct cpu *c = v->cpu;
  if (v->views)
    view_refresh(v);
  while (pending_requests(v) != 0) {
    if (wants_stop(v)) {
      obey_stop(c, v);
      v = next(c);
      continue;
    }
    uint32_t req = atomic_fetch_and(&v->requests, VCPU_REQ_ALWAYS);
    if (req & VCPU_REQ_VTTBR)
      vttbr_load(v);
    if (req & VCPU_REQ_VGIC)
      vgic_flush(v);
    if ((req & VCPU_REQ_WORK) && c->id == 0)
      do_work(c);
    if ((req & VCPU_REQ_BLOCK) && try_block(c, v))
      v = next(c);
    else if (req & VCPU_REQ_RESCHED)
      v = rotate(c, v);
  }
  masked_end(c);
  return v;
}

void sched_run(struct cpu *c) {
  masked_begin(c);
  guest_enter(sched_exit(next(c)));
}

/* ---- waking ---- */

/* Where a vCPU that becomes ready should queue: where it was if that CPU idles or nobody does, else on an idle one. */
static struct cpu *place(struct cpu *home, const struct vcpu *v) {
  uint64_t idle = atomic_load_relaxed(&idle_mask) & v->affinity;
  if (is_live(v) || (idle & BIT(home->id)))
    return home;
  if (idle)
    return &cpus[bits_ffs(idle)];
  if (v->affinity & BIT(home->id))
    return home;
  return &cpus[bits_ffs(v->affinity)];
}

/* A waiting vCPU that is a whole slice behind the running one need not wait for the end of its slice. */
static void consider_preemption(struct cpu *c) {
  struct vcpu *v = c->current;
  if (v && v->state == VCPU_RUNNING && atomic_load_relaxed(&c->rq_least) < v->vruntime - min_u64(v->vruntime, slice_ticks))
    atomic_fetch_or(&v->requests, VCPU_REQ_RESCHED);
}

/* `home`'s lock is held on entry and released. Another CPU's queue is used only if its lock is free: two are never waited for. */
static void make_ready(struct cpu *home, struct vcpu *v) {
  struct cpu *to = place(home, v);
  uint64_t floor = atomic_load_relaxed(&floor_vruntime);
  if (v->vruntime + slice_ticks < floor)
    v->vruntime = floor - slice_ticks;
  list_remove(&v->sleep_node);
  if (to != home && !spin_trylock(&to->rq_lock))
    to = home;
  atomic_store_release(&v->cpu, to);
  enqueue(to, v);
  if (to != home)
    spin_unlock(&to->rq_lock);
  spin_unlock(&home->rq_lock);
  if (to == this_cpu())
    consider_preemption(to);
  else
    gic_send_sgi(to, GIC_SGI_KICK);
  if (atomic_load_relaxed(&tickless) != 0)
    wake_tickless();
}

void vcpu_request(struct vcpu *v, uint32_t requests) {
  atomic_fetch_or(&v->requests, requests);
  struct cpu *home = lock_home(v);
  if (v->state == VCPU_BLOCKED) {
    make_ready(home, v);
    return;
  }
  bool running = v->state == VCPU_RUNNING;
  spin_unlock(&home->rq_lock);
  if (running)
    kick(home);
}

bool sched_start_vcpu(struct vcpu *v) {
  struct cpu *home = lock_home(v);
  bool may = (v->state == VCPU_OFF || v->state == VCPU_PAUSED) && !is_live(v) && !atomic_load_acquire(&v->vm->stopping);
  if (may)
    make_ready(home, v);
  else
    spin_unlock(&home->rq_lock);
  return may;
}

bool sched_stop_vcpu(struct vcpu *v, bool off) {
  struct cpu *home = lock_home(v);
  bool live = is_live(v) || v->state == VCPU_RUNNING;
  if (live) {
    atomic_fetch_or(&v->requests, off ? VCPU_REQ_OFF : VCPU_REQ_PAUSE);
  } else if (v->state != VCPU_OFF) {
    if (v->state == VCPU_READY)
      dequeue(home, v);
    list_remove(&v->sleep_node);
    v->state = off ? VCPU_OFF : VCPU_PAUSED;
  }
  if (!live) /* a request it had no more occasion to see must not stop it when it next starts */
    atomic_fetch_and(&v->requests, ~(VCPU_REQ_PAUSE | VCPU_REQ_OFF));
  spin_unlock(&home->rq_lock);
  if (live)
    kick(home);
  return !live;
}

/* ---- time ---- */

static struct vcpu *first_due(struct cpu *c, uint64_t now) {
  struct vcpu *due = NULL;
  spin_lock(&c->rq_lock);
  list_for_each (node, &c->sleepers) {
    struct vcpu *v = list_entry(node, struct vcpu, sleep_node);
    if (vtimer_next(v) <= now) {
      due = v;
      break;
    }
  }
  spin_unlock(&c->rq_lock);
  return due;
}

/* Wake those whose time has come. The interrupt itself is raised by the CPU that has or loads the vCPU, for only that one may touch its timer. */
static void expire_sleepers(struct cpu *c, uint64_t now) {
  struct vcpu *due;
  while ((due = first_due(c, now)) != NULL) {
    if (due == c->current)
      vtimer_expire(due, now);
    vcpu_request(due, VCPU_REQ_VGIC);
  }
}

/* An idle CPU looks at everything anyway; a busy one only has to notice that somebody waits. */
void sched_kicked(struct cpu *c) {
  struct vcpu *v = c->current;
  if (!v || v->state != VCPU_RUNNING)
    return;
  if (c->slice_end == TIMER_NEVER)
    start_slice(c); /* or say again that this CPU has none */
  alarm_by(c, c->slice_end);
  consider_preemption(c);
  if (c->id == 0)
    alarm_by(c, work_next());
}

void sched_tick(struct cpu *c) {
  uint64_t now = timer_now();
  struct vcpu *v = c->current;
  c->timer_at = TIMER_NEVER;
  if (!list_is_empty(&c->sleepers))
    expire_sleepers(c, now);
  if (v && v->state == VCPU_RUNNING) {
    if (vtimer_next(v) <= now)
      vtimer_expire(v, now);
    if (c->slice_end == TIMER_NEVER)
      start_slice(c);
    if (now >= c->slice_end) {
      atomic_fetch_or(&v->requests, VCPU_REQ_RESCHED);
      c->slice_end = now + slice_ticks; /* until the way out has chosen */
    } else {
      consider_preemption(c);
    }
    if (c->id == 0 && work_is_due(now))
      atomic_fetch_or(&v->requests, VCPU_REQ_WORK);
  }
  sched_update_timer(c);
}
