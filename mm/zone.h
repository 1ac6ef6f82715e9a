/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_ZONE_H
#define MM_ZONE_H

/*
 * What the files of the allocator share: frame.c (states, ledger), pageblock.c, buddy.c, percpu.c, zone.c (set-up), page_alloc.c (the
 * public doors). Nobody outside mm/ includes this.
 */

#include "mm/frame_word.h"
#include "mm/pageblock_priv.h"
#include "mm/percpu.h"

#define ZONES_MAX RAM_RANGES_MAX

/* One more than there are types: whole pageblocks of movable memory that were reported (page_reporting.c), the last to be handed out. */
#define LIST_REPORTED MIGRATE_TYPES
#define FREE_LISTS (MIGRATE_TYPES + 1)

struct free_list {
  uint32_t head;  /* INDEX_NONE if empty */
  uint32_t count; /* blocks */
};

/* One bank of RAM of one node, chunk-aligned outwards; no two share a chunk, so blocks never merge across zones. */
struct zone {
  struct port_lock lock; /* covers all below that changes, and its free frames' entries */
  uint32_t start, end;   /* indexes; constant */
  uint32_t managed;      /* frames of RAM less reserved; constant, like node and watermarks */
  uint32_t node;
  uint32_t min, low, high;
  uint32_t boost;                        /* frames on top of low, since types had to share pageblocks */
  uint32_t highatomic;                   /* frames of pageblocks set aside as MIGRATE_HIGHATOMIC */
  uint32_t free;                         /* frames in the buddy, unopened ones included */
  uint32_t unopened;                     /* frames in pageblocks not opened yet */
  uint32_t open_cursor;                  /* pageblock; none below it in the zone is unopened */
  uint16_t avail[FREE_LISTS];            /* bit per order: the list is not empty */
  struct free_list list[FREE_LISTS][16]; /* by order; 16 is quicker to multiply by than MAX_ORDER + 1 */
  struct free_list zeroed[2];            /* the zeroed pool: single frames, and blocks of PAGEBLOCK_ORDER; through `next` only */
  uint64_t events[ZONE_EVENTS];
  uint32_t isolated;                      /* pageblocks that a compaction run has set aside (isolate.c) */
  uint32_t defer_considered, defer_shift; /* compact_classic.c: attempts to be let pass, 2^shift of them */
  bool compacting;                        /* a run, or a search for a contiguous range, has this zone */
  char name[8];
};

extern struct zone zones[ZONES_MAX];
/* Numbers of all zones, the nearest to a node first, that node's own before all; ends with zone_count. */
extern uint8_t zone_order[NODES_MAX][ZONES_MAX + 1];
extern unsigned zone_count;

static inline struct zone *zone_of(uint32_t index) {
  struct zone *z = zones;
  while (index >= z->end)
    z++;
  return z;
}

/* Take a zone's lock and let go of it, interrupts masked between. */
static inline port_flags_t zone_lock(struct zone *z) {
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&z->lock);
  return flags;
}

static inline void zone_unlock(struct zone *z, port_flags_t flags) {
  port_lock_release(&z->lock);
  port_irq_restore(flags);
}

/* --- buddy (buddy.c); all under the zone's lock -------------------------------------------------------------------------------- */

/*
 * A block of `order` off the lists, or INDEX_NONE. Its first entry is no head any more, so that nobody merges with it; the caller makes it
 * one again, lock held or not. Takes `free` down, ledger not. The next two likewise.
 */
uint32_t buddy_take(struct zone *z, unsigned order, enum migratetype type);
/* The block at exactly `index`, if it is free. */
bool buddy_take_at(struct zone *z, uint32_t index, unsigned order);
/*
 * Up to `want` frames (a multiple of 2^least) as blocks of order `least` or more, small ones first; returns the blocks. `to` has room for
 * `want` of them.
 */
struct block {
  uint32_t index;
  uint32_t order;
};
unsigned buddy_take_many(struct zone *z, enum migratetype type, struct block *to, unsigned want, unsigned least);
/* Put a block back and merge it. Its head's entry need not be valid; its tails must be no heads. Takes `free` up, ledger not. */
void buddy_give(struct zone *z, uint32_t index, unsigned order);
/* The same for a whole pageblock or two that were reported: it goes to the lists of such, unless it merges with one that was not. */
void buddy_give_reported(struct zone *z, uint32_t index, unsigned order);
/* The frames [index, index + count), all single: as aligned blocks. Their entries must not say FREE. */
void buddy_give_run(struct zone *z, uint32_t index, uint32_t count);
/* Single frames of a per-CPU list, whose entries do not look free, and whole pageblocks of one; all of this zone. */
void buddy_give_frames(struct zone *z, const pfn_t *frames, unsigned count);
void buddy_give_pageblocks(struct zone *z, const pfn_t *frames, unsigned count);
/* Up to `want` whole pageblocks, in pairs as far as may be; returns the blocks. */
unsigned buddy_take_pageblocks(struct zone *z, enum migratetype type, struct block *to, unsigned want);
/* A free block of whole pageblocks, order >= 9, changes its type. False if `from` has none. */
bool buddy_convert(struct zone *z, unsigned order, enum migratetype from, enum migratetype to);
/* Move what is free in a pageblock to the lists of `type`; returns the frames moved. */
uint32_t buddy_move_pageblock(struct zone *z, uint32_t pb, enum migratetype type);

