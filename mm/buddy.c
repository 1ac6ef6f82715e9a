/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The buddy (Knuth, TAOCP 1, 2.5; Linux mm/page_alloc.c): free blocks of 2^order frames on lists by order and migrate type.
 *
 * Invariants, under the zone's lock: a free block's head has state FREE, its order and the type of the list it is on; its buddy of the same
 * order is not free, unless one of them lies in an isolated pageblock; only LIST_REPORTED is no type of pageblocks; `avail` has a bit
 * exactly for the lists that are not empty; `free` is the sum of all blocks and of the unopened frames, and each pageblock's `free_frames`
 * its part of it. A head's word is written by one store, because CPUs that free nearby read it as a possible buddy; an allocated frame
 * never looks free, whatever its owner does to it meanwhile.
 *
 * Keeps no ledger: callers move frames between FREE and CACHED as they take and give. Refuses nothing: the doors (page_alloc.c) have
 * checked.
 */
#include "mm/zone.h"

static ALWAYS_INLINE void push(struct zone *z, uint32_t index, unsigned order, unsigned type) {
  struct frame *frame = frame_at(index);
  struct free_list *list = &z->list[type][order];
  uint32_t head = list->head;
  word_store(frame, word_make(FRAME_FREE, order, type, FRAME_F_HEAD | FRAME_F_BUDDY));
  frame->prev = INDEX_NONE;
  frame->next = head;
  list->head = index;
  list->count++;
  if (head != INDEX_NONE)
    frame_at(head)->prev = index;
  else
    z->avail[type] |= (uint16_t)(1u << order);
}

static ALWAYS_INLINE void unlink(struct zone *z, const struct frame *frame, unsigned order, unsigned type) {
  struct free_list *list = &z->list[type][order];
  uint32_t next = frame->next, prev = frame->prev;
  list->count--;
  if (next != INDEX_NONE)
    frame_at(next)->prev = prev;
  if (prev != INDEX_NONE) {
    frame_at(prev)->next = next;
    return;
  }
  list->head = next;
  if (next == INDEX_NONE)
    z->avail[type] &= (uint16_t) ~(1u << order);
}

#define PICK_AMONG 4u

/*
 * Which block of a list that is not empty: among its first few the one whose pageblock has the least free, so that full pageblocks fill up
 * and sparse ones empty.
 */
static ALWAYS_INLINE uint32_t pick(const struct zone *z, unsigned order, unsigned type) {
  uint32_t best = z->list[type][order].head, index = frame_at(best)->next;
  if (order >= PAGEBLOCK_ORDER || index == INDEX_NONE)
    return best;
  for (unsigned i = 1; i < PICK_AMONG && index != INDEX_NONE; i++) {
    if (pageblock_free(pageblock_of(index)) < pageblock_free(pageblock_of(best)))
      best = index;
    index = frame_at(index)->next;
  }
  return best;
}

/* A block of a list that is not empty, off it. */
static ALWAYS_INLINE uint32_t pop(struct zone *z, unsigned order, unsigned type) {
  uint32_t index = pick(z, order, type);
  struct frame *frame = frame_at(index);
  unlink(z, frame, order, type);
  word_store(frame, 0); /* before the lock is released: nobody may take it for a free buddy */
  return index;
}

/* Halves of a pageblock or more go to the list of their own pageblock; smaller ones stay with the type they came from. */
static void push_half(struct zone *z, uint32_t index, unsigned order, unsigned type) {
  push(z, index, order, order >= PAGEBLOCK_ORDER ? pageblock_type(pageblock_of(index)) : type);
}

/* The pageblock is about to be split below its size: its entries must say so. */
static inline void write_entries_once(uint32_t index, unsigned from, unsigned to) {
  if (from >= PAGEBLOCK_ORDER && to < PAGEBLOCK_ORDER && pageblock_kind(pageblock_of(index)) == PAGEBLOCK_WHOLE)
    pageblock_write_entries(pageblock_of(index));
}

/* Keep the first 2^to frames of a block of 2^from that is off the lists, give the rest back. */
static void expand(struct zone *z, uint32_t index, unsigned from, unsigned to, unsigned type) {
  write_entries_once(index, from, to);
  while (from > to) {
    from--;
    push_half(z, index + (1u << from), from, type);
  }
}

static inline void count_taken(struct zone *z, uint32_t frames) {
  z->free -= frames;
  z->events[ZONE_TAKEN] += frames;
}

