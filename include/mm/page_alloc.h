/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_PAGE_ALLOC_H
#define MM_PAGE_ALLOC_H

/*
 * The physical allocator: a buddy over zones, with migrate types per 2 MiB pageblock and per-CPU lists of single frames in front.
 *
 * Lock order within the core: per-CPU list (interrupts masked on that CPU) -> zone lock. Callers may hold any lock of their own
 * above these. All functions may be called with interrupts on or masked, from any CPU.
 */

#include "core/atomic.h"
#include "core/err.h"
#include "core/types.h"
#include "mm/frame.h"

#define MAX_ORDER 10u /* largest block: 2^10 frames, 4 MiB */
#define PAGEBLOCK_ORDER 9u
#define PAGEBLOCK_FRAMES ((uint64_t)1 << PAGEBLOCK_ORDER)
#define NODES_MAX 8u /* NUMA nodes */

enum migratetype {
  MIGRATE_UNMOVABLE = 0,
  MIGRATE_MOVABLE,
  MIGRATE_RECLAIMABLE,
  MIGRATE_HIGHATOMIC,
  MIGRATE_ISOLATE,
  MIGRATE_TYPES
};

/* What a request is for and how far the allocator may go for it. */
typedef uint32_t alloc_flags_t;
#define ALLOC_UNMOVABLE 0x00u
#define ALLOC_MOVABLE 0x01u
#define ALLOC_RECLAIMABLE 0x02u
#define ALLOC_TYPE_MASK 0x03u
#define ALLOC_ATOMIC 0x04u      /* may use the whole reserve; must not wait for anything */
#define ALLOC_HIGH 0x08u        /* may use half of the reserve: what it does frees memory soon */
#define ALLOC_MAY_COMPACT 0x10u /* the caller can stand blocks being moved, and page_alloc_ops.relax: it holds no lock at all */
#define ALLOC_MAY_RECLAIM 0x20u /* memory may be reclaimed: it holds no lock that a shrinker (so, a slab) or page_alloc_ops.reclaim takes */
#define ALLOC_ZERO 0x40u        /* frames come zeroed */
#define ALLOC_RETURN_CORE 0x80u /* hand it out in state FRAME_CORE, owner OWNER_CORE, in one step */

/* A run of RAM [start, end) in frames. */
struct mem_range {
  pfn_t start, end;
};

/*
 * Set the core up over `ram` (sorted, disjoint) less `reserved` (any order, may overlap RAM and each other, partly or not at all). `table`
 * is frame_table_bytes() of memory, frame-aligned, in the home's linear map (port_ptr_frame() works on it), itself among the reserved,
 * contents arbitrary: only entries in use are ever touched. From 512 MiB of RAM on it must lie in one of the ranges, because entries of its
 * own frames are put to other use. Costs time in proportion to the number of ranges (and eight bytes per 2 MiB), not of frames. Before any
 * other call, on one CPU; a second call starts anew. ERR_INVAL on unsorted, overlapping or empty RAM or a bad `table`, ERR_NOSPC if there
 * are more ranges than the core holds or RAM spans more than 2^32 - 1024 frames.
 */
#define RAM_RANGES_MAX 32u
#define RESERVED_RANGES_MAX 64u
MUST_CHECK err_t page_alloc_init(const struct mem_range *ram, unsigned ram_count, const struct mem_range *reserved, unsigned reserved_count,
                                 void *table);
/*
 * Bytes the frame table needs for these ranges, all of the core's metadata included: 32 per frame, from 512 MiB on exactly. 0 if
 * page_alloc_init() would refuse them.
 */
uint64_t frame_table_bytes(const struct mem_range *ram, unsigned ram_count);

