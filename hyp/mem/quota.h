/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_QUOTA_H
#define HYP_MEM_QUOTA_H

/*
 * How much memory a VM may have (the four marks of Linux's memory cgroups, counted in frames that back its RAM):
 *
 *   0 ........ min ........ low ........ high ........ max ........ RAM of the VM
 *     never taken   taken last   taken first   counted        refused
 */

#include "core/compiler.h"
#include "core/err.h"
#include "core/types.h"

struct vm;
struct stage2;

/* In frames; min <= low <= high <= max <= the VM's memory. */
struct vm_quota {
  uint64_t min, low, high, max;
};

/* A quota that bounds nothing, for a VM of so many bytes. */
struct vm_quota quota_none(uint64_t memory_bytes);

/* Is `q` in order, for a VM of so many bytes? At least 2 MiB must be allowed. */
bool quota_is_sane(const struct vm_quota *q, uint64_t memory_bytes);

/*
 * Change a VM's quota; what it has above a lower max it keeps, but gets no more, and vCPUs that waited for a higher one go on. ERR_INVAL if
 * it is not sane. Any CPU, vm->s2.lock not held.
 */
MUST_CHECK err_t quota_set(struct vm *vm, const struct vm_quota *q);

/*
 * Set the mark at which populating takes notice (s2->notice_frames): high, or max if the VM is above high. With s2->lock held, or before
 * anybody can populate.
 */
void quota_arm(struct stage2 *s2);

/*
 * Populating 2^order frames more would pass the mark: may it? When high is passed, counts it in vm->quota_passed and tells the policy, once
 * until it is below again. ERR_NOSPC above max. s2->lock held.
 */
MUST_CHECK err_t quota_notice(struct stage2 *s2, unsigned order);

/* Of stage2_frames_left() (stage2.h) when it matters to somebody: `frames` have left the VM's RAM. s2->lock held. */
void quota_frames_left(struct stage2 *s2, uint64_t frames);

/* May the VM have one frame more? A glimpse. */
bool quota_has_room(const struct vm *vm);

#endif