uint32_t buddy_take(struct zone *z, unsigned order, enum migratetype type) {
  unsigned from;
  uint32_t index;
  if (z->avail[type] >> order == 0) {
    type = fallback_find(z, order, type);
    if (type == MIGRATE_TYPES)
      return INDEX_NONE;
  }
  from = order + bits_ffs(z->avail[type] >> order);
  index = pop(z, from, type);
  if (from != order)
    expand(z, index, from, order, type);
  pageblock_count_out(index, order);
  count_taken(z, 1u << order);
  return index;
}

/*
 * From another type's pageblocks one frame, and only if there is nothing else. A look for it may also bring back what compaction had set
 * aside, in blocks of any order.
 */
unsigned buddy_take_many(struct zone *z, enum migratetype type, struct block *to, unsigned want, unsigned least) {
  unsigned left = want, blocks = 0, from, order;
  while (left != 0) {
    enum migratetype source = z->avail[type] != 0 ? type : fallback_find(z, 0, type);
    if (source == MIGRATE_TYPES || (source != type && blocks != 0))
      break;
    from = bits_ffs(z->avail[source]);
    if (from < least)
      break;
    order = source == type ? bits_fls(left) : 0;
    if (order > from)
      order = from;
    if (from != order && blocks != 0) /* what lay about first; a block is cut only for itself, so that cuts stay aligned */
      break;
    uint32_t index = pop(z, from, source);
    if (from != order)
      expand(z, index, from, order, source);
    pageblock_count_out(index, order);
    to[blocks++] = (struct block){index, order};
    left -= 1u << order;
    if (source != type)
      break;
  }
  count_taken(z, want - left);
  return blocks;
}

/* A free pair of pageblocks, both of `type` now; INDEX_NONE if there is none, or a single one lies about, which goes first. */
static uint32_t take_pair(struct zone *z, enum migratetype type) {
  unsigned have = z->avail[type] >> PAGEBLOCK_ORDER; /* 1: single ones, 2: pairs */
  if (have & 1)
    return INDEX_NONE;
  if (have == 0)
    return fallback_take_unopened(z, type);
  uint32_t index = pop(z, MAX_ORDER, type), pb = pageblock_of(index);
  pageblock_set_free(pb, 0);
  pageblock_set_free(pb + 1, 0);
  if (unlikely(pageblock_type(pb + 1) != type))
    pageblock_set(pb + 1, pageblock_kind(pb + 1), type);
  return index;
}

/* Single ones first, then pairs; no pair is cut for what is left of an odd number, unless that is all. */
unsigned buddy_take_pageblocks(struct zone *z, enum migratetype type, struct block *to, unsigned want) {
  unsigned left = want, blocks = 0;
  while (left != 0) {
    uint32_t index = left >= 2 ? take_pair(z, type) : INDEX_NONE;
    if (likely(index != INDEX_NONE)) {
      count_taken(z, CHUNK_FRAMES);
      to[blocks++] = (struct block){index, MAX_ORDER};
      left -= 2;
      continue;
    }
    if (left == 1 && blocks != 0 && !(z->avail[type] >> PAGEBLOCK_ORDER & 1))
      break;
    index = buddy_take(z, PAGEBLOCK_ORDER, type);
    if (index == INDEX_NONE)
      break;
    to[blocks++] = (struct block){index, PAGEBLOCK_ORDER};
    left--;
  }
  return blocks;
}

/* Take the block of `order` at `index` out of the free block of `from` >= order that holds it, giving all else back. */
static void carve(struct zone *z, uint32_t head, unsigned from, uint32_t index, unsigned order) {
  unsigned type = word_type(word_load(frame_at(head)));
  unlink(z, frame_at(head), from, type);
  word_store(frame_at(head), 0);
  if (type == LIST_REPORTED)
    type = pageblock_type(pageblock_of(index));
  while (from > order) {
    uint32_t half;
    write_entries_once(head, from, from - 1);
    from--;
    half = head + (1u << from);
    if (index >= half) {
      push_half(z, head, from, type);
      head = half;
    } else {
      push_half(z, half, from, type);
    }
  }
}

bool buddy_take_at(struct zone *z, uint32_t index, unsigned order) {
  for (unsigned from = order; from <= MAX_ORDER; from++) {
    uint32_t head = index & ~((1u << from) - 1);
    if (entry_is_written(head) && word_is_free(word_load(frame_at(head)), from)) {
      carve(z, head, from, index, order);
      pageblock_count_out(index, order);
      count_taken(z, 1u << order);
      return true;
    }
  }
  return false;
}

/* If the buddy of this order is free: it leaves its list, and is no head any more. */
static ALWAYS_INLINE bool take_buddy(struct zone *z, struct frame *buddy, unsigned order) {
  if (!frame_is_free(buddy, order))
    return false;
  unlink(z, buddy, order, buddy->migratetype);
  word_store(buddy, 0);
  return true;
}

