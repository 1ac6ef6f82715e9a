/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_PAGE_ALLOC_H
#define MM_PAGE_ALLOC_H

/*
 * The physical allocator: a buddy over zones, with migrate types per 2 MiB pageblock and per-CPU lists of single frames in front.
 *
 * Lock order within the core: per-CPU list (interrupts masked on that CPU) -> zone lock. Callers may hold any lock of their own
 * above these. All functions may be called with interrupts on or masked, from any CPU.
 */

#include "core/err.h"
#include "core/types.h"
#include "mm/frame.h"

#define MAX_ORDER 10u /* largest block: 2^10 frames, 4 MiB */
#define PAGEBLOCK_ORDER 9u
#define PAGEBLOCK_FRAMES ((uint64_t)1 << PAGEBLOCK_ORDER)

enum migratetype {
  MIGRATE_UNMOVABLE = 0,
  MIGRATE_MOVABLE,
  MIGRATE_RECLAIMABLE,
  MIGRATE_HIGHATOMIC,
  MIGRATE_ISOLATE,
  MIGRATE_TYPES
};

typedef uint32_t alloc_flags_t;
#define ALLOC_UNMOVABLE 0x00u
#define ALLOC_MOVABLE 0x01u
#define ALLOC_RECLAIMABLE 0x02u
#define ALLOC_TYPE_MASK 0x03u
#define ALLOC_ZERO 0x04u        /* frames come zeroed */
#define ALLOC_ATOMIC 0x08u      /* may dip below the min watermark */
#define ALLOC_RETURN_CORE 0x10u /* hand it out in state FRAME_CORE, owner OWNER_CORE, in one step */

/* A run of RAM [start, end) in frames. */
struct mem_range {
  pfn_t start, end;
};

/*
 * Set the core up over `ram` (sorted, disjoint) less `reserved` (any order, may overlap RAM and each other, partly or not at all).
 * `table` is frame_table_bytes() of memory, frame-aligned, in the home's linear map (port_ptr_frame() works on it), itself among the
 * reserved, contents arbitrary: only entries in use are ever touched. From 512 MiB of RAM on it must lie in one of the ranges, because
 * entries of its own frames are put to other use. Costs time in proportion to the number of ranges (and eight bytes per 2 MiB), not of
 * frames. Before any other call, on one CPU; a second call starts anew. ERR_INVAL on unsorted, overlapping or empty RAM or a bad `table`, ERR_NOSPC if there are more ranges than the core holds or RAM spans more than 2^32 - 1024 frames.
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
 * A naturally aligned block of 2^order frames, order 0..MAX_ORDER, in state FRAME_CACHED (to be claimed by
 * frame_set_state) or, with ALLOC_RETURN_CORE, FRAME_CORE. refs, private, rmap and pins are 0. ERR_NOMEM when no zone has one above its min
 * watermark, which is the home's own reserve (ALLOC_ATOMIC goes below); ERR_INVAL on a bad order or flag. On error nothing changed.
 */
MUST_CHECK err_t page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);

/*
 * page_alloc() followed by frame_set_state(FRAME_OWNED, owner, rmap), in one step and half the instructions: the fault path. Zeroing, if
 * not asked for by ALLOC_ZERO, is the caller's, before a descriptor maps the frame. Errors as page_alloc(); ERR_INVAL also for
 * ALLOC_RETURN_CORE.
 */
MUST_CHECK err_t page_alloc_owned(unsigned order, alloc_flags_t flags, owner_t owner, uint64_t rmap, pfn_t *out);

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

/* Frames free right now, all zones, per-CPU lists included. */
uint64_t page_free_frames(void);

/*
 * Type of the pageblock of a managed frame, and its change (free blocks in it change lists with it; CHECK: `f` in RAM and opened or
 * free).
 */
enum migratetype page_block_type(pfn_t f);
void page_set_block_type(pfn_t f, enum migratetype type);

/* Frames of the pageblock of `f` that lie in the buddy, 0..512: a glimpse. `f` within the span of RAM (CHECK). */
unsigned page_block_free(pfn_t f);

/* What zone `zone` looks like: buddyinfo, pagetypeinfo and watermarks. False if there is no such zone. */
struct buddyinfo {
  const char *zone_name;
  pfn_t start, end;                             /* span, chunk-aligned */
  uint64_t managed_frames;                      /* RAM less reserved */
  uint64_t free_frames;                         /* in the buddy, unopened ones included */
  uint64_t unopened_frames;                     /* free frames in chunks never opened */
  uint64_t cached_frames;                       /* in per-CPU lists */
  uint64_t min_frames, low_frames, high_frames; /* watermarks */
  uint64_t free_blocks[MAX_ORDER + 1];
  uint64_t free_blocks_of_type[MIGRATE_TYPES][MAX_ORDER + 1];
};
bool page_buddyinfo(unsigned zone, struct buddyinfo *out);

#endif
