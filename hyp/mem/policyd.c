/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where policies meet the machine: gather what they look at, let the one in force decide, ask the balloons.
 *
 *   asleep ──period, or pressure──> gather: VMs, quotas, resident, working sets, balloons ──> tick() or pressure() ──> apply
 *     ^                                                                                                                  │
 *     └────────────────────────────── ask for statistics, for the next time <────────────────────────────────────────────┘
 *
 * It is EL2 work on CPU 0: one step for a decision, then one for each VMS_PER_STEP VMs to be asked (docs/policy.md has the figures). All of
 * its state is its own, but for what policyd_pressure() leaves: whose vCPU needs how much, of the last that asked.
 *
 * A policy is trusted with pages, not with promises: a target below a VM's min or above its max is refused here and counted.
 */
#include "hyp/mem/policyd.h"
#include "core/atomic.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/age.h"
#include "hyp/mem/balloon_target.h"
#include "hyp/mem/exhaust.h"
#include "mm/page_alloc.h"

#define PRESSURE_MS 2u
#define VMS_PER_STEP 4u
#define WORD_MS 200u /* a guest's word is believed for so long, or for four periods */

_Static_assert(POLICY_VMS_MAX == VMS_MAX, "a view holds all");

static struct {
  struct work work;
  const struct policy *policy;
  uint32_t period_ms;
  unsigned applied;   /* VMs of the view whose targets have been asked for, since the last decision */
  uint64_t due, last; /* CNTPCT: the next tick; the last decision */
  uint32_t hinted;    /* atomic, and the next two */
  uint32_t pressed_vm;
  uint64_t pressed_frames;
  uint64_t asked_frames; /* atomic */
  bool aged;             /* ageing was switched on for a policy */
  struct policyd_stats stats;
  struct policy_view view;
} d;

/* --- gather ---------------------------------------------------------------------------------------------------------------------- */

static bool is_word_fresh(const struct balloon_state *b, uint64_t now) {
  return b->stats_valid && now - b->stats_at < time_from_ms(max_u64(WORD_MS, 4 * d.period_ms));
}

static void look_at(struct policy_vm *v, struct vm *vm, uint64_t now) {
  struct memory_waiters waiters = exhaust_waiters(vm);
  struct balloon_state b;
  balloon_read(vm, &b);
  *v = (struct policy_vm){
      .id = vm->id,
      .weight = vm->config.memory_weight,
      .memory = vm->config.memory_bytes >> PAGE_SHIFT,
      .quota = vm->quota,
      .asked = b.driven && vm->state == VM_RUNNING,
      .resident = vm->s2.populated_frames,
      .waiting = waiters.memory + waiters.device,
      .says = is_word_fresh(&b, now),
      .available = b.avail_frames,
      .memo = vm->policy.memo,
  };
  v->working_set_known = age_working_set(vm, &v->working_set);
  v->held = v->memory - min_u64(b.actual, v->memory);
  v->keep = v->target = b.present ? b.keep : v->memory;
}

/* What lies between what may be had and the high watermark. */
static uint64_t watermark_frames(void) {
  struct buddyinfo b;
  uint64_t frames = 0;
  for (unsigned zone = 0; page_buddyinfo(zone, &b); zone++)
    frames += b.high_frames - b.min_frames;
  return frames;
}

static void gather(struct policy_view *view) {
  uint64_t now = time_now(), all = view->spare = page_spare_frames();
  struct vm *vm;
  view->count = 0;
  view->waiting = false;
  for_each_vm(vm) if (vm->state != VM_DYING) {
    struct policy_vm *v = &view->vm[view->count++];
    look_at(v, vm, now);
    view->waiting |= v->waiting != 0;
    all += v->resident;
  }
  view->cushion = watermark_frames() + view->count * POLICY_SLACK;
  view->frames = all - min_u64(all, view->cushion);
}

/* --- apply ----------------------------------------------------------------------------------------------------------------------- */

static bool may_set(const struct policy_vm *v) {
  return v->target >= v->quota.min && v->target <= v->quota.max;
}

static void set_target(struct policy_state *s, struct vm *vm, const struct policy_vm *v, uint64_t now) {
  if (!balloon_set_target(vm, v->target))
    return;
  uint64_t set = v->working_set_known ? v->working_set : UINT32_MAX;
  trace(TRACE_GROUP_POLICY, TRACE_TARGET, 0, v->id, v->keep | v->target << 32, v->resident | v->held << 32,
        set | (uint64_t)v->waiting << 32, 0);
  if (v->target < v->keep)
    atomic_fetch_add_relaxed(&d.asked_frames, v->keep - v->target);
  s->changes++;
  s->before = v->keep;
  s->goal = v->target;
  s->decided_at = now;
  d.stats.changes++;
}