/* A pageblock set aside must not flow together with its neighbour, nor the neighbour with it. */
static bool may_join_pageblocks(uint32_t a, uint32_t b) {
  enum migratetype ta = pageblock_type(pageblock_of(a)), tb = pageblock_type(pageblock_of(b));
  return ta == tb || (ta != MIGRATE_ISOLATE && tb != MIGRATE_ISOLATE);
}

/* Wholly free, it is nobody's any more: it serves movable requests again, and whoever else comes first. */
static ALWAYS_INLINE void settle(uint32_t pb) {
  enum migratetype type = pageblock_type(pb);
  if (type != MIGRATE_MOVABLE && type < PERCPU_TYPES)
    pageblock_set(pb, pageblock_kind(pb), MIGRATE_MOVABLE);
  pageblock_set_free(pb, PAGEBLOCK_FRAMES);
}

/* Blocks of one or two whole pageblocks. */
static NOINLINE void give_pageblocks(struct zone *z, uint32_t index, unsigned order) {
  uint32_t buddy = index ^ (uint32_t)PAGEBLOCK_FRAMES;
  settle(pageblock_of(index));
  if (order == MAX_ORDER) {
    settle(pageblock_of(buddy));
  } else if (entry_is_written(buddy) && may_join_pageblocks(index, buddy) && take_buddy(z, frame_at(buddy), order)) {
    index &= buddy;
    order++;
  }
  push(z, index, order, pageblock_type(pageblock_of(index)));
}

/*
 * Merge the block with its free buddies, put it on its list; `frames` of it are new to the buddy. Smaller buddies share the pageblock,
 * whose entries are written, and what is given back here never looked free. `at` and `size` are bytes into the table: an add finds an
 * entry.
 */
static ALWAYS_INLINE void merge_and_push(struct zone *z, uint32_t index, unsigned order, unsigned frames) {
  uint64_t at = index * sizeof(struct frame), size = sizeof(struct frame) << order;
  for (; order < PAGEBLOCK_ORDER; order++, size <<= 1) {
    uint64_t buddy = at ^ size;
    if (!take_buddy(z, (struct frame *)((uintptr_t)frame_table + buddy), order))
      break;
    at &= buddy;
  }
  index = (uint32_t)(at / sizeof(struct frame));
  if (unlikely(order >= PAGEBLOCK_ORDER)) {
    give_pageblocks(z, index, order);
    return;
  }
  struct pageblock *block = &pageblocks[pageblock_of(index)];
  atomic_store_relaxed(&block->free_frames, (uint16_t)(block->free_frames + frames));
  push(z, index, order, block->state & 7);
}

/* The same for a single frame: half of all find their first buddy in use. */
static ALWAYS_INLINE void merge_and_push_frame(struct zone *z, uint32_t index) {
  uint32_t buddy = index ^ 1;
  if (take_buddy(z, frame_at(buddy), 0)) {
    merge_and_push(z, index & buddy, 1, 1);
    return;
  }
  struct pageblock *block = &pageblocks[pageblock_of(index)];
  atomic_store_relaxed(&block->free_frames, (uint16_t)(block->free_frames + 1));
  push(z, index, 0, block->state & 7);
}

static inline void count_given(struct zone *z, uint32_t frames) {
  z->free += frames;
  z->events[ZONE_GIVEN] += frames;
}

void buddy_give(struct zone *z, uint32_t index, unsigned order) {
  count_given(z, 1u << order);
  word_store(frame_at(index), 0);
  merge_and_push(z, index, order, 1u << order);
}

/* The free block of whole pageblocks at `index`, if it is one, has been reported. */
static bool mark_reported(struct zone *z, uint32_t index, unsigned order) {
  const struct frame *head = frame_at(index);
  if (!frame_is_free(head, order) || head->migratetype >= PERCPU_TYPES)
    return false;
  unlink(z, head, order, head->migratetype);
  push(z, index, order, LIST_REPORTED);
  return true;
}

void buddy_give_reported(struct zone *z, uint32_t index, unsigned order) {
  uint32_t buddy = index ^ (uint32_t)PAGEBLOCK_FRAMES;
  bool pair = order == PAGEBLOCK_ORDER && entry_is_written(buddy) && frame_is_free(frame_at(buddy), order) &&
              frame_at(buddy)->migratetype == LIST_REPORTED;
  buddy_give(z, index, order);
  if (!mark_reported(z, index, order) && pair)
    (void)mark_reported(z, index & buddy, MAX_ORDER); /* not if the pageblock was set aside meanwhile */
}

