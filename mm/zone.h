/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_ZONE_H
#define MM_ZONE_H

/*
 * What the files of the allocator share: frame.c (states, ledger), pageblock.c, buddy.c, percpu.c, zone.c (set-up, reports), page_alloc.c
 * (the public doors). Nobody outside mm/ includes this. Frames are named by index here: pfn - frame_base_pfn, 32 bits.
 *
 * A pageblock (2 MiB) has eight bytes (struct pageblock); its state is one of them:
 *
 *     7   5 4  3 2   0
 *    +-----+----+-----+    kind: how much of its part of the frame table has been written
 *    |node |kind| type|    type: enum migratetype
 *    +-----+----+-----+    node: of its zone
 */

#include "core/bits.h"
#include "core/check.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

#define INDEX_NONE FRAME_LINK_NONE
#define CHUNK_FRAMES (1u << MAX_ORDER)
#define ZONES_MAX RAM_RANGES_MAX

/* pageblock state without the type */
#define PAGEBLOCK_STATE(kind_, node_) ((uint8_t)((unsigned)(kind_) << 3 | (unsigned)(node_) << 5))

static inline unsigned pageblock_state_node(uint8_t state) {
  return state >> 5;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "struct frame's word is spelled for little-endian");

enum pageblock_kind {
  PAGEBLOCK_NONE = 0, /* nothing in it is ours; no entry is written */
  PAGEBLOCK_UNOPENED, /* wholly free, never handed out; no entry is written */
  PAGEBLOCK_WHOLE,    /* within one block of order >= 9 ever since it was opened; only its first entry is written */
  PAGEBLOCK_SPLIT     /* all entries are written: FRAME_F_HEAD says which are heads */
};

/* Written under its zone's lock; `state` and `free_frames` may be glimpsed without. */
struct pageblock {
  uint8_t state;        /* kind and type */
  uint8_t flags;        /* compaction's: PB_* (compaction.h) */
  uint16_t free_frames; /* of it in the buddy, 0..512; all of them if it is unopened */
  uint32_t link;        /* compaction's: what its run notes here */
};

_Static_assert(sizeof(struct pageblock) == 8, "eight bytes per pageblock");

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
  uint32_t boost;                           /* frames on top of low, since types had to share pageblocks */
  uint32_t highatomic;                      /* frames of pageblocks set aside as MIGRATE_HIGHATOMIC */
  uint32_t free;                            /* frames in the buddy, unopened ones included */
  uint32_t unopened;                        /* frames in pageblocks not opened yet */
  uint32_t open_cursor;                     /* pageblock; none below it in the zone is unopened */
  uint16_t avail[MIGRATE_TYPES];            /* bit per order: the list is not empty */
  struct free_list list[MIGRATE_TYPES][16]; /* by order; 16 is quicker to multiply by than MAX_ORDER + 1 */
  struct free_list zeroed[2];               /* the zeroed pool: single frames, and blocks of PAGEBLOCK_ORDER; through `next` only */
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
extern struct pageblock *pageblocks;      /* one per pageblock of the table */
extern struct pageblock *pageblocks_bias; /* the same, for frame numbers: pageblocks_bias[pfn >> 9] */
extern uint32_t frame_count;              /* entries in the table */

static inline struct frame *frame_at(uint32_t index) {
  return &frame_table[index];
}

static inline pfn_t index_pfn(uint32_t index) {
  return pfn(frame_base_pfn + index);
}

/* `f` lies in the table: callers hold it from the allocator, or have checked. */
static inline uint32_t pfn_index(pfn_t f) {
  return (uint32_t)(f.v - frame_base_pfn);
}

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

/* --- entries ------------------------------------------------------------------------------------------------------------------- */

/*
 *   63    48 47   40 39   32 31   24 23  16 15     4 3     0
 *  +--------+-------+-------+-------+------+--------+-------+
 *  |  pins  | flags | order |   0   | type | owner  | state |   struct frame's word; its low half-word is the ledger's key
 *  +--------+-------+-------+-------+------+--------+-------+
 */
