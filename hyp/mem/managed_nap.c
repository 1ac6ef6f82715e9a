/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory, throttling: a vCPU whose access would go on with the thrashing of a page is parked (VCPU_MEMWAIT, for WAIT_THROTTLE) for
 * a fraction of a millisecond, its PC still at the access. Meanwhile who has the page gets on. Interrupts for it wait as long.
 *
 * One work item lets vCPUs go whose time has come, within a period of EL2's work. wait_at of a vCPU that naps is when its nap ends: written
 * by itself before it parks. No lock of its own.
 */
#include "hyp/core/sched.h"
#include "hyp/core/work.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/managed_priv.h"

static struct work work;

static bool naps(const struct vcpu *v) {
  return atomic_load_acquire(&v->wait_reason) == WAIT_THROTTLE;
}

/* CNTPCT when the next one of this VM is due. */
static uint64_t wake_some(struct vm *vm, uint64_t now) {
  uint64_t next = ~(uint64_t)0;
  for (unsigned i = 0; i < vm->vcpu_count; i++) {
    struct vcpu *v = vm->vcpus[i];
    enum vcpu_state state = atomic_load_acquire(&v->state);
    if (!naps(v) || state == VCPU_OFF || state == VCPU_PAUSED)
      continue;
    if (v->wait_at <= now && state == VCPU_MEMWAIT) {
      atomic_store_release(&v->wait_reason, WAIT_NONE);
      (void)sched_wake_memwait(v);
    } else {
      next = min_u64(next, max_u64(v->wait_at, now + 1)); /* not parked yet: look again */
    }
  }
  return next;
}

static enum work_result step(struct work *w) {
  uint64_t now = time_now(), next = ~(uint64_t)0;
  struct vm *vm;
  for_each_vm(vm) if (vm->seats) next = min_u64(next, wake_some(vm, now));
  w->wake_at = next;
  return next == ~(uint64_t)0 ? WORK_DONE : WORK_WAIT;
}

void managed_nap_init(void) {
  work.step = step;
  list_init(&work.node);
}

void managed_nap(struct vcpu *v, uint32_t us) {
  v->wait_at = time_now() + time_from_ms(us) / 1000;
  atomic_store_release(&v->wait_reason, WAIT_THROTTLE);
  atomic_fetch_or(&v->requests, VCPU_REQ_MEMWAIT);
  work_wake(&work);
}
