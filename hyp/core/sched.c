/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vCPU scheduler: who runs next, and what a vCPU is asked for on its way out of an exit.
 *
 * A CPU runs the ready vCPU that has had least. When its slice ends it looks at the other queues too and takes a waiting vCPU from there if
 * that one is further behind, so that N vCPUs on M CPUs share them evenly whatever N and M are. A CPU with nothing to run keeps the state
 * of its last vCPU loaded and waits in WFI: if that vCPU's interrupt is the next thing to happen, nothing has to move.
 *
 * Queues and their lock: runqueue.c. Slices and the alarm: alarm.c. Moving a vCPU's registers: load.c. Lock order: vms_lock -> a managed
 * block's lock (hyp/mem/managed.h) -> stage2.lock (of two VMs, the lower VM id's first: hyp/mem/handover.h) -> a managed range's lock ->
 * vgic locks -> rq_lock -> (zone lock, console lock).
 */
#include "hyp/core/sched.h"
#include "hyp/arch/gic.h"
#include "hyp/arch/switch.h"
#include "hyp/arch/vttbr.h"
#include "hyp/core/alarm.h"
#include "hyp/core/cost.h"
#include "hyp/core/exit.h"
#include "hyp/core/load.h"
#include "hyp/core/masked.h"
#include "hyp/core/runqueue.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/ctl/trace.h"
#include "hyp/dev/ffa.h"
#include "hyp/dev/virtio/virtio.h"
#include "hyp/mem/background.h"
#include "hyp/mem/view.h"
#include "mm/page_alloc.h"

void sched_init(uint32_t slice_us) {
  sched_shared.slice_ticks = time_from_ms(1) * slice_us / 1000;
  while (UINT32_MAX >> sched_shared.slice_shift > sched_shared.slice_ticks / 8)
    sched_shared.slice_shift++;
}

/* A slice matters while somebody runs in it: what is left of the last one's must not wake an idle CPU, for it would again and again. */
void sched_update_timer(struct cpu *c) {
  const struct vcpu *v = c->current;
  alarm_update(c, v && v->state == VCPU_RUNNING ? c->slice_end : TIMER_NEVER);
}

void sched_alarm_by(uint64_t at) {
  alarm_by(this_cpu(), at);
}

static uint32_t pending_requests(const struct vcpu *v) {
  return atomic_load_relaxed(&v->requests) & ~VCPU_REQ_ALWAYS;
}

/* ---- choosing ---- */

static struct vcpu *pick_local(struct cpu *c) {
  if (!rq_has_below(c, RQ_EMPTY))
    return NULL;
  spin_lock(&c->rq_lock);
  struct vcpu *v = rq_take_first(c, timer_now());
  spin_unlock(&c->rq_lock);
  return v;
}