#define WORD_STATE_MASK ((uint64_t)0xf)
#define WORD_OWNER_SHIFT 4
#define WORD_TYPE_SHIFT 16
#define WORD_ORDER_SHIFT 32
#define WORD_FLAGS_SHIFT 40
#define WORD_PINS_SHIFT 48

static inline uint64_t word_make(enum frame_state state, uint64_t order, uint64_t type, uint64_t flags) {
  return (uint64_t)state | order << WORD_ORDER_SHIFT | type << WORD_TYPE_SHIFT | flags << WORD_FLAGS_SHIFT;
}

static ALWAYS_INLINE uint64_t word_load(const struct frame *f) {
  return atomic_load_relaxed(&f->word);
}

static ALWAYS_INLINE void word_store(struct frame *f, uint64_t word) {
  atomic_store_relaxed(&f->word, word);
}

static inline unsigned word_type(uint64_t word) {
  return (word >> WORD_TYPE_SHIFT) & 0xff;
}

static inline unsigned word_order(uint64_t word) {
  return (word >> WORD_ORDER_SHIFT) & 0xff;
}

static inline owner_t word_owner(uint64_t word) {
  return (owner_t)(word >> WORD_OWNER_SHIFT & 0xfff);
}

static inline unsigned word_pins(uint64_t word) {
  return (unsigned)(word >> WORD_PINS_SHIFT);
}

static inline bool word_is_head(uint64_t word) {
  return word & word_make(0, 0, 0, FRAME_F_HEAD);
}

/* A head of this order that has been handed out: FRAME_F_HEAD and no other flag. */
static inline bool word_is_claimed(uint64_t word, unsigned order) {
  return (uint16_t)(word >> WORD_ORDER_SHIFT) == (order | FRAME_F_HEAD << 8);
}

/* The half of the word that says so, for one look at memory. */
static ALWAYS_INLINE bool frame_is_unpinned(const struct frame *f, unsigned order) {
  return atomic_load_relaxed(&f->claim) == (order | FRAME_F_HEAD << 8);
}

/* The same, and not pinned. */
static inline bool word_is_unpinned(uint64_t word, unsigned order) {
  return word >> WORD_ORDER_SHIFT == (order | FRAME_F_HEAD << 8);
}

/* The head of a free block: its order and flags say it all, for one compare of half a word. */
static ALWAYS_INLINE uint32_t claim_of_free(unsigned order) {
  return order | (FRAME_F_HEAD | FRAME_F_BUDDY) << 8;
}

static ALWAYS_INLINE bool frame_is_free(const struct frame *f, unsigned order) {
  return atomic_load_relaxed(&f->claim) == claim_of_free(order);
}

static inline bool word_is_free(uint64_t word, unsigned order) {
  return word >> WORD_ORDER_SHIFT == claim_of_free(order);
}

static inline uint64_t word_with_order(uint64_t word, unsigned order) {
  return (word & ~word_make(0, 0xff, 0, 0)) | word_make(0, order, 0, 0);
}

/* A block is given back: nothing of its life is left in its head. Free heads, and tails, have these at 0. */
static inline void frame_forget(struct frame *f) {
  f->refs = 0;
  atomic_store_relaxed(&f->private, 0);
  atomic_store_relaxed(&f->rmap, 0);
}

/* --- transitions and ledger (frame.c) ------------------------------------------------------------------------------------------ */

#define STATE_BIT(state_) (1u << (state_))
/* States only the allocator puts a frame into. */
#define STATES_OF_ALLOCATOR (STATE_BIT(FRAME_RESERVED) | STATE_BIT(FRAME_FREE) | STATE_BIT(FRAME_CACHED))

/* Bit per state that may follow; rows beyond FRAME_STATES are empty, so that a corrupt entry is refused. */
extern const uint16_t frame_transitions[16];