/*
 * More memory for `type`, when its own lists have none of `order` (fallback.c): returns the type whose lists have one now, or
 * MIGRATE_TYPES.
 */
enum migratetype fallback_find(struct zone *z, unsigned order, enum migratetype type);
/* A free block of at least `order` that compaction has set aside, back for everybody (isolate.c); false if there is none. */
bool isolate_give_way(struct zone *z, unsigned order);
/* A pair of pageblocks never opened, past the lists; still counted in the zone's `free`. INDEX_NONE if the next to open is none. */
uint32_t fallback_take_unopened(struct zone *z, enum migratetype type);
/* Open the chunk of `index` if it is not open yet. */
void fallback_open_at(struct zone *z, uint32_t index);

/* --- doors for the core alone (page_alloc.c) ------------------------------------------------------------------------------------ */

/* page_free() past the per-CPU lists: a single frame, too, is in the buddy, merged, when this returns. */
void page_free_direct(pfn_t f, unsigned order);

/* --- slabs (slab_cache.c) and shrinkers (shrinker.c) ---------------------------------------------------------------------------- */

/* There is no cache and no shrinker: the allocator starts anew. */
void slab_reset(void);
void shrinker_reset(void);

/* Free blocks of each order, those never opened as what they will be (report.c). Takes the zone's lock. */
void zone_free_blocks(struct zone *z, uint64_t out[MAX_ORDER + 1]);

/* --- watermarks ------------------------------------------------------------------------------------------------------------------ */

/* How far down a request may go. */
enum zone_mark {
  MARK_LOW,  /* everybody, without a second thought */
  MARK_MIN,  /* after the background has been woken */
  MARK_HALF, /* ALLOC_HIGH */
  MARK_NONE  /* ALLOC_ATOMIC: to the last frame, those set aside for it included */
};

static inline uint32_t zone_reserve(const struct zone *z, enum zone_mark mark) {
  if (mark == MARK_NONE)
    return 0;
  return z->highatomic + (mark == MARK_LOW ? z->low + z->boost : mark == MARK_MIN ? z->min : z->min / 2);
}

/* May `frames` leave the zone? Zone lock. */
static inline bool zone_allows(const struct zone *z, uint32_t frames, enum zone_mark mark) {
  return z->free >= frames && z->free - frames >= zone_reserve(z, mark);
}

/* --- doors (page_alloc.c) and what lies behind them -------------------------------------------------------------------------------- */

/* A block from the nearest zone that allows it, handed out; no other effort. Masks interrupts itself. False if there is none. */
bool page_take(unsigned order, alloc_flags_t flags, enum zone_mark mark, pfn_t *out);
/* When page_take(MARK_LOW) has failed (slowpath.c): with all the effort that `flags` allow. Interrupts as the caller had them. */
MUST_CHECK err_t slowpath_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);

/* The home's hooks are forgotten. */
void slowpath_reset(void);
/* There is something to do in the background, and not only when somebody idles. */
void slowpath_wake(void);

/* The zeroed pool (zero_pool.c). A block of it as `word` says, if it has one; interrupts masked. `order` 0 or PAGEBLOCK_ORDER. */
extern uint32_t zero_pool_count[2];
bool zero_pool_take(struct percpu *pc, unsigned order, uint64_t word, uint64_t rmap, pfn_t *out);
/* Give a piece of it back to the buddy, a whole pageblock if it has one; true if there was some. */
bool zero_pool_drop(void);
void zero_pool_reset(void);

static inline bool zero_pool_has(unsigned order) {
  return (order == 0 || order == PAGEBLOCK_ORDER) && atomic_load_relaxed(&zero_pool_count[order != 0]) != 0;
}

/* Poison (poison.c). A block on its way out, and on its way in; zone lock not held. */
extern uint32_t poison_generation; /* 0: off */
void poison_check(pfn_t f, unsigned order);
void poison_fill(pfn_t f, unsigned order);

#endif
