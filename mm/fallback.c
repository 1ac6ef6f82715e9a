/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where memory comes from when a migrate type's own lists are empty (Linux: __rmqueue_fallback, steal_suitable_fallback).
 *
 * The aim is to keep unmovable blocks together, since one of them spoils a whole 2 MiB for good. So, in this order: a wholly free pageblock
 * of another type changes its type, at last one whose memory was reported and is to be backed anew; memory never touched is opened; the
 * pageblock with most free, as far as a short look at the other type's largest blocks tells, is taken over: what is free at once, what its
 * owners give back later as well, so that the next request of the kind goes there too. A movable request takes nothing over: it has the
 * other type's smallest block, since movable memory can be compacted away later. A pageblock that becomes wholly free is movable again
 * (buddy.c).
 *
 * All under the zone's lock. HIGHATOMIC and ISOLATE are never taken from.
 */
#include "mm/zone.h"

/* Candidates that are looked at before a pageblock is taken over. */
#define STEAL_AMONG 32u

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
    frame_forget(frame_at(i << PAGEBLOCK_ORDER));
    pageblock_set(i, PAGEBLOCK_WHOLE, pageblock_type(i));
    pageblock_set_free(i, 0);
  }
  z->unopened -= count << PAGEBLOCK_ORDER;
  z->free -= count << PAGEBLOCK_ORDER;
  z->events[ZONE_GIVEN] -= count << PAGEBLOCK_ORDER; /* it never was away */
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

/* One of a pair: its head is nobody's yet, and nothing of it is in the buddy. */
static ALWAYS_INLINE void open_taken(struct pageblock *pb, struct frame *head, unsigned state) {
  word_store(head, 0);
  frame_forget(head);
  atomic_store_relaxed(&pb->free_frames, 0);
  atomic_store_release(&pb->state, (uint8_t)state);
}

uint32_t fallback_take_unopened(struct zone *z, enum migratetype type) {
  if (z->unopened == 0)
    return INDEX_NONE;
  uint32_t pb = z->open_cursor;
  while (pageblock_kind(pb) != PAGEBLOCK_UNOPENED)
    pb++;
  struct pageblock *pair = &pageblocks[pb];
  struct frame *head = frame_at(pb << PAGEBLOCK_ORDER);
  unsigned node = PAGEBLOCK_STATE(PAGEBLOCK_NONE, z->node), unopened = node | PAGEBLOCK_UNOPENED << 3 | MIGRATE_MOVABLE;
  z->open_cursor = pb;
  if (pb & 1 || pair[0].state != unopened || pair[1].state != unopened)
    return INDEX_NONE;
  open_taken(&pair[0], head, node | PAGEBLOCK_WHOLE << 3 | type);
  open_taken(&pair[1], head + PAGEBLOCK_FRAMES, node | PAGEBLOCK_WHOLE << 3 | type);
  z->unopened -= CHUNK_FRAMES;
  z->open_cursor = pb + 2;
  return pb << PAGEBLOCK_ORDER;
}

static bool find_whole(struct zone *z, unsigned order, enum migratetype type) {
  unsigned least = order > PAGEBLOCK_ORDER ? order : PAGEBLOCK_ORDER;
  return buddy_convert(z, least, (enum migratetype)donors[type][0], type) ||
         buddy_convert(z, least, (enum migratetype)donors[type][1], type) || buddy_convert(z, least, LIST_REPORTED, type);
}

/* Sharing pageblocks is what fragments memory: keep more free for a while (Linux: boost_watermark). */
static void boost(struct zone *z) {
  uint32_t most = z->high + z->high / 2;
  if (PAGEBLOCK_FRAMES * 4 > z->managed)
    return;
  if (most < PAGEBLOCK_FRAMES)
    most = PAGEBLOCK_FRAMES;
  z->boost = z->boost + PAGEBLOCK_FRAMES < most ? z->boost + (uint32_t)PAGEBLOCK_FRAMES : most;
}

/* Among the first blocks of the lists, large ones first, the one whose pageblock has most free: least has to be shared. */
static uint32_t roomiest(const struct zone *z, unsigned order, enum migratetype from) {
  uint32_t best = INDEX_NONE;
  unsigned seen = 0;
  for (unsigned o = PAGEBLOCK_ORDER; o-- > order && seen < STEAL_AMONG;) {
    for (uint32_t i = z->list[from][o].head; i != INDEX_NONE && seen < STEAL_AMONG; i = frame_at(i)->next, seen++) {
      if (best == INDEX_NONE || pageblock_free(pageblock_of(i)) > pageblock_free(pageblock_of(best)))
        best = i;
    }
  }
  return best;
}

/* The type whose lists now hold what was asked for. */
static enum migratetype steal_fragment(struct zone *z, unsigned order, enum migratetype type, enum migratetype from) {
  z->events[ZONE_FALLBACKS]++;
  if (type == MIGRATE_MOVABLE)
    return from;
  uint32_t pb = pageblock_of(roomiest(z, order, from));
  buddy_move_pageblock(z, pb, type);
  pageblock_set(pb, pageblock_kind(pb), type);
  z->events[ZONE_STEALS]++;
  boost(z);
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
  if (isolate_give_way(z, order))
    return fallback_find(z, order, type); /* what came back is large enough: once more will do */
  return MIGRATE_TYPES;
}
