/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for memory. The allocator has tried all it can (mm/slowpath.c) before a fault fails; then the vCPU is parked, in state
 * VCPU_MEMWAIT, its PC still at the access:
 *
 *   fault: no frame ──> VCPU_MEMWAIT ──memory or quota is there, or the page is──> ready: the access is repeated
 *                         ^     │
 *                         └─────┴── an interrupt it can take, at most once a tick: the handler may need no new page, and may free some
 *
 * Duplicates of managed memory are given up first (managed_shed): while there are any nobody parks. The policy is pressed for who parks,
 * and every TICK_MS as long as it waits: balloons are what can bring memory back (policyd.c). One work item looks as often, and when frames
 * leave a VM (stage2_frames_left), since they come back on more ways than that:
 * tables, slabs, lists. It lets go as many as there are frames, those that wait longest first, WAITERS_PER_STEP in a step; then come VMs
 * with a device that wants a frame. EL2's reserve, below the min watermark, is not counted: vCPUs never get it. Pausing, destroying and
 * PSCI see a vCPU here as one that is stopped.
 *
 * wait_* of a vCPU are written by itself before it parks, and here while it is parked; wait_reason is WAIT_NONE unless it is parked,
 * stopped when it was, or on the way. No lock of its own.
 */
#include "hyp/mem/exhaust.h"
#include "arch/sysreg.h"
#include "core/bits.h"
#include "hyp/core/sched.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/trace.h"
#include "hyp/dev/virtio/virtio.h"
#include "hyp/mem/managed.h"
#include "hyp/mem/policyd.h"
#include "hyp/mem/quota.h"
#include "mm/page_alloc.h"

#define TICK_MS 1u
#define TOLD_ALL 8u       /* episodes of a VM that get a line each; then those whose number is a power of two */
#define FRAMES_FOR_ONE 1u /* a table for it may come out of the reserve */
#define FRAMES_FOR_VIEWS 8u
#define FRAMES_WANTED 512u  /* who has run out will want another soon */
#define WAITERS_PER_STEP 8u /* each takes a look at every vCPU there is */
#define FRAMES_SHED 64u     /* copies given up at a time: they are wanted, if less than what waits */

static struct work work;
uint32_t exhaust_open;
static uint64_t frames_back; /* while somebody waited; atomic */

/* A look at all who wait, in the order of their wait. The work's own. */
static struct {
  bool under_way;
  uint64_t after, until; /* keys: of the last one; who begins to wait later is the next pass's */
  uint64_t spare;        /* frames that nobody was let go for yet */
  bool pressed;
} pass;

/* Those that are throttled are parked as well, but want no memory. */
static bool parked(const struct vcpu *v) {
  return atomic_load_acquire(&v->state) == VCPU_MEMWAIT && v->wait_reason != WAIT_THROTTLE;
}

struct memory_waiters exhaust_waiters(const struct vm *vm) {
  struct memory_waiters w = {0};
  for (unsigned i = 0; i < vm->vcpu_count; i++) {
    w.memory += parked(vm->vcpus[i]) && vm->vcpus[i]->wait_reason == WAIT_MEMORY;
    w.quota += parked(vm->vcpus[i]) && vm->vcpus[i]->wait_reason == WAIT_QUOTA;
  }
  w.device = atomic_load_relaxed(&vm->device_waits) && quota_has_room(vm);
  return w;
}

/* ---- going to wait ---- */

static bool is_told(uint32_t episode) {
  return episode <= TOLD_ALL || is_pow2(episode);
}

struct memory_tried exhaust_tried(const struct vm *vm) {
  return (struct memory_tried){.asked = policyd_asked_frames() - vm->wait_asked, .back = atomic_load_relaxed(&frames_back) - vm->wait_back};
}