static void apply_one(const struct policy_vm *v, uint64_t now) {
  struct vm *vm = vm_by_id(v->id);
  if (!v->asked || !vm)
    return;
  struct policy_state *s = &vm->policy;
  s->last_target = v->target;
  if (v->why)
    s->why = v->why;
  if (v->target == v->keep)
    return;
  if (may_set(v))
    set_target(s, vm, v, now);
  else
    d.stats.refused++;
}

/* The next few. True if there are more. What the guests answer is there at the next tick. */
static bool apply_some(void) {
  uint64_t now = time_now();
  for (unsigned i = 0; i < VMS_PER_STEP && d.applied < d.view.count; i++) {
    const struct policy_vm *v = &d.view.vm[d.applied++];
    apply_one(v, now);
    struct vm *vm = vm_by_id(v->id);
    if (vm && v->asked)
      (void)balloon_ask_stats(vm);
  }
  return d.applied < d.view.count;
}

/* --- decide ---------------------------------------------------------------------------------------------------------------------- */

static struct policy_vm *find(struct policy_view *view, uint32_t id) {
  for (unsigned i = 0; i < view->count; i++)
    if (view->vm[i].id == id)
      return &view->vm[i];
  return NULL;
}

static void decide(uint64_t now) {
  uint32_t pressed = atomic_exchange(&d.pressed_vm, 0u);
  gather(&d.view);
  struct policy_vm *who = pressed ? find(&d.view, pressed) : NULL;
  d.last = now;
  if (who && d.policy->pressure) {
    d.policy->pressure(&d.view, who, atomic_load_relaxed(&d.pressed_frames));
    d.stats.pressures++;
  } else if (d.policy->tick) {
    d.policy->tick(&d.view);
    d.stats.ticks++;
  }
  d.applied = 0;
}

static bool is_pressed(void) {
  return atomic_load_relaxed(&d.pressed_vm) != 0 || atomic_load_relaxed(&d.hinted) != 0;
}

static uint64_t next_tick(uint64_t now) {
  return d.policy->tick ? now + time_from_ms(d.period_ms) : ~(uint64_t)0;
}

static bool is_due(uint64_t now) {
  return now >= d.due || (is_pressed() && now >= d.last + time_from_ms(PRESSURE_MS));
}

static enum work_result step(struct work *w) {
  uint64_t now = time_now();
  bool more = d.applied < d.view.count;
  if (!more && is_due(now)) {
    atomic_store_relaxed(&d.hinted, 0u);
    decide(now);
    d.due = next_tick(now);
    d.stats.decide_ticks = time_now() - now;
    more = true;
  } else if (more) {
    more = apply_some();
    d.stats.apply_ticks = time_now() - now;
  }
  w->wake_at = is_pressed() ? min_u64(d.due, d.last + time_from_ms(PRESSURE_MS)) : d.due;
  return more ? WORK_MORE : WORK_WAIT;
}

/* --- what is asked of it --------------------------------------------------------------------------------------------------------- */

void policyd_pressure(struct vm *vm, uint64_t frames) {
  atomic_store_relaxed(&d.pressed_frames, frames);
  if (atomic_exchange(&d.pressed_vm, (uint32_t)vm->id) == 0 && d.work.step)
    work_wake(&d.work);
}

void policyd_hint(void) {
  if (d.policy && d.policy->tick && atomic_load_relaxed(&d.hinted) == 0 && atomic_exchange(&d.hinted, 1u) == 0 && d.work.step)
    work_wake(&d.work);
}

static void forget_all(void) {
  struct vm *vm;
  for_each_vm(vm) memset(&vm->policy, 0, sizeof(vm->policy));
}

static void follow_ageing(void) {
  if (d.policy->needs_wss)
    age_on(d.period_ms);
  else if (d.aged)
    age_off();
  d.aged = d.policy->needs_wss;
}

void policyd_set(const struct policy *policy, uint32_t period_ms) {
  bool other = policy != d.policy;
  d.policy = policy;
  d.applied = d.view.count; /* what the other wanted, and has not asked for yet, is nobody's wish any more */
  d.period_ms = period_ms ? period_ms : policy->period_ms;
  if (other)
    forget_all();
  follow_ageing();
  d.due = next_tick(time_now());
  if (d.policy->tick)
    work_wake(&d.work);
}

void policyd_init(const struct policy *policy, uint32_t period_ms) {
  d.work.step = step;
  list_init(&d.work.node);
  policyd_set(policy ? policy : policy_find("none"), period_ms);
}

uint64_t policyd_asked_frames(void) {
  return atomic_load_relaxed(&d.asked_frames);
}

void policyd_read(struct policyd_stats *out) {
  *out = d.stats;
  out->policy = d.policy;
  out->period_ms = d.period_ms;
}
