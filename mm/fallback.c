/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where memory comes from when a migrate type's own lists are empty (Linux: __rmqueue_fallback, steal_suitable_fallback).
 *
 * The aim is to keep unmovable blocks together, since one of them spoils a whole 2 MiB for good. So, in this order: a wholly free
 * pageblock of another type changes its type; memory never touched is opened; the pageblock with the other type's largest free block is
 * taken over, free blocks at once and, if at least half of it is free, what its owners give back later as well. Only a movable request
 * for a small block takes the other type's smallest block and leaves the pageblock alone: movable memory can be compacted away later.
 *
 * All under the zone's lock. HIGHATOMIC and ISOLATE are never taken from.
 */
#include "mm/zone.h"

/* Smaller blocks are not worth a pageblock's type when the request is movable. */
#define STEAL_ORDER (PAGEBLOCK_ORDER / 2)

static const uint8_t donors[PERCPU_TYPES][2] = {
    [MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
    [MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
    [MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

static bool is_unopened(const struct zone *z, uint32_t pb) {
  return pb << PAGEBLOCK_ORDER >= z->start && pb << PAGEBLOCK_ORDER < z->end && pageblock_kind(pb) == PAGEBLOCK_UNOPENED;
}

/* Open one pageblock, or both of a chunk: a block that is given back as if it came from somebody. */
static void open_pageblocks(struct zone *z, uint32_t first, unsigned count) {
  for (uint32_t i = first; i < first + count; i++) {
    word_store(frame_at(i << PAGEBLOCK_ORDER), 0);
    pageblock_set(i, PAGEBLOCK_WHOLE, pageblock_type(i));
    pageblock_set_free(i, 0);
  }
  z->unopened -= count << PAGEBLOCK_ORDER;
  z->free -= count << PAGEBLOCK_ORDER;
  buddy_give(z, first << PAGEBLOCK_ORDER, count == 2 ? MAX_ORDER : PAGEBLOCK_ORDER);
}

/* The pageblock with the other one of its 4 MiB chunk, if that is unopened too and of the same type; else alone. */
static void open_chunk(struct zone *z, uint32_t pb) {
  if (is_unopened(z, pb ^ 1) && pageblock_type(pb) == pageblock_type(pb ^ 1))
    open_pageblocks(z, pb & ~1u, 2);
  else
    open_pageblocks(z, pb, 1);
}

void fallback_open_at(struct zone *z, uint32_t index) {
  if (is_unopened(z, pageblock_of(index)))
    open_chunk(z, pageblock_of(index));
}

/* Open the lowest unopened chunk. False if there is none. */
static bool open_next(struct zone *z) {
  if (z->unopened == 0)
    return false;
  while (!is_unopened(z, z->open_cursor))
    z->open_cursor++;
  open_chunk(z, z->open_cursor);
  return true;
}

static bool find_whole(struct zone *z, unsigned order, enum migratetype type) {
  unsigned least = order > PAGEBLOCK_ORDER ? order : PAGEBLOCK_ORDER;
  return buddy_convert(z, least, (enum migratetype)donors[type][0], type) ||
         buddy_convert(z, least, (enum migratetype)donors[type][1], type);
}

/* The type whose lists now hold what was asked for. */
static enum migratetype steal_fragment(struct zone *z, unsigned order, enum migratetype type, enum migratetype from) {
  unsigned largest = order + bits_fls(z->avail[from] >> order);
  uint32_t pb = pageblock_of(z->list[from][largest].head);
  if (type == MIGRATE_MOVABLE && largest < STEAL_ORDER)
    return from;
  if (buddy_move_pageblock(z, pb, type) >= PAGEBLOCK_FRAMES / 2)
    pageblock_set(pb, pageblock_kind(pb), type);
  return type;
}

enum migratetype fallback_find(struct zone *z, unsigned order, enum migratetype type) {
  if (type >= PERCPU_TYPES)
    return MIGRATE_TYPES;
  do {
    if (z->avail[type] >> order != 0 || find_whole(z, order, type))
      return type;
  } while (open_next(z)); /* what it opens is movable, and may be one pageblock: too small for the largest order */
  for (unsigned i = 0; i < ARRAY_SIZE(donors[type]); i++) {
    if (z->avail[donors[type][i]] >> order != 0)
      return steal_fragment(z, order, type, (enum migratetype)donors[type][i]);
  }
  if (isolate_give_way(z))
    return fallback_find(z, order, type); /* at most once per pageblock set aside */
  return MIGRATE_TYPES;
}