/* The vCPU whose state is still here may have got its interrupt by a list register. (If not, it just waits again: WFI may end early.) */
static struct vcpu *revive_current(struct cpu *c) {
  struct vcpu *v = c->current;
  if (!v || v->state != VCPU_BLOCKED || !vgic_may_have_pending(v))
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

/* `v` was taken: its state comes in if it is not here already, and its slice begins. */
static inline struct vcpu *enter(struct cpu *c, struct vcpu *v) {
  if (c->current != v)
    load_switch(c, v);
  slice_begin(c, v->run_since);
  alarm_by(c, min_u64(c->slice_end, vtimer_next(&v->vtimer)));
  return v;
}

/* ---- stopping and waiting ---- */

/* While its state is on the way out it counts as running: nobody may take it, nor think that it has stopped. */
static void stop_here(struct cpu *c, struct vcpu *v, enum vcpu_state as) {
  spin_lock(&c->rq_lock);
  if (v->state == VCPU_READY)
    rq_dequeue(c, v);
  list_remove(&v->sleep_node);
  v->state = VCPU_RUNNING;
  spin_unlock(&c->rq_lock);
  load_nothing(c);
  if (as == VCPU_OFF)
    vcpu_wipe(v);
  spin_lock(&c->rq_lock);
  v->state = as;
  spin_unlock(&c->rq_lock);
}

static bool wants_stop(const struct vcpu *v) {
  return (atomic_load_relaxed(&v->requests) & (VCPU_REQ_PAUSE | VCPU_REQ_OFF)) != 0;
}

static void obey_stop(struct cpu *c, struct vcpu *v) {
  uint32_t req =
      atomic_fetch_and(&v->requests, VCPU_REQ_ALWAYS | VCPU_REQ_VGIC | VCPU_REQ_VTTBR | VCPU_REQ_SUSPEND | VCPU_REQ_DEVICE | VCPU_REQ_FFA);
  stop_here(c, v, req & VCPU_REQ_OFF ? VCPU_OFF : VCPU_PAUSED);
}

/* Nothing to run: a step of EL2's own work if there is any, else of the memory core's, else sleep until an interrupt. */
static void idle_once(struct cpu *c) {
  if (c->id == 0 && work_run_step()) {
    alarm_by(c, work_next());
    irq_poll(c);
    return;
  }
  if (unlikely(page_background_is_due()) && background_idle_step()) {
    irq_poll(c);
    return;
  }
  atomic_fetch_or(&sched_shared.idle, BIT(c->id));
  /* Somebody waits whom this CPU could not take just now: look again, at the latest after a slice. */
  alarm_update(c, atomic_load_relaxed(&sched_shared.waiting) > 0 ? timer_now() + sched_shared.slice_ticks : TIMER_NEVER);
  if (atomic_load_acquire(&c->rq_least) == RQ_EMPTY) {
    masked_end(c);
    cost_pause(c);
    uint64_t since = timer_now();
    dsb(sy); /* complete what others wait for before sleeping (Arm ARM D1.17: WFI does not order accesses) */
    wfi();
    c->idle_ticks += timer_now() - since;
    cost_resume(c);
    masked_begin(c);
  }
  atomic_fetch_and(&sched_shared.idle, ~BIT(c->id));
  irq_poll(c);
}

static struct vcpu *next(struct cpu *c) {
  struct vcpu *v = pick_local(c);
  if (!v)
    v = rq_steal(c, RQ_EMPTY);
  while (!v) {
    if (c->current && wants_stop(c->current))
      obey_stop(c, c->current);
    else
      idle_once(c);
    /* What came in while this CPU idled may be for the vCPU that is still here: it goes first, for nobody else would notice. */
    v = revive_current(c);
    if (!v)
      v = pick_local(c);
    if (!v)
      v = rq_steal(c, RQ_EMPTY);
    if (v && atomic_load_relaxed(&sched_shared.waiting) != 0)
      slice_somebody_waits(); /* perhaps for this CPU, which now takes another */
  }
  return enter(c, v);
}

/* Wait, unless something came in before. The next vCPU is taken in the same breath if one waits here. */
static struct vcpu *block(struct cpu *c, struct vcpu *v) {
  if (vgic_has_pending(v))
    return v;
  spin_lock(&c->rq_lock);
  if (unlikely(pending_requests(v) != 0)) {
    spin_unlock(&c->rq_lock);
    return v;
  }
  uint64_t now = timer_now();
  rq_charge(v, now);
  v->state = VCPU_BLOCKED;
  list_push_back(&c->sleepers, &v->sleep_node);
  struct vcpu *other = rq_take_first(c, now);
  spin_unlock(&c->rq_lock);
  return other ? enter(c, other) : next(c);
}

/* `v`, which ran here till now, waits again. Its state stays here until another takes its place. */
static void requeue(struct cpu *c, struct vcpu *v) {
  spin_lock(&c->rq_lock);
  rq_enqueue(c, v);
  spin_unlock(&c->rq_lock);
  slice_somebody_waits();
}

/*
 * End of a slice: who is behind takes over, else `v` goes on. Of those who wait here the first; one from elsewhere only if it is a whole
 * slice behind that one, so that vCPUs move for fairness' sake and not at every turn.
 */
static struct vcpu *rotate(struct cpu *c, struct vcpu *v) {
  spin_lock(&c->rq_lock);
  rq_charge(v, timer_now());
  spin_unlock(&c->rq_lock);
  uint64_t here = atomic_load_relaxed(&c->rq_least);
  bool waits_here = here <= v->vruntime;
  struct vcpu *other = rq_steal(c, waits_here ? here - min_u64(here, sched_shared.slice_ticks) : v->vruntime);
  if (!other && !waits_here)
    return enter(c, v);
  requeue(c, v);
  return other ? enter(c, other) : next(c);
}

/*
 * CPU_SUSPEND to a power-down state: as a wait, but the registers leave the CPU at once, so that the next load finds the reset to be made.
 * A wake-up event that came in before ends it here: the vCPU goes on after the call. So does one that was loaded to look for such an event
 * (vcpu_reset), at its entry point. A timer that has fired and may not wake it must not keep the alarm busy: its line is up, and enabling
 * the interrupt is an event.
 */
static struct vcpu *power_down(struct cpu *c, struct vcpu *v) {
  if (vgic_has_wakeup(v))
    return v;
  v->resume = v->reset_pending = true;
  load_nothing(c);
  uint64_t now = timer_now();
  if (unlikely(vtimer_next(&v->vtimer) <= now))
    vtimer_expire(v, now);
  spin_lock(&c->rq_lock);
  rq_charge(v, now);
  if (likely(pending_requests(v) == 0)) {
    v->state = VCPU_BLOCKED;
    list_push_back(&c->sleepers, &v->sleep_node);
  } else {
    rq_enqueue(c, v);
  }
  spin_unlock(&c->rq_lock);
  return next(c);
}

/* Its access found no memory: off the CPU, until exhaust.c lets it go. What came in meanwhile does so sooner. */
static struct vcpu *wait_for_memory(struct cpu *c, struct vcpu *v) {
  v->wait_irq = vgic_has_pending(v);
  load_nothing(c);
  spin_lock(&c->rq_lock);
  rq_charge(v, timer_now());
  if (likely(!wants_stop(v)))
    v->state = VCPU_MEMWAIT;
  else
    rq_enqueue(c, v);
  spin_unlock(&c->rq_lock);
  return next(c);
}

/*
 * What the exit was for may have been as long as a step: interrupts are looked at in between. If the alarm comes in there and asks for a
 * step, this is it: another before the guest has run would be one too many, for ever where time passes quickly.
 */
static void do_work(struct cpu *c, struct vcpu *v) {
  irq_poll(c);
  atomic_fetch_and(&v->requests, ~VCPU_REQ_WORK);
  (void)work_run_step();
  sched_update_timer(c);
}

/* All but waiting. */
static NOINLINE struct vcpu *answer(struct cpu *c, struct vcpu *v, uint32_t req) {
  if (req & VCPU_REQ_VTTBR)
    vttbr_load(v);
  if (req & VCPU_REQ_DEVICE)
    virtio_resume(v);
  if (req & VCPU_REQ_FFA)
    ffa_resume(v);
  if (req & VCPU_REQ_VGIC)
    vgic_flush(v);
  if ((req & VCPU_REQ_WORK) && c->id == 0)
    do_work(c, v);
  if (req & VCPU_REQ_MEMWAIT)
    return wait_for_memory(c, v);
  struct vcpu *to = (req & VCPU_REQ_BLOCK) ? block(c, v) : (req & VCPU_REQ_SUSPEND) ? power_down(c, v) : v;
  return to == v && (req & VCPU_REQ_RESCHED) ? rotate(c, v) : to;
}

struct vcpu *sched_exit(struct vcpu *v) {
  struct cpu *c = v->cpu;
  if (unlikely(v->views != NULL))
    view_refresh(v);
  for (uint32_t req; (req = pending_requests(v)) != 0;) {
    if (unlikely(req & (VCPU_REQ_PAUSE | VCPU_REQ_OFF))) {
      obey_stop(c, v);
      v = next(c);
      continue;
    }
    req = atomic_fetch_and(&v->requests, VCPU_REQ_ALWAYS) & ~VCPU_REQ_ALWAYS;
    if (req == VCPU_REQ_BLOCK)
      v = block(c, v);
    else if (req == VCPU_REQ_VGIC)
      vgic_flush(v);
    else
      v = answer(c, v, req);
  }
  masked_end(c);
  return v;
}

void sched_run(struct cpu *c) {
  masked_begin(c);
  guest_enter(sched_exit(next(c)));
}

/* ---- waking ---- */

/*
 * Where, of the CPUs it `may` use, a vCPU that becomes ready should queue: where it was if that CPU idles or nobody does, else on an idle
 * one. A CPU that idles is claimed: it has a vCPU coming, and the next comer looks elsewhere.
 */
static inline struct cpu *place(struct cpu *home, uint64_t may, bool *claimed) {
  uint64_t here = BIT(home->id);
  uint64_t idle = atomic_load_relaxed(&sched_shared.idle) & may;
  uint64_t from = idle ? idle : may;
  uint64_t to = (from & here) ? here : from & -from;
  *claimed = idle != 0 && (atomic_fetch_and(&sched_shared.idle, ~to) & to);
  return to == here ? home : &cpus[bits_ffs(to)];
}

/* A waiting vCPU that is a whole slice behind the running one need not wait for the end of its slice. */
static inline void consider_preemption(struct cpu *c) {
  struct vcpu *v = c->current;
  if (v && v->state == VCPU_RUNNING && rq_has_below(c, v->vruntime - min_u64(v->vruntime, sched_shared.slice_ticks)))
    atomic_fetch_or(&v->requests, VCPU_REQ_RESCHED);
}

/* `home`'s lock is held on entry and released. Another CPU's queue is used only if its lock is free: two are never waited for. True. */
static inline bool make_ready(struct cpu *home, struct vcpu *v, uint64_t may) {
  bool claimed;
  struct cpu *to = place(home, may, &claimed);
  uint64_t floor = atomic_load_relaxed(&sched_shared.floor);
  if (v->vruntime + sched_shared.slice_ticks < floor)
    v->vruntime = floor - sched_shared.slice_ticks;
  if (unlikely(to != home && !spin_trylock(&to->rq_lock))) {
    gic_send_sgi(to, GIC_SGI_KICK); /* it was claimed for nothing: let it look around */
    claimed = false;
    to = home;
  }
  rq_enqueue(to, v);
  if (to != home) {
    atomic_store_release(&v->cpu, to);
    spin_unlock(&to->rq_lock);
  }
  spin_unlock(&home->rq_lock);
  if (to == this_cpu())
    consider_preemption(to);
  else
    gic_send_sgi(to, GIC_SGI_KICK);
  if (!claimed)
    slice_somebody_waits();
  return true;
}

void vcpu_request(struct vcpu *v, uint32_t requests) {
  atomic_fetch_or(&v->requests, requests);
  struct cpu *home = rq_lock_home(v);
  if (v->state == VCPU_BLOCKED) {
    list_remove(&v->sleep_node);
    (void)make_ready(home, v, rq_is_live(v) ? BIT(home->id) : v->affinity);
    return;
  }
  bool running = v->state == VCPU_RUNNING;
  spin_unlock(&home->rq_lock);
  if (running && home != this_cpu())
    gic_send_sgi(home, GIC_SGI_KICK);
}

bool sched_start_vcpu(struct vcpu *v) {
  struct cpu *home = rq_lock_home(v);
  bool may = (v->state == VCPU_OFF || v->state == VCPU_PAUSED) && !rq_is_live(v) && !atomic_load_acquire(&v->vm->stopping);
  if (may)
    return make_ready(home, v, v->affinity);
  spin_unlock(&home->rq_lock);
  return false;
}

bool sched_wake_memwait(struct vcpu *v) {
  struct cpu *home = rq_lock_home(v);
  if (v->state == VCPU_MEMWAIT)
    return make_ready(home, v, v->affinity);
  spin_unlock(&home->rq_lock);
  return false;
}

bool sched_stop_vcpu(struct vcpu *v, bool off) {
  struct cpu *home = rq_lock_home(v);
  bool live = rq_is_live(v) || v->state == VCPU_RUNNING;
  if (live) {
    atomic_fetch_or(&v->requests, off ? VCPU_REQ_OFF : VCPU_REQ_PAUSE);
  } else if (v->state != VCPU_OFF) {
    if (v->state == VCPU_READY)
      rq_dequeue(home, v);
    list_remove(&v->sleep_node);
    v->state = off ? VCPU_OFF : VCPU_PAUSED;
  }
  if (!live) /* a request it had no more occasion to see must not stop it when it next starts */
    atomic_fetch_and(&v->requests, ~(VCPU_REQ_PAUSE | VCPU_REQ_OFF));
  spin_unlock(&home->rq_lock);
  if (live && home != this_cpu())
    gic_send_sgi(home, GIC_SGI_KICK);
  return !live;
}

/* ---- interrupts of EL2's own ---- */

/* An idle CPU looks at everything anyway; a busy one only has to notice that somebody waits. */
void sched_kicked(struct cpu *c) {
  struct vcpu *v = c->current;
  slice_restore(c);
  page_drain_poll();
  if (c->id == 0)
    alarm_by(c, work_next());
  if (!v || v->state != VCPU_RUNNING)
    return;
  alarm_by(c, c->slice_end);
  if (rq_has_below(c, RQ_EMPTY)) {
    slice_somebody_waits(); /* a vCPU was handed to this CPU while it idled, and it had taken another */
    consider_preemption(c);
  }
}

void sched_tick(struct cpu *c) {
  uint64_t now = timer_now();
  struct vcpu *v = c->current;
  c->timer_at = TIMER_NEVER;
  if (!list_is_empty(&c->sleepers))
    alarm_expire_sleepers(c, now);
  if (v && v->state == VCPU_RUNNING) {
    if (vtimer_next(&v->vtimer) <= now)
      vtimer_expire(v, now);
    if (now >= c->slice_end && !slice_drop(c)) {
      atomic_fetch_or(&v->requests, VCPU_REQ_RESCHED);
      c->slice_end = TIMER_NEVER - 1; /* the way out chooses, and begins another */
    } else {
      consider_preemption(c);
    }
    if (c->id == 0 && work_is_due(now))
      atomic_fetch_or(&v->requests, VCPU_REQ_WORK);
  }
  sched_update_timer(c);
}
