/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_COMPACT_H
#define MM_COMPACT_H

/*
 * Compaction: free blocks of 2 MiB out of scattered free frames, by moving what lies between them (include/mm/migrate.h).
 *
 * A run works on one zone, in steps that its caller paces: the core starts no threads. It keeps its partial progress: whatever has been
 * moved stays moved when the caller stops. Two policies decide what goes where:
 *
 *   compact_occupancy  knows how many frames of every pageblock are in use, and empties the cheapest pageblocks into the fullest
 *   compact_classic    the pair of scanners that Linux has: a migrate scanner from below and a free scanner from above, till they meet
 */

#include "core/err.h"
#include "core/types.h"
#include "mm/migrate.h"
#include "mm/page_alloc.h"

enum compact_mode {
  COMPACT_SYNC,      /* until nothing more can be gained; retries what was busy */
  COMPACT_ASYNC,     /* gives up on what is busy at once; stops when `order` is to be had */
  COMPACT_PROACTIVE, /* until the zone's fragmentation score is at most `target_score` */
};

struct compact_policy;
extern const struct compact_policy compact_classic, compact_occupancy;
/* By name ("classic", "occupancy"); NULL if there is none. */
const struct compact_policy *compact_policy_by_name(const char *name);
const char *compact_policy_name(const struct compact_policy *policy);

#define COMPACT_ANY_OWNER ((owner_t)~0u)

struct compact_request {
  const struct compact_policy *policy; /* NULL: compact_occupancy */
  enum compact_mode mode;
  unsigned zone;         /* number of the zone, as for page_buddyinfo() */
  unsigned order;        /* ASYNC: what somebody waits for, 1..MAX_ORDER; others: PAGEBLOCK_ORDER */
  owner_t owner;         /* move only this owner's blocks; COMPACT_ANY_OWNER for all */
  unsigned target_score; /* PROACTIVE: 0..100, see compact_score() */
};

/* Counts since compact_begin(). */
struct compact_report {
  uint64_t moved_frames, moved_blocks;
  uint64_t scanned_frames;
  uint64_t pageblocks_before, pageblocks_freed; /* wholly free 2 MiB blocks, and those won since */
  uint64_t failed_blocks[MOVE_RESULTS];         /* by reason; [MOVE_DONE] stays 0 */
};

/* What the occupancy policy works with (mm/compact_plan.c, mm/compact_occupancy.c). Frames and prices are by order of block or hole. */
struct compact_plan {
  uint64_t used[PAGEBLOCK_ORDER + 1], holes[PAGEBLOCK_ORDER + 1], room[PAGEBLOCK_ORDER + 1];
  uint32_t price[PAGEBLOCK_ORDER + 1], best_price[PAGEBLOCK_ORDER + 1];
  uint64_t best_cost;                 /* moves */
  int64_t bound, proven;              /* what no plan can cost less than: at these prices (in their unit), and the best so far (moves) */
  uint32_t step[PAGEBLOCK_ORDER + 1]; /* by which a price changes */
  int8_t way[PAGEBLOCK_ORDER + 1];    /* in which it last did */
  int64_t left_over[PAGEBLOCK_ORDER]; /* frames in holes of at least the order that nothing of the plan needs */
  uint32_t sort_from;                 /* frame: regions before have been dealt with */
  uint32_t candidates, wanted, most;  /* pageblocks: that could be emptied, that shall be, that can be at most */
  uint32_t threshold, ties;           /* planned are those that cost less, and so many of those that cost just that */
  uint32_t bit, below;                /* of the threshold being found: the bit tried, and how many cost less with it */
  unsigned round, stage;
  bool settled;
};

/* What the classic policy works with (mm/compact_classic.c). Frames by index. */
struct compact_scanners {
  uint32_t migrate, free;
  uint32_t walk; /* where the migrate scanner goes on after a pageblock found quickly; 0: it is there */
  uint32_t fast_tries;
  bool moved_here; /* something, out of this pageblock */
};

/* The least of all pageblocks, looked for in pieces (mm/compact_occupancy.c). */
struct compact_search {
  uint32_t at, best, rank;
  bool under_way;
};

enum compact_stage {
  COMPACT_OPENING,
  COMPACT_WORKING,
  COMPACT_CLOSING,
  COMPACT_CLOSED
};

/* A region being emptied (mm/evacuate.c). */
struct compact_evacuee {
  uint32_t start, at; /* by index; `at`: how far it is */
  unsigned order;     /* up to PAGEBLOCK_ORDER */
  unsigned limit;     /* order of the largest free block that may be cut for a target */
  owner_t owner;
  bool busy, gone; /* in this round */
};

