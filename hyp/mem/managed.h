/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_MANAGED_H
#define HYP_MEM_MANAGED_H

/*
 * Managed memory, after the model of NVIDIA's UVM (docs/managed.md): a range that up to MANAGED_MEMBERS_MAX VMs map at once, whose pages go
 * to the VM that touches them. Ranges are what the scenario says (/managed/NAME) and last as long as the machine. A VM is a member of a
 * range by its name, from its creation (managed_join) to its end or restart (managed_leave); the others keep the data, and when the last
 * one has left, frames and data are gone.
 *
 * Each member has the range at an IPA of its own, above its RAM and its window, with the same offsets; its device tree says where: a child
 * of /reserved-memory with compatible = "sluice,managed", reg, no-map. Its pages are never executable.
 *
 * A range is cut in blocks of 2 MiB, each with its own lock (managed_block.h has what is in one). A frame of a member is in state MANAGED
 * with that VM as owner, and counts in the member's quota for the range; one of the range's own backing has owner 0. Its rmap is
 * managed_rmap().
 *
 * Lock order: vms_lock -> a block's lock -> stage2.lock of one member -> ...; range->lock (policy, lists of blocks by last use) is taken
 * last and held alone; quotas are atomic. Two blocks' locks are never held at once.
 */

#include "arch/lock.h"
#include "core/err.h"
#include "core/list.h"
#include "core/types.h"
#include "hyp/mem/managed_block.h"
#include "mm/frame.h"

struct vm;
struct vcpu;

#define MANAGED_RANGES_MAX 8u
#define MANAGED_NAME_MAX 32u

/* What a scenario says of a range. */
struct managed_config {
  char name[MANAGED_NAME_MAX];
  uint64_t bytes; /* a multiple of 2 MiB */
  unsigned members;
  char member[MANAGED_MEMBERS_MAX][MANAGED_NAME_MAX]; /* location 1 + index */
  uint64_t quota_frames[MANAGED_MEMBERS_MAX];         /* of each, in the range */
  bool move;                                          /* a migration re-owns the frame; else it copies, as UVM does */
  struct managed_policy policy;
};

/* What a VM has of a range; in struct vm, from managed_join() on. */
struct managed_range;
struct managed_seat {
  struct managed_range *range;
  const char *name;
  uint64_t base, bytes; /* where its guest sees it */
  uint8_t location;
};

/* Once, at boot, before the first VM: make a range. ERR_NOSPC, ERR_NOMEM. */
MUST_CHECK err_t managed_create(const struct managed_config *config);

/* Bytes that ranges of the VM of this name take above its RAM and window. */
uint64_t managed_bytes_of(const char *vm_name);

/* The VM takes its place in its ranges: after stage2_init(), before it runs. */
void managed_join(struct vm *vm);
/*
 * It gives it up: no vCPU of it runs any more. What only it has goes to the range's backing, its mappings go with TLB maintenance.
 * ERR_AGAIN while there is more. Idempotent.
 */
MUST_CHECK err_t managed_leave(struct vm *vm);

/*
 * A stage-2 fault of the current vCPU at `at`, in a range of its VM, that is no fetch: after this the access can be tried again. It may be
 * made to wait: thrashing, or no memory. No lock held.
 */
void managed_fault(struct vcpu *v, ipa_t at, bool write);

/*
 * Memory is short: of pages that several members have, one copy stays, at the preferred location or at the lowest, and the others give up
 * theirs, until about `frames` frames have gone; returns how many. Who reads such a page then maps the one that stays, or makes a copy
 * again when there is memory. No lock held; interrupts are looked at.
 */
uint64_t managed_shed(uint64_t frames);

/* For the monitor: the nth range, from 0, or the one of this name; NULL: there is none. */
struct managed_range *managed_nth(unsigned n);
struct managed_range *managed_named(const char *name);
const struct managed_config *managed_config_of(const struct managed_range *range);

/* ---- at run time, from EL2's work ---- */

struct managed_member_state {
  bool present;
  uint64_t resident, mapped, writable, duplicated; /* pages */
  uint64_t quota_frames, used_frames;
  struct managed_counts counts;
};
struct managed_state {
  struct managed_policy policy;
  uint64_t home_pages;                                   /* resident at LOCATION_HOME */
  uint64_t pinned;                                       /* pages that are pinned now */
  uint64_t moved;                                        /* frames of the range that compaction moved */
  struct managed_member_state member[MANAGED_LOCATIONS]; /* by location; 0 unused */
};
/* Add up block `*block` and go on to the next; `out` and `*block` begin at 0. ERR_AGAIN while there is more. */
MUST_CHECK err_t managed_read_step(struct managed_range *range, uint32_t *block, struct managed_state *out);

/* Change the policy: takes effect at the next fault. */
void managed_set_policy(struct managed_range *range, const struct managed_policy *policy);
struct managed_policy managed_policy_of(struct managed_range *range);
void managed_set_quota(struct managed_range *range, unsigned member, uint64_t frames);

/*
 * Hold the masks of the next pages against the real stage-2 tables, the frame table and, of duplicates, each other's contents: a few pages
 * in a step. `*page` begins at 0. ERR_AGAIN; ERR_OK: all is sound; ERR_INVAL: not, and `what` says in words what and *page where.
 */
MUST_CHECK err_t managed_check_step(struct managed_range *range, uint64_t *page, const char **what);

/* ---- frames in state MANAGED, for `verify` and for compaction ---- */

#define MANAGED_RMAP_SHIFT 40u
static inline uint64_t managed_rmap(unsigned range, uint64_t offset) {
  return (uint64_t)range << MANAGED_RMAP_SHIFT | offset;
}

/* Is this frame one that its range knows, of that owner? */
bool managed_frame_is_sound(pfn_t f, owner_t owner, uint64_t rmap);

/* hyp/mem/move.c's three steps for a frame in state MANAGED (include/mm/migrate.h). */
MUST_CHECK err_t managed_freeze(pfn_t from, owner_t owner, uint64_t rmap);
void managed_move(pfn_t from, pfn_t to);
void managed_thaw(pfn_t at);

#endif
