/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Quotas of VMs. The fault path compares what a VM has with one mark, s2->notice_frames; all else happens here, when that is passed:
 *
 *   notice_frames = high    until the VM passes it: that is counted, once
 *                 = max     from then on, till it is not above high any more (stage2_frames_left)
 *
 * vm->quota and s2->notice_frames are under s2->lock, like the count that they bound. Refuses a quota whose marks are out of order. A quota
 * takes nothing away by itself: that is for policies, by balloon.
 */
#include "hyp/mem/quota.h"
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/policyd.h"

#define LEAST_FRAMES (SZ_2M >> PAGE_SHIFT)

struct vm_quota quota_none(uint64_t memory_bytes) {
  uint64_t frames = memory_bytes >> PAGE_SHIFT;
  return (struct vm_quota){.high = frames, .max = frames};
}

bool quota_is_sane(const struct vm_quota *q, uint64_t memory_bytes) {
  return q->min <= q->low && q->low <= q->high && q->high <= q->max && q->max <= memory_bytes >> PAGE_SHIFT && q->high >= LEAST_FRAMES;
}

void quota_arm(struct stage2 *s2) {
  const struct vm_quota *q = &s2->vm->quota;
  s2->passed_high = s2->populated_frames > q->high;
  s2->notice_frames = s2->passed_high ? q->max : q->high;
}

err_t quota_notice(struct stage2 *s2, unsigned order) {
  const struct vm_quota *q = &s2->vm->quota;
  uint64_t frames = s2->populated_frames + ((uint64_t)1 << order);
  if (frames > q->max)
    return ERR_NOSPC;
  if (frames > q->high && !s2->passed_high) {
    s2->notice_frames = q->max;
    s2->passed_high = true;
    s2->vm->quota_passed++;
    policyd_pressure(s2->vm, frames - q->high);
  }
  return ERR_OK;
}

void quota_frames_left(struct stage2 *s2, uint64_t frames) {
  quota_arm(s2);
  exhaust_memory_back(frames);
}

bool quota_has_room(const struct vm *vm) {
  return atomic_load_relaxed(&vm->s2.populated_frames) < atomic_load_relaxed(&vm->quota.max);
}

err_t quota_set(struct vm *vm, const struct vm_quota *q) {
  if (!quota_is_sane(q, vm->config.memory_bytes))
    return ERR_INVAL;
  spin_lock(&vm->s2.lock);
  vm->quota = *q;
  quota_arm(&vm->s2);
  spin_unlock(&vm->s2.lock);
  exhaust_poke();
  return ERR_OK;
}