/* States page_free() takes: the rows above that allow FREE, as one constant for the hot path. */
#define STATES_FREEABLE                                                                                                                    \
  (STATE_BIT(FRAME_CACHED) | STATE_BIT(FRAME_ZEROED) | STATE_BIT(FRAME_CORE) | STATE_BIT(FRAME_TABLE) | STATE_BIT(FRAME_OWNED) |           \
   STATE_BIT(FRAME_SHARED) | STATE_BIT(FRAME_MANAGED) | STATE_BIT(FRAME_MOVING))

#define LEDGER_STATES 16u

static inline uint64_t ledger_key(enum frame_state state, owner_t owner) {
  return (uint64_t)owner * LEDGER_STATES + (uint64_t)state;
}

static inline uint64_t ledger_key_of(uint64_t word) {
  return (uint16_t)word;
}

/* Start anew: `free` frames FREE, `reserved` RESERVED. */
void ledger_reset(uint32_t free, uint32_t reserved);

/* --- what each CPU has to itself (percpu.c); interrupts masked ------------------------------------------------------------------ */

#define PERCPU_TYPES 3u /* UNMOVABLE, MOVABLE, RECLAIMABLE */
#define PERCPU_ROOM 128u
#define PERCPU_BATCH 64u       /* the most that moves at once */
#define PERCPU_BATCH_FIRST 8u  /* the first batch of single frames; of pageblocks it is a pair */
#define PERCPU_BLOCKS_HIGH 32u /* pageblocks a list holds before it has grown */

/* A stack of blocks in state CACHED with FRAME_F_PERCPU: single frames, or whole pageblocks. */
struct percpu_list {
  uint32_t count;
  uint32_t high;  /* full at this; 0: never used, every request takes the slow way */
  uint16_t batch; /* of single frames: of the next refill; of pageblocks: moved last */
  bool refilled;  /* pageblocks were moved last because the list was empty, not because it was full */
  uint8_t order;  /* of its blocks: 0 or PAGEBLOCK_ORDER */
  uint64_t word;  /* of their entries */
  pfn_t frames[PERCPU_ROOM];
};

/* Numbers of a CPU's lists: of single frames by type, then of pageblocks. The fourth of each, of no type, stays empty. */
#define PERCPU_BLOCKS 4u
#define PERCPU_LISTS 8u

/*
 * Only its own CPU writes it, but for `high` (percpu_set_enabled) and `drain_wanted`; others may glimpse. The ledger has a counter per owner
 * and state, modulo 2^32: only the sum over CPUs means anything. Lists of no type are there so that flags need no check before a list is
 * looked at. All that lies in the lists is of this CPU's node.
 */
struct percpu {
  uint32_t ledger[OWNERS_MAX * LEDGER_STATES];
  struct percpu_list *lists[PERCPU_LISTS]; /* to the next: a load is cheaper than the product */
  struct percpu_list list[PERCPU_LISTS];
  const uint8_t *zones;  /* zone_order[] of its node */
  uint32_t local;        /* state, without the type, of a pageblock of its node whose entries are written */
  uint32_t drain_wanted; /* another CPU is short of memory */
  bool used;             /* its lists have been */
} ALIGNED(64);
extern struct percpu percpus[PORT_CPUS_MAX];
extern struct percpu *percpu_of[PORT_CPUS_MAX]; /* &percpus[cpu]: a load is cheaper than the product, and done once */

static inline struct percpu *percpu_this(void) {
  return percpu_of[port_cpu()];
}

static inline void ledger_move(struct percpu *pc, uint64_t from, uint64_t to, uint32_t frames) {
  uint32_t *minus = &pc->ledger[from], *plus = &pc->ledger[to];
  atomic_store_relaxed(minus, *minus - frames);
  atomic_store_relaxed(plus, *plus + frames);
}

/* --- pageblocks (pageblock.c) -------------------------------------------------------------------------------------------------- */

static inline uint32_t pageblock_of(uint32_t index) {
  return index >> PAGEBLOCK_ORDER;
}

static inline enum pageblock_kind pageblock_kind(uint32_t pb) {
  return (enum pageblock_kind)(atomic_load_acquire(&pageblocks[pb].state) >> 3 & 3);
}

