/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_STAGE2_H
#define HYP_MEM_STAGE2_H

/* A VM's stage 2: its tables, RAM range and VMID. */

#include "arch/lock.h"
#include "core/err.h"
#include "core/types.h"
#include "hyp/core/cpu.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/quota.h"
#include "hyp/mem/vmid.h"
#include "mm/frame.h"
#include "mm/pgtable.h"

struct vm;

/* How RAM of a VM is backed; bits, chosen so that the usual fault asks once. */
#define POPULATE_BLOCKS 0u /* 2 MiB where that can be, else 4 KiB */
#define POPULATE_PAGES 1u  /* 4 KiB */
#define POPULATE_POOLED 2u /* the one or the other, from the zeroed pool first */
#define POPULATE_POOLED_PAGES 4u

struct stage2 {
  struct spinlock lock; /* covers pt */
  struct pt pt;
  struct vmid vmid;
  struct vm *vm;
  uint64_t vtcr; /* VTCR_EL2 for this geometry; constant */
  ipa_t ram_base;
  uint64_t ram_bytes;
  uint64_t window_frames;     /* of its own that are mapped in the window, not among populated_frames: no quota counts them; lock */
  uint64_t window_bytes;      /* above RAM: where what other VMs hand over may be mapped (handover.h); constant */
  uint64_t managed_bytes;     /* above the window: ranges of managed memory (managed.h); constant */
  uint64_t managed_faults;    /* served there by mapping; lock */
  uint64_t *given;            /* bit for each page of RAM that is lent or given away: not to be populated; NULL: none ever was; lock */
  const uint64_t *ballooned;  /* bit for each page of RAM that is in the balloon, marked by its device; NULL: no balloon; atomic, a hint */
  uint8_t ran_here[CPUS_MAX]; /* vCPU id + 1 that ran last on each CPU; that CPU only */
  uint8_t populate;           /* POPULATE_*; constant */
  bool passed_high;           /* of its quota, and it has been noticed: notice_frames is max; lock */
  uint64_t moved_frames;      /* given another frame; lock */
  struct pt_broken broken;    /* of the page that is being moved (move.c); lock */
  uint64_t
      notice_frames; /* populating beyond this takes notice: quota.c; lock. In one load with the next, which is in one with the one behind it */
  uint64_t populated_frames;     /* lock */
  uint64_t faults_4k, faults_2m; /* served by populating; lock */
  uint64_t released_frames;      /* that the guest gave up (reclaim.c); lock */
};

MUST_CHECK err_t stage2_init(struct stage2 *s2, struct vm *vm, uint64_t ram_bytes, uint64_t window_bytes);

/* True if `a` lies in the VM's RAM. */
static inline bool stage2_is_ram(const struct stage2 *s2, ipa_t a) {
  return a.v - s2->ram_base.v < s2->ram_bytes;
}

/* True if all of [a, a + bytes) does. */
static inline bool stage2_is_ram_range(const struct stage2 *s2, ipa_t a, uint64_t bytes) {
  return bytes <= s2->ram_bytes && a.v >= s2->ram_base.v && a.v - s2->ram_base.v <= s2->ram_bytes - bytes;
}

/* RAM, or the window for what others hand over, which follows it at once. */
static inline bool stage2_is_memory(const struct stage2 *s2, ipa_t a) {
  return a.v - s2->ram_base.v < s2->ram_bytes + s2->window_bytes;
}

static inline bool stage2_is_memory_range(const struct stage2 *s2, ipa_t a, uint64_t bytes) {
  uint64_t size = s2->ram_bytes + s2->window_bytes, offset = a.v - s2->ram_base.v;
  return offset < size && bytes <= size - offset;
}

static inline ipa_t stage2_window(const struct stage2 *s2) {
  return ipa(s2->ram_base.v + s2->ram_bytes);
}

/* In a range of managed memory, which follow the window at once. */
static inline uint64_t stage2_managed_base(const struct stage2 *s2) {
  return s2->ram_base.v + s2->ram_bytes + s2->window_bytes;
}

static inline bool stage2_is_managed(const struct stage2 *s2, ipa_t a) {
  return a.v - stage2_managed_base(s2) < s2->managed_bytes;
}

static inline bool stage2_is_window_range(const struct stage2 *s2, ipa_t a, uint64_t bytes) {
  return a.v - stage2_window(s2).v < s2->window_bytes && bytes <= s2->window_bytes - (a.v - stage2_window(s2).v);
}

/*
 * Pages of RAM that the VM has lent or given away: stage2_populate() answers ERR_PERM there. stage2_open_given() makes the record of them
 * (ERR_NOMEM), idempotent, without a lock; stage2_close_given() drops it when the VM ends. The other two act on `pages` at `a`, under the
 * lock; `is`: any of them. What is not RAM is never given, and setting it does nothing, also where a range begins in RAM and goes on in the
 * window.
 */
MUST_CHECK err_t stage2_open_given(struct stage2 *s2);
void stage2_close_given(struct stage2 *s2);
void stage2_set_given(struct stage2 *s2, uint64_t a, uint64_t pages, bool given);
bool stage2_is_given(const struct stage2 *s2, uint64_t a, uint64_t pages);
/*
 * Is any of them in the balloon? The guest has promised not to touch that one, and EL2 need not back it. No lock; what its device does at
 * this moment may be seen or not.
 */
bool stage2_is_ballooned(const struct stage2 *s2, uint64_t a, uint64_t pages);