/*
 * NUMA. page_set_node(): frames of [start, end) belong to `node`, those never named to node 0; before page_alloc_init(), which uses it up.
 * ERR_INVAL on an empty range or a node of NODES_MAX or more, ERR_NOSPC after RAM_RANGES_MAX ranges. A 4 MiB chunk that two nodes share
 * counts as the lower one's. page_set_cpu_node(): `cpu` prefers the memory of `node`, then the nearest; after page_alloc_init(), before
 * that CPU allocates (CHECK: its lists are empty). page_set_distance(): as ACPI's SLIT and the device tree's distance-map have it, 10 is a
 * node itself; unset pairs are 20 apart. After page_alloc_init(), before other CPUs allocate. Zones at the same distance: in order of
 * address.
 */
MUST_CHECK err_t page_set_node(pfn_t start, pfn_t end, unsigned node);
MUST_CHECK err_t page_set_cpu_node(unsigned cpu, unsigned node);
MUST_CHECK err_t page_set_distance(unsigned from, unsigned to, unsigned distance);
/* What is so: the node of a frame within the span of RAM, of a CPU, how far two nodes are apart (each less than NODES_MAX). CHECKs. */
unsigned page_node(pfn_t f);
unsigned page_cpu_node(unsigned cpu);
unsigned page_distance(unsigned from, unsigned to);

/*
 * A naturally aligned block of 2^order frames, order 0..MAX_ORDER, in state FRAME_CACHED (to be claimed by frame_set_state) or, with
 * ALLOC_RETURN_CORE, FRAME_CORE. refs, private, rmap and pins are 0. Of the calling CPU's node if it can be. ERR_NOMEM when no zone has one
 * above its min watermark (ALLOC_HIGH: half of it; ALLOC_ATOMIC: none) after all that the flags allow has been tried; ERR_INVAL on a bad
 * order or flag. On error nothing changed.
 */
MUST_CHECK err_t page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);

/*
 * page_alloc() followed by frame_set_state(FRAME_OWNED, owner, rmap), in one step and half the instructions: the fault path. Zeroing, if
 * not asked for by ALLOC_ZERO, is the caller's, before a descriptor maps the frame. Errors as page_alloc(); ERR_INVAL also for
 * ALLOC_RETURN_CORE.
 */
MUST_CHECK err_t page_alloc_owned(unsigned order, alloc_flags_t flags, owner_t owner, uint64_t rmap, pfn_t *out);

/*
 * page_alloc_owned() for a caller that would zero (and clean) the block itself: `*zeroed` says that it comes from the zeroed pool.
 * Otherwise its contents are what the last owner left. ALLOC_ZERO is ignored.
 */
MUST_CHECK err_t page_alloc_owned_zeroed(unsigned order, alloc_flags_t flags, owner_t owner, uint64_t rmap, pfn_t *out, bool *zeroed);

/*
 * Give a block back, of the order it was allocated (or split to), in any state from which docs/frame-states.md allows it, not pinned; a
 * double free, a wrong order or another state trips a CHECK. Cannot fail.
 */
void page_free(pfn_t f, unsigned order);

/*
 * page_free() of `count` single frames, what a range that is unmapped leaves behind. The longer their ascending runs of neighbours, the
 * cheaper: a run costs one look at state, ledger and lock. This CPU's lists are filled up, the rest goes to the buddy as blocks.
 */
void page_free_bulk(unsigned count, const pfn_t *frames);

/*
 * The block of 2^order frames at exactly `f`, if it is wholly free. ERR_BUSY otherwise, ERR_RANGE outside RAM, ERR_NOMEM as
 * page_alloc(), ERR_INVAL if not aligned. A frame in another CPU's list counts as in use.
 */
MUST_CHECK err_t page_alloc_at(pfn_t f, unsigned order, alloc_flags_t flags);

/* `count` order-0 frames into `out`; all or nothing. */
MUST_CHECK err_t page_alloc_bulk(unsigned count, alloc_flags_t flags, pfn_t *out);

/* Return every per-CPU list of this CPU to the buddy. */
void page_drain_local(void);
/*
 * Ask the other CPUs to do so (port_kick_others()) and go on: true if one of them had something. Each drains when it passes
 * page_drain_poll(), which its home calls where that costs little (the interrupt of the kick, when idle), or in a slow path of its own.
 */