static inline enum migratetype pageblock_type(uint32_t pb) {
  return (enum migratetype)(atomic_load_relaxed(&pageblocks[pb].state) & 7);
}

/* Release, against the acquire of entry_is_written(): who sees that entries are written sees what was written. */
static inline void pageblock_set(uint32_t pb, enum pageblock_kind kind, enum migratetype type) {
  atomic_store_release(&pageblocks[pb].state, (uint8_t)((pageblocks[pb].state & 0xe0) | (unsigned)kind << 3 | (unsigned)type));
}

/* Frames of it in the buddy. Exact under the zone's lock. */
static inline unsigned pageblock_free(uint32_t pb) {
  return atomic_load_relaxed(&pageblocks[pb].free_frames);
}

static inline void pageblock_set_free(uint32_t pb, unsigned frames) {
  atomic_store_relaxed(&pageblocks[pb].free_frames, (uint16_t)frames);
}

/* The block (index, order) has left the buddy. Zone lock. */
static inline void pageblock_count_out(uint32_t index, unsigned order) {
  uint32_t pb = pageblock_of(index);
  if (order < PAGEBLOCK_ORDER) {
    pageblock_set_free(pb, pageblock_free(pb) - (1u << order));
    return;
  }
  for (uint32_t i = pb; i < pb + (1u << (order - PAGEBLOCK_ORDER)); i++)
    pageblock_set_free(i, 0);
}

/* A managed pageblock and what is free in it change their type; opens it if it is unopened. Zone lock (zone.c). */
void pageblock_retype(struct zone *z, uint32_t pb, enum migratetype type);

/* Write all entries of a WHOLE or NONE pageblock as "no head" (a head in its first entry is kept). Zone lock. */
void pageblock_write_entries(uint32_t pb);

/* Does the entry of `index` hold anything? */
static inline bool entry_is_written(uint32_t index) {
  enum pageblock_kind kind = pageblock_kind(pageblock_of(index));
  return kind == PAGEBLOCK_SPLIT || (kind == PAGEBLOCK_WHOLE && (index & (PAGEBLOCK_FRAMES - 1)) == 0);
}

/* Head of the block, free or not, that holds `index`; INDEX_NONE if none. */
uint32_t entry_find_head(uint32_t index);

/* --- buddy (buddy.c); all under the zone's lock -------------------------------------------------------------------------------- */

/*
 * A block of `order` off the lists, or INDEX_NONE. Its first entry is no head any more, so that nobody merges with it; the caller makes it
 * one again, lock held or not. Takes `free` down, ledger not. The next two likewise.
 */
uint32_t buddy_take(struct zone *z, unsigned order, enum migratetype type);
/* The block at exactly `index`, if it is free. */
bool buddy_take_at(struct zone *z, uint32_t index, unsigned order);
/* Up to `want` frames as blocks of any order, small ones first; returns the blocks. `to` has room for `want`. */
struct block {
  uint32_t index;
  uint32_t order;
};
unsigned buddy_take_many(struct zone *z, enum migratetype type, struct block *to, unsigned want);
/* Put a block back and merge it. Its head's entry need not be valid; its tails must be no heads. Takes `free` up, ledger not. */
void buddy_give(struct zone *z, uint32_t index, unsigned order);
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

/* --- per-CPU lists (percpu.c) --------------------------------------------------------------------------------------------------- */

/* Refill an empty list from this CPU's node, as far as the low watermark; false if there is nothing. */
bool percpu_refill(struct percpu *pc, unsigned number);
/* Give the newest `count` of a list back to the buddy. */
void percpu_drain(struct percpu *pc, struct percpu_list *list, unsigned count);
/* A list that is full has room afterwards, or is not used any more (`high` is 0). */
void percpu_make_room(struct percpu *pc, struct percpu_list *list);
void percpu_drain_all(struct percpu *pc);
/* Use the lists, or empty them as they come into sight and use them no more. */
void percpu_set_enabled(bool on);
/* Frames of [start, end) in all CPUs' lists: a glimpse. */
uint64_t percpu_cached(pfn_t start, pfn_t end);
void percpu_reset(void);

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