/* The VM's first to wait opens an episode; it ends when the last one is let go. */
static void begin_episode(struct vcpu *v, uint64_t at, enum memory_wait reason) {
  struct vm *vm = v->vm;
  if (atomic_exchange(&vm->wait_since, time_now()) != 0)
    return;
  vm->wait_asked = policyd_asked_frames();
  vm->wait_back = atomic_load_relaxed(&frames_back);
  if (is_told(atomic_add_fetch(&vm->wait_episodes, 1)))
    hyp_printf("sluice: %s/%u: waits for memory: %s (ipa 0x%llx, %llu MiB populated)\n", vm->config.name, v->id,
               reason == WAIT_QUOTA ? "its quota is used up" : "no frame left", (unsigned long long)at,
               (unsigned long long)(vm->s2.populated_frames * PAGE_SIZE / SZ_1M));
}

/* The policy is to find memory for it: by balloon, of VMs that have more than they need. Its quota is nobody else's business. */
static bool press(const struct vcpu *v) {
  if (v->wait_reason != WAIT_MEMORY)
    return false;
  policyd_pressure(v->vm, FRAMES_WANTED);
  return true;
}

void exhaust_wait(struct vcpu *v, uint64_t at, err_t why) {
  enum memory_wait reason = why == ERR_NOSPC ? WAIT_QUOTA : WAIT_MEMORY;
  bool goes_on = v->wait_goes_on && v->wait_ipa == at;
  if (reason == WAIT_MEMORY && managed_shed(FRAMES_SHED) != 0)
    return; /* the access is tried again at once */
  v->wait_ipa = at;
  if (!goes_on)
    v->wait_at = time_now();
  v->wait_count += !goes_on;
  v->wait_goes_on = false;
  atomic_store_release(&v->wait_reason, reason);
  atomic_store_relaxed(&exhaust_open, 1u);
  trace(TRACE_GROUP_POLICY, TRACE_MEMORY_WAIT, 0, (uint64_t)v->vm->id << 16 | v->id, at, reason, page_spare_frames(), 0);
  begin_episode(v, at, reason);
  (void)press(v);
  atomic_fetch_or(&v->requests, VCPU_REQ_MEMWAIT);
  work_wake(&work);
}

void exhaust_device_waits(struct vm *vm) {
  atomic_store_release(&vm->device_waits, true);
  atomic_store_relaxed(&exhaust_open, 1u);
  exhaust_poke();
}

void exhaust_memory_back(uint64_t frames) {
  if (atomic_load_relaxed(&exhaust_open) == 0)
    return;
  atomic_fetch_add_relaxed(&frames_back, frames);
  exhaust_poke();
}

void exhaust_poke(void) {
  if (work.step)
    work_wake(&work);
}

/* ---- letting go ---- */

static bool page_is_there(struct vcpu *v) {
  pa_t out;
  return !v->views && stage2_lookup(&v->vm->s2, ipa(v->wait_ipa), &out) == ERR_OK;
}

/* An interrupt that the guest has not masked. It is taken before the access is tried again. */
static bool can_take_interrupt(const struct vcpu *v, uint64_t now) {
  if (v->el1.spsr_el2 & PSR_I)
    return false;
  return v->wait_irq || (atomic_load_relaxed(&v->requests) & VCPU_REQ_VGIC) || vtimer_next(&v->vtimer) <= now;
}

static bool may_go(struct vcpu *v) {
  uint64_t need = v->views ? FRAMES_FOR_VIEWS : FRAMES_FOR_ONE;
  if (page_is_there(v))
    return true;
  if (pass.spare < need || (!stage2_is_managed(&v->vm->s2, ipa(v->wait_ipa)) && !quota_has_room(v->vm)))
    return false;
  pass.spare -= need;
  return true;
}

/* Orders by the time when the wait began, then by number. */
static uint64_t key_of(const struct vcpu *v) {
  return v->wait_at << 8 | ((v->vm->id * VCPUS_MAX + v->id) & 0xff);
}

/* The one that has waited longest and has not been looked at in this pass; NULL: none. */
static struct vcpu *longest_waiting(void) {
  struct vcpu *found = NULL;
  uint64_t least = pass.until + 1;
  struct vm *vm;
  for_each_vm(vm) for (unsigned i = 0; i < vm->vcpu_count; i++) {
    struct vcpu *v = vm->vcpus[i];
    if (!parked(v) || key_of(v) <= pass.after || key_of(v) >= least)
      continue;
    found = v;
    least = key_of(v);
  }
  return found;
}