bool page_drain_others(void);
void page_drain_poll(void);

/*
 * What a home adds to the slow path; NULL where it has nothing. Called with no lock of the core held. wake_background: memory runs low
 * (page_reclaim_step()), or the zeroed pool is half empty; from any context, the caller's locks held, on every request that meets the low
 * watermark: it must be quick. reclaim: give back about so many frames, return how many it were; only for a request with ALLOC_MAY_RECLAIM
 * that finds nothing, after the shrinkers (mm/shrinker.h), which alone are asked ahead of need. relax: between two pieces of direct
 * compaction or reclaim, only for ALLOC_MAY_COMPACT: a home whose interrupts are masked looks at them here.
 */
struct page_alloc_ops {
  void (*wake_background)(void);
  uint64_t (*reclaim)(uint64_t frames);
  void (*relax)(void);
};
/* After page_alloc_init(), which forgets it; on one CPU. */
void page_set_alloc_ops(const struct page_alloc_ops *ops);

/*
 * What can be done ahead, in bounded steps (some 20,000 instructions) that a home's scheduler calls; no lock may be held.
 * page_reclaim_step(): reclaim up to the high watermark, let the boost of the watermarks fade: low-priority work when wake_background asks
 * for it. page_background_step(): the same, then fill the zeroed pool: for a CPU that idles, while page_background_is_due(). ERR_AGAIN
 * while there is more; ERR_OK when there is nothing to do; ERR_NOMEM: there is, but not now: ask again in a while; ERR_BUSY: another CPU is
 * at it.
 */
MUST_CHECK err_t page_reclaim_step(void);
MUST_CHECK err_t page_background_step(void);
extern uint32_t page_background_due; /* the core's */
static inline bool page_background_is_due(void) {
  return atomic_load_relaxed(&page_background_due) != 0;
}
/* Something may have become possible that was not: make it due. */
static inline void page_background_hint(void) {
  atomic_store_relaxed(&page_background_due, 1u);
}

/*
 * The zeroed pool, for movable requests; it is off (0) after page_alloc_init(). page_zero_pool_limit(): keep at most so many frames, half
 * of them as whole pageblocks as far as these divide it; what is above goes back at once. page_zero_pool_step(): zero some more
 * (port_cleanse_frames()); ERR_AGAIN: done, there may be more to do; ERR_OK: it is full; ERR_NOMEM: nothing free above the high watermark;
 * ERR_BUSY: another CPU is at it.
 */
void page_zero_pool_limit(uint64_t frames);
MUST_CHECK err_t page_zero_pool_step(void);
uint64_t page_zero_pool_frames(void);
struct zero_pool_info {
  uint64_t limit;                  /* frames */
  uint64_t frames, pageblocks;     /* what it holds: single ones, and blocks of PAGEBLOCK_ORDER */
  uint64_t filled, taken, dropped; /* frames that ever went in; out by requests; out since memory was short */
};
void page_zero_pool_read(struct zero_pool_info *out); /* a glimpse */

/*
 * Fill frames when they are freed and look at them when they are handed out (CHECK, with frame and offset). At any time; frames
 * freed before are not looked at. Per-CPU lists are not used meanwhile.
 */
void page_poison_enable(bool on);
/* The pattern by 32 bits; 0 while it is off. */
uint32_t page_poison_value(void);

/* Frames free right now, all zones, per-CPU lists and zeroed pool included. */
uint64_t page_free_frames(void);
/* Those of them that requests without ALLOC_HIGH and ALLOC_ATOMIC may have: above the min watermarks, per-CPU lists left out. A glimpse. */
uint64_t page_spare_frames(void);

/*
 * Type of the pageblock of a managed frame, and its change (free blocks in it change lists with it; CHECK: `f` in RAM and opened or
 * free).
 */
