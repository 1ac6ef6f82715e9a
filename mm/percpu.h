/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_PERCPU_H
#define MM_PERCPU_H

/* What each CPU has to itself (percpu.c): lists of blocks and its part of the ledger. Interrupts masked. */

#include "mm/frame_word.h"
#include "mm/port.h"

#define PERCPU_TYPES 3u /* UNMOVABLE, MOVABLE, RECLAIMABLE */
#define PERCPU_ROOM 128u
#define PERCPU_BATCH 64u       /* the most that moves at once */
#define PERCPU_BATCH_FIRST 8u  /* the first batch of single frames; of pageblocks it is a pair */
#define PERCPU_BLOCKS_HIGH 32u /* pageblocks a list holds before it has grown */

#define PERCPU_RUN_ORDER 6u /* PERCPU_BATCH frames put by as one block */
#define PERCPU_RUNS_HIGH 8u /* a pageblock's worth of them */

/* A stack of blocks in state CACHED with FRAME_F_PERCPU: single frames, runs of them, or whole pageblocks. */
struct percpu_list {
  uint32_t count;
  uint32_t high;  /* full at this; 0: never used, every request takes the slow way */
  uint16_t batch; /* of single frames: of the next refill; of pageblocks: moved last */
  bool refilled;  /* pageblocks were moved last because the list was empty, not because it was full */
  uint8_t order;  /* of its blocks: 0, PERCPU_RUN_ORDER or PAGEBLOCK_ORDER */
  uint64_t word;  /* of their entries */
  pfn_t frames[PERCPU_ROOM];
};

/* Numbers of a CPU's lists: of single frames by type, of pageblocks; the fourth of each, of no type, stays empty; of movable runs. */
#define PERCPU_BLOCKS 4u
#define PERCPU_RUNS 8u
#define PERCPU_LISTS 9u

/*
 * Only its own CPU writes it, but for `high` (percpu_set_enabled) and `drain_wanted`; others may glimpse. The ledger has a counter per
 * owner and state, modulo 2^32: only the sum over CPUs means anything. Lists of no type are there so that flags need no check before a list
 * is looked at. All that lies in the lists is of this CPU's node.
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

#endif