/*
 * `frames` back the VM's RAM no more: the one way on which populated_frames falls. High is watched again (quota.c), and who waits for
 * memory is let look (exhaust.c), which finds them in the allocator if they are there already, or a tick later. Lock.
 */
static inline void stage2_frames_left(struct stage2 *s2, uint64_t frames) {
  s2->populated_frames -= frames;
  if (unlikely(s2->passed_high || atomic_load_relaxed(&exhaust_open) != 0))
    quota_frames_left(s2, frames);
}

/* `frames` of the VM's own at `a` come (or, negative, go). Lock. */
static inline void stage2_count(struct stage2 *s2, uint64_t a, int64_t frames) {
  if (!stage2_is_ram(s2, ipa(a)))
    s2->window_frames += (uint64_t)frames;
  else if (frames >= 0)
    s2->populated_frames += (uint64_t)frames;
  else
    stage2_frames_left(s2, (uint64_t)-frames);
}

/* Zero `frames` of a VM's that are mapped nowhere, as their next owner must find them; a step's worth, interrupts stay masked. */
void stage2_cleanse(pfn_t first, uint64_t frames);
/*
 * The same for frames whose contents stay: what one VM wrote past or through the caches is what the next one reads past or through them.
 * stage2_must_settle() is false where that is needless: with S2FWB no guest looks past the caches.
 */
void stage2_settle(pfn_t first, uint64_t frames);
bool stage2_must_settle(void);
/* Afterwards: what was fetched from there before is forgotten (all of it: IC IALLUIS), unless fetches look into the data caches (DIC). */
void stage2_forget_code(void);
/* A block of `order`, 0 or 9, the very way a fault does it. */
void stage2_cleanse_block(pfn_t f, unsigned order);

/*
 * Make sure RAM at `a` is backed by a zeroed frame and mapped. ERR_RANGE if it is not RAM, ERR_PERM if the VM has handed it over;
 * ERR_NOMEM; ERR_NOSPC if its quota allows no more. Idempotent; from any CPU. No lock may be held: pending interrupts are handled half-way
 * through a block.
 */
MUST_CHECK err_t stage2_populate(struct stage2 *s2, ipa_t a);

/* The same for an address known to be RAM: the fault path. */
MUST_CHECK err_t stage2_populate_ram(struct stage2 *s2, uint64_t a);

static inline uint64_t stage2_faults(const struct stage2 *s2) {
  return s2->faults_4k + s2->faults_2m;
}

/* The physical address behind `a`: ERR_NOENT if nothing is mapped. The answer holds until the VM's table lock is next free. */
MUST_CHECK err_t stage2_lookup(struct stage2 *s2, ipa_t a, pa_t *out);

/*
 * Copy between EL2 memory and guest RAM by IPA, populating as needed (write) or reading zeroes where nothing is backed (read).
 * ERR_RANGE if not wholly RAM; a write also as stage2_populate(), and it may have written a part then. Cleans caches as a guest with its
 * MMU off needs (write).
 */
MUST_CHECK err_t stage2_write(struct stage2 *s2, ipa_t to, const void *from, uint64_t bytes);
MUST_CHECK err_t stage2_read(struct stage2 *s2, void *to, ipa_t from, uint64_t bytes);

/*
 * One half-word of guest RAM, 2-byte aligned, single-copy atomic (Arm ARM B2.2.1): indexes that guest and device share. The store is a
 * release, the load no acquire: order is the caller's. Errors as above; ERR_INVAL if misaligned.
 */
MUST_CHECK err_t stage2_load16(struct stage2 *s2, ipa_t from, uint16_t *out);
MUST_CHECK err_t stage2_store16(struct stage2 *s2, ipa_t to, uint16_t value);

/*
 * Give back [start, start + bytes), 4 KiB aligned: unmapped, TLBs cleared, frames freed. ERR_RANGE; ERR_BUSY if any of it is shared or
 * about to be handed over; ERR_NOMEM if a block could not be split.
 */
MUST_CHECK err_t stage2_release(struct stage2 *s2, ipa_t start, uint64_t bytes);

/*
 * For those who change the VM's tables; s2->lock held. stage2_split(): a block that holds `a` becomes 4 KiB leaves, and its frames 512 that
 * can be moved and freed alone; ERR_OK also if there is no block, ERR_NOMEM, ERR_BUSY if it is pinned. stage2_forget_views(): drop a range
 * from every vCPU's views.
 */
MUST_CHECK err_t stage2_split(struct stage2 *s2, uint64_t a);
void stage2_forget_views(struct stage2 *s2, ipa_t start, uint64_t bytes);

/* Take the whole down in steps; ERR_AGAIN while there is more. No vCPU of the VM may run any more. */
MUST_CHECK err_t stage2_destroy_step(struct stage2 *s2);

/*
 * Parts of struct pt_ops that every table set of a VM shares. Table set ids in events: the VM's id in the low 8 bits; above them 0 for its
 * stage 2, else 1 + 2 * vCPU + kind for a view (view.h).
 */
#define STAGE2_ID_VIEW_SHIFT 8u
static inline owner_t stage2_id_vm(unsigned id) {
  return (owner_t)(id & 0xffu);
}
MUST_CHECK err_t stage2_table_alloc(struct pt *pt, pfn_t *out);
void stage2_table_free(struct pt *pt, pfn_t table);
void stage2_publish(struct pt *pt);

#endif
