/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_PAGEBLOCK_PRIV_H
#define MM_PAGEBLOCK_PRIV_H

/*
 * Pageblocks as the files of the allocator see them (pageblock.c).
 *
 * A pageblock (2 MiB) has eight bytes (struct pageblock); its state is one of them:
 *
 *     7   5 4  3 2   0
 *    +-----+----+-----+    kind: how much of its part of the frame table has been written
 *    |node |kind| type|    type: enum migratetype
 *    +-----+----+-----+    node: of its zone
 */

#include "mm/frame_word.h"
#include "mm/port.h"

/* pageblock state without the type */
#define PAGEBLOCK_STATE(kind_, node_) ((uint8_t)((unsigned)(kind_) << 3 | (unsigned)(node_) << 5))

static inline unsigned pageblock_state_node(uint8_t state) {
  return state >> 5;
}

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

extern struct pageblock *pageblocks;      /* one per pageblock of the table */
extern struct pageblock *pageblocks_bias; /* the same, for frame numbers: pageblocks_bias[pfn >> 9] */

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

struct zone;

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

#endif