/* A run; the caller's memory, some 500 bytes. Fields are the policy's, but `report`. */
struct compact_run {
  struct compact_report report;
  struct compact_request request;
  bool active;
  enum compact_stage stage;
  err_t result;   /* of the last step, when what is left has been put back */
  uint32_t sweep; /* pageblock: how far the walk of `stage` is */
  uint8_t stale;  /* marks that it drops */
  unsigned phase, rounds, plans;
  bool refused;    /* something the plan did not foresee */
  uint32_t cursor; /* pageblock, or whatever the phase counts */
  struct compact_evacuee evacuee;
  struct compact_plan plan;
  struct compact_search search;
  struct compact_scanners scanners;
};

/*
 * Begin a run. ERR_BUSY: one is under way in that zone; ERR_INVAL: no such zone, order or score; ERR_NOENT: not suitable now (nothing to
 * win, or the classic policy defers), report all 0. After ERR_OK, compact_end() must follow.
 */
MUST_CHECK err_t compact_begin(struct compact_run *run, const struct compact_request *request);

/*
 * Go on with at most `max_moves` frames moved (a larger block counts as its frames, but one block always goes): ERR_AGAIN while there is
 * more. All other work is charged to the same budget at some 1,600 instructions a move, and goes on in the next step when it is spent: a
 * step of 24 takes at most 100,000 instructions besides what the owner's migrate_ops take, however large the zone is.
 */
MUST_CHECK err_t compact_step(struct compact_run *run, unsigned max_moves);

/* No more moves: from now on steps put back what is set aside, and answer ERR_OK when that is done. */
void compact_stop(struct compact_run *run);

/* Let the zone go; at any time, but only after the last step, or those that follow compact_stop(), at once. run->report stays. */
void compact_end(struct compact_run *run);

/* All of it in one call, for callers that may take their time (host tests, tools). */
MUST_CHECK err_t compact_zone(const struct compact_request *request, struct compact_report *out);

/*
 * How fragmented the zone's free memory is for 2 MiB: 100 * (1 - free 2 MiB blocks * 512 / free frames), 0..100; 0 if nothing is free.
 * Linux's unusable free space index at PAGEBLOCK_ORDER, in percent.
 */
unsigned compact_score(unsigned zone);

/*
 * A contiguous range by moving what lies in it (Linux: alloc_contig_range): its pageblocks are set aside (MIGRATE_ISOLATE), emptied,
 * and taken. In steps like a run; the cheapest window that has nothing unmovable is chosen, and another one if that turns out not to yield.
 */
struct contig_window {
  pfn_t at;                       /* the window being judged */
  uint32_t head, tail, ruled_out; /* pageblocks in the sum, and how many more do not move */
  uint64_t sum, best;             /* frames to move */
};

struct contig_run {
  pfn_t start;     /* the range found so far; final when contig_step() answers ERR_OK */
  uint64_t frames; /* wanted; a multiple of PAGEBLOCK_FRAMES */
  uint64_t align;
  pfn_t within_start, within_end;
  uint64_t moved_frames, moved_blocks;
  uint64_t failed_blocks[MOVE_RESULTS];
  unsigned phase, rounds;
  uint32_t cursor, culprit; /* pageblocks */
  bool stopping;
  err_t result;
  struct contig_window window;
  struct compact_evacuee evacuee;
};

/*
 * Look for `frames` (a multiple of PAGEBLOCK_FRAMES) aligned to `align_frames` (a power of two, at least PAGEBLOCK_FRAMES) inside [start,
 * end). ERR_INVAL; ERR_NOSPC if no window is free of unmovable memory. After ERR_OK, steps must follow to their end, or contig_cancel().
 */
MUST_CHECK err_t contig_begin(struct contig_run *run, uint64_t frames, uint64_t align_frames, pfn_t start, pfn_t end);
/*
 * ERR_AGAIN while there is more; ERR_OK: the range is the caller's, as blocks of MAX_ORDER or PAGEBLOCK_ORDER in state CORE; ERR_NOSPC: not
 * to be had, everything is as free as it was. `max_moves` bounds the step like compact_step()'s, however large range and zone are.
 */
MUST_CHECK err_t contig_step(struct contig_run *run, unsigned max_moves);
/* From now on steps undo what was done, and answer ERR_NOENT when all of it is. */
void contig_stop(struct contig_run *run);
/* Stop, and all those steps at once. Nothing if the run has come to its end. */
void contig_cancel(struct contig_run *run);
/*
 * Give back a range that contig_step() gave, or a part of it that begins and ends at multiples of 2^MAX_ORDER: some 300 instructions a
 * block.
 */
void contig_free(pfn_t start, uint64_t frames);

#endif