static void look_at(struct vcpu *v) {
  bool goes = may_go(v);
  if (!goes && !pass.pressed)
    pass.pressed = press(v);
  if (!goes && !can_take_interrupt(v, time_now()))
    return;
  v->wait_goes_on = !goes;
  atomic_store_release(&v->wait_reason, WAIT_NONE);
  (void)sched_wake_memwait(v);
}

/* One after the other, in the order of their wait. True if there may be more. */
static bool look_at_some(void) {
  for (unsigned i = 0; i < WAITERS_PER_STEP; i++) {
    struct vcpu *v = longest_waiting();
    if (!v)
      return false;
    pass.after = key_of(v);
    look_at(v);
  }
  return true;
}

/* A frame for each VM with a device that wants one. */
static void look_at_devices(void) {
  struct vm *vm;
  for_each_vm(vm) {
    if (!atomic_load_acquire(&vm->device_waits) || !quota_has_room(vm))
      continue;
    if (pass.spare == 0) {
      policyd_pressure(vm, FRAMES_WANTED);
      continue;
    }
    pass.spare--;
    atomic_store_relaxed(&vm->device_waits, false);
    virtio_retry(vm);
  }
}

/* Parked, or on the way there. */
static bool waits(const struct vcpu *v) {
  enum vcpu_state state = atomic_load_acquire(&v->state);
  uint8_t reason = atomic_load_acquire(&v->wait_reason);
  return reason != WAIT_NONE && reason != WAIT_THROTTLE && state != VCPU_OFF && state != VCPU_PAUSED;
}

static bool still_waits(const struct vm *vm) {
  for (unsigned i = 0; i < vm->vcpu_count; i++)
    if (waits(vm->vcpus[i]))
      return true;
  return false;
}

/* Nobody waits any more: all have been let go, or stopped. */
static void end_episode(struct vm *vm, uint64_t since) {
  struct memory_tried tried = exhaust_tried(vm);
  uint64_t ticks = time_now() - since;
  if (!atomic_cas(&vm->wait_since, &since, 0))
    return; /* somebody has begun to wait: it goes on */
  trace(TRACE_GROUP_POLICY, TRACE_MEMORY_BACK, 0, vm->id, ticks, tried.asked, 0, 0);
  if (is_told(atomic_load_relaxed(&vm->wait_episodes)))
    hyp_printf("sluice: %s: waits for memory no more, after %llu us; others were asked for %llu KiB\n", vm->config.name,
               (unsigned long long)time_to_us(ticks), (unsigned long long)(tried.asked * PAGE_SIZE / SZ_1K));
}

/* True if somebody, or something, waits. */
static bool end_episodes(void) {
  struct vm *vm;
  bool open = false;
  for_each_vm(vm) {
    uint64_t since = atomic_load_relaxed(&vm->wait_since);
    bool waiting = still_waits(vm);
    if (since != 0 && !waiting)
      end_episode(vm, since);
    open |= waiting; /* whatever `since` says: somebody may begin to wait as it is cleared */
    open |= atomic_load_acquire(&vm->device_waits);
  }
  return open;
}

/* What other CPUs' lists hold is no use to anybody who waits. */
static void gather(void) {
  page_drain_local();
  (void)page_drain_others();
}

/* False if nobody waits. */
static bool begin_pass(void) {
  atomic_store_relaxed(&exhaust_open, 0u); /* who begins to wait from here on opens it again, and has woken this work */
  if (!end_episodes())
    return false;
  atomic_store_relaxed(&exhaust_open, 1u);
  gather();
  pass.after = 0;
  pass.until = time_now() << 8 | 0xff;
  pass.spare = page_spare_frames();
  pass.pressed = false;
  return true;
}

static enum work_result step(struct work *w) {
  if (!pass.under_way && !begin_pass())
    return WORK_DONE;
  pass.under_way = look_at_some();
  if (pass.under_way)
    return WORK_MORE;
  look_at_devices();
  w->wake_at = time_now() + time_from_ms(TICK_MS);
  return WORK_WAIT;
}

void exhaust_init(void) {
  work.step = step;
  list_init(&work.node);
}