/* How many of [frames, end), two or more of them, are neighbours, up or down; and the lowest. */
static ALWAYS_INLINE unsigned find_run(const pfn_t *frames, const pfn_t *end, pfn_t *lowest) {
  uint64_t step = frames[1].v - frames[0].v, expected = frames[1].v + step;
  unsigned length = 2;
  for (; frames + length < end && frames[length].v == expected; length++)
    expected += step;
  *lowest = step == 1 ? frames[0] : frames[length - 1];
  return length;
}

/* Largest aligned blocks first; their entries do not look free. */
static void give_run(struct zone *z, uint32_t index, uint32_t count) {
  while (count != 0) {
    unsigned order = bits_fls(count);
    if (index != 0 && bits_ffs(index) < order)
      order = bits_ffs(index);
    if (order > MAX_ORDER)
      order = MAX_ORDER;
    merge_and_push(z, index, order, 1u << order);
    index += 1u << order;
    count -= 1u << order;
  }
}

void buddy_give_run(struct zone *z, uint32_t index, uint32_t count) {
  count_given(z, count);
  give_run(z, index, count);
}

#define SINGLES 4 /* given one by one before the next look for a run */

void buddy_give_frames(struct zone *z, const pfn_t *frames, unsigned count) {
  const pfn_t *end = frames + count;
  count_given(z, count);
  while (frames < end) {
    if (frames + 1 < end && frames[1].v - frames[0].v + 1 <= 2) {
      pfn_t lowest;
      unsigned length = find_run(frames, end, &lowest);
      give_run(z, pfn_index(lowest), length);
      frames += length;
      continue;
    }
    for (const pfn_t *stop = end - frames < SINGLES ? end : frames + SINGLES; frames < stop; frames++)
      merge_and_push_frame(z, pfn_index(*frames));
  }
}

/* The two pageblocks of a chunk, which is what a CPU mostly gives back. */
static ALWAYS_INLINE void give_chunk(struct zone *z, uint32_t index) {
  struct pageblock *pair = &pageblocks[pageblock_of(index)];
  struct frame *head = frame_at(index);
  word_store(head, 0);
  word_store(head + PAGEBLOCK_FRAMES, 0);
  if (likely((pair[0].state & 7) == MIGRATE_MOVABLE && (pair[1].state & 7) == MIGRATE_MOVABLE)) {
    atomic_store_relaxed(&pair[0].free_frames, (uint16_t)PAGEBLOCK_FRAMES);
    atomic_store_relaxed(&pair[1].free_frames, (uint16_t)PAGEBLOCK_FRAMES);
    push(z, index, MAX_ORDER, MIGRATE_MOVABLE);
    return;
  }
  give_pageblocks(z, index, PAGEBLOCK_ORDER); /* where types differ, one by one */
  give_pageblocks(z, index + (uint32_t)PAGEBLOCK_FRAMES, PAGEBLOCK_ORDER);
}

void buddy_give_pageblocks(struct zone *z, const pfn_t *frames, unsigned count) {
  count_given(z, count << PAGEBLOCK_ORDER);
  for (const pfn_t *end = frames + count; frames < end; frames++) {
    uint32_t index = pfn_index(*frames);
    if (frames + 1 < end && (frames[0].v ^ frames[1].v) == PAGEBLOCK_FRAMES) {
      give_chunk(z, index & ~(uint32_t)PAGEBLOCK_FRAMES);
      frames++;
      continue;
    }
    word_store(frame_at(index), 0);
    give_pageblocks(z, index, PAGEBLOCK_ORDER);
  }
}

bool buddy_convert(struct zone *z, unsigned order, enum migratetype from, enum migratetype to) {
  unsigned have;
  uint32_t index, pb;
  if (z->avail[from] >> order == 0)
    return false;
  have = order + bits_ffs(z->avail[from] >> order);
  index = pop(z, have, from);
  expand(z, index, have, order, from);
  pb = pageblock_of(index);
  for (uint32_t i = pb; i < pb + (1u << (order - PAGEBLOCK_ORDER)); i++)
    pageblock_set(i, pageblock_kind(i), to);
  push(z, index, order, to);
  return true;
}

uint32_t buddy_move_pageblock(struct zone *z, uint32_t pb, enum migratetype type) {
  uint32_t moved = 0, end = (pb + 1) << PAGEBLOCK_ORDER;
  for (uint32_t i = pb << PAGEBLOCK_ORDER; i < end;) {
    uint64_t word = entry_is_written(i) ? word_load(frame_at(i)) : 0;
    unsigned order = word_order(word);
    if (!word_is_free(word, order)) {
      i++;
      continue;
    }
    if (word_type(word) != type) {
      unlink(z, frame_at(i), order, word_type(word));
      push(z, i, order, type);
    }
    moved += 1u << order;
    i += 1u << order;
  }
  return moved;
}