enum migratetype page_block_type(pfn_t f);
void page_set_block_type(pfn_t f, enum migratetype type);

/* Frames of the pageblock of `f` that lie in the buddy, 0..512: a glimpse. `f` within the span of RAM (CHECK). */
unsigned page_block_free(pfn_t f);

/* What zone `zone` looks like: free lists and watermarks. False if there is no such zone. */
struct buddyinfo {
  const char *zone_name;
  unsigned node;
  pfn_t start, end;                             /* span, chunk-aligned */
  uint64_t managed_frames;                      /* RAM less reserved */
  uint64_t free_frames;                         /* in the buddy, unopened ones included */
  uint64_t unopened_frames;                     /* free frames in chunks never opened */
  uint64_t cached_frames;                       /* in per-CPU lists */
  uint64_t zeroed_frames;                       /* in the zeroed pool */
  uint64_t reported_frames;                     /* of free_frames: reported (mm/page_reporting.h); of type MOVABLE below */
  uint64_t min_frames, low_frames, high_frames; /* watermarks */
  uint64_t free_blocks[MAX_ORDER + 1];
  uint64_t free_blocks_of_type[MIGRATE_TYPES][MAX_ORDER + 1];
};
bool page_buddyinfo(unsigned zone, struct buddyinfo *out);

/*
 * Pageblocks of each type, those with nothing of ours in them left out; and what was never opened and is on no list, as the blocks it will
 * be: of PAGEBLOCK_ORDER, and pairs of MAX_ORDER. A glimpse. page_typeinfo_step() adds what the next `pageblocks` (even) of the zone, from
 * `*at` on, are to `*sum`, about ten instructions each; `*at` and `*sum` begin at 0. True while there is more.
 */
struct pagetypeinfo {
  uint64_t pageblocks[MIGRATE_TYPES];
  uint64_t unopened_blocks[MAX_ORDER - PAGEBLOCK_ORDER + 1];
};
bool page_typeinfo(unsigned zone, struct pagetypeinfo *out);
bool page_typeinfo_step(unsigned zone, uint32_t *at, unsigned pageblocks, struct pagetypeinfo *sum);
const char *page_type_name(enum migratetype type);

/* What has happened in a zone since page_alloc_init(). */
enum zone_event {
  ZONE_TAKEN,          /* frames that left the buddy */
  ZONE_GIVEN,          /* frames that came back */
  ZONE_FALLBACKS,      /* requests served from another type's lists */
  ZONE_STEALS,         /* pageblocks that changed type for a request */
  ZONE_COMPACT_STALLS, /* requests that had blocks moved; this and the next are counted without the zone's lock, atomically */
  ZONE_RECLAIM_STALLS, /* requests that had memory reclaimed; counted in the first zone */
  ZONE_POOL_FILLED,    /* frames zeroed into the pool */
  ZONE_POOL_TAKEN,     /* frames of it that requests got */
  ZONE_POOL_DROPPED,   /* frames of it that went back */
  ZONE_EVENTS
};
struct zoneinfo {
  unsigned node;
  uint64_t min, low, high, boost, highatomic; /* frames */
  uint64_t events[ZONE_EVENTS];
};
bool page_zoneinfo(unsigned zone, struct zoneinfo *out);

/*
 * Why would a request of `order` fail (Linux: extfrag, /sys/kernel/debug/extfrag)? In thousandths. Fragmentation index: towards 0 for lack
 * of memory, towards 1000 for fragmentation, -1000 if it would not fail. Unusable free space index: the share of free memory that is in
 * smaller blocks, 0..1000. Of free blocks by order, those never opened included; or of a zone. `zone` and `order` in range (CHECK).
 */
int extfrag_index(const uint64_t free_blocks[MAX_ORDER + 1], unsigned order);
int extfrag_unusable(const uint64_t free_blocks[MAX_ORDER + 1], unsigned order);
int page_fragmentation_index(unsigned zone, unsigned order);
int page_unusable_index(unsigned zone, unsigned order);

#endif
