/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_MANAGED_PRIV_H
#define HYP_MEM_MANAGED_PRIV_H

/* What the files behind managed.h share: a range, its blocks, and the steps over them. */

#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/managed.h"
#include "hyp/mem/managed_bits.h"

/* Pages that are copied, or zeroed, with interrupts masked. */
#define MANAGED_STEP_PAGES 32u
#define MANAGED_STEP_MASK GENMASK(MANAGED_STEP_PAGES - 1, 0)

/* One block: what is known of it, and its frames. */
struct managed_chunk {
  struct spinlock lock;
  uint32_t first[MANAGED_PAGES];           /* index of a frame of each page, its copies hang on by frame.next; FRAME_LINK_NONE; lock */
  struct list_node lru[MANAGED_LOCATIONS]; /* in the list of each member that has, or had, pages of it; range->lock */
  struct managed_block block;              /* lock */
  uint64_t number;                         /* in its range; constant */
  uint32_t copies;                         /* frames beyond the first of each page; lock, and glimpsed */
};

struct managed_member {
  struct vm *vm;        /* NULL: not there; written by EL2's work while nobody faults for it */
  uint64_t base;        /* IPA */
  uint64_t quota, used; /* frames; atomic */
  struct list_node lru; /* blocks, the one used least recently first; range->lock */
  uint64_t leave_at;    /* word that managed_leave() goes on with */
};

struct managed_range {
  struct managed_config config; /* constant, policy and quotas apart: those of the beginning */
  unsigned number;
  uint64_t blocks;
  struct managed_chunk **chunk; /* constant */
  struct spinlock lock;
  struct managed_policy policy; /* lock; read as policy_seq says */
  uint32_t policy_seq;          /* odd while it is being written; atomic */
  uint8_t present;              /* bit per location; atomic, looked at under the block's lock */
  uint64_t moved;               /* frames, by compaction; atomic */
  struct managed_member member[MANAGED_LOCATIONS];
};

/* A block of a range, as a step is told of it. */
struct managed_place {
  struct managed_range *range;
  struct managed_chunk *chunk;
  uint64_t block; /* its number */
};

static inline struct managed_place managed_place_of(struct managed_range *range, uint64_t block) {
  return (struct managed_place){range, range->chunk[block], block};
}

/* Offset in the range of a page of the block. */
static inline uint64_t managed_offset(const struct managed_place *at, unsigned page) {
  return at->block * SZ_2M + page * PAGE_SIZE;
}

static inline owner_t managed_owner(const struct managed_range *range, unsigned location) {
  return location == LOCATION_HOME ? OWNER_CORE : range->member[location].vm->id;
}

static inline uint32_t managed_now_us(void) {
  return (uint32_t)time_to_us(time_now());
}

/* The frame of `page` at `location`, which has one; block's lock. */
struct frame *managed_frame(const struct managed_place *at, unsigned location, unsigned page);
/* The same for who is not sure: NULL if there is none. */
struct frame *managed_find_frame(const struct managed_place *at, unsigned location, unsigned page);

/* A page's contents, as any guest may have written them and any other may read them. */
void managed_copy(pfn_t from, pfn_t to);

/* Frames that carrying the plan out takes from the allocator. */
unsigned managed_frames_wanted(const struct managed_place *at, const struct managed_plan *plan);

/*
 * Do what the plan says with `frames` (CACHED, as many as are wanted), then commit it. The places of what comes have been reserved in the
 * quota of plan->to. ERR_NOMEM: some of it could not be mapped for want of a table, all else is done. Block's lock.
 */
MUST_CHECK err_t managed_carry_out(const struct managed_place *at, struct managed_plan *plan, const pfn_t *frames, uint32_t now_us);

/* ---- managed_quota.c ---- */

/* Room for `frames` more at a member, and the block is the one used last. False: its quota is full. Range's lock not held. */
bool managed_reserve(const struct managed_place *at, unsigned location, uint64_t frames);
void managed_unreserve(struct managed_range *range, unsigned location, uint64_t frames);
/*
 * What a member has of the block that it used least recently goes to LOCATION_HOME. False: there is nothing that may. No lock held;
 * interrupts are looked at.
 */
bool managed_evict(struct managed_range *range, unsigned location);
/* The block is in no list of this member any more. */
void managed_forget_lru(const struct managed_place *at, unsigned location);

/* ---- managed_nap.c ---- */

/* With the first range. */
void managed_nap_init(void);

/* The current vCPU is held back for so long: on its way out it leaves the CPU, and tries its access again then. */
void managed_nap(struct vcpu *v, uint32_t us);

#endif
