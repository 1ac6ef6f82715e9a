/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The buddy (Knuth, TAOCP 1, 2.5; Linux mm/page_alloc.c): free blocks of 2^order frames on lists by order and migrate type.
 *
 * Invariants, under the zone's lock: a free block's head has state FREE, its order and the type of the list it is on; its buddy of the same
 * order is not free, unless one of them lies in an isolated pageblock; `avail` has a bit exactly for the lists that are not empty;
 * `free` is the sum of all blocks and of the unopened frames, and each pageblock's `free_frames` its part of it. A head's word is written by one store, because CPUs that free nearby read
 * it as a possible buddy; an allocated frame never looks free, whatever its owner does to it meanwhile.
 *
 * Keeps no ledger: callers move frames between FREE and CACHED as they take and give. Refuses nothing: the doors (page_alloc.c) have
 * checked.
 */
#include "mm/zone.h"

static ALWAYS_INLINE void push(struct zone *z, uint32_t index, unsigned order, unsigned type) {
  struct frame *frame = frame_at(index);
  struct free_list *list = &z->list[type][order];
  uint32_t head = list->head;
  word_store(frame, word_make(FRAME_FREE, order, type, FRAME_F_HEAD));
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

/* From another type's pageblocks one frame, and only if there is nothing else. */
unsigned buddy_take_many(struct zone *z, enum migratetype type, struct block *to, unsigned want) {
  unsigned left = want, blocks = 0, from, order;
  while (left != 0) {
    enum migratetype source = z->avail[type] != 0 ? type : fallback_find(z, 0, type);
    if (source == MIGRATE_TYPES || (source != type && blocks != 0))
      break;
    from = bits_ffs(z->avail[source]);
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

/* A pair is cut without passing the lists. */
static unsigned take_pair(uint32_t index, enum migratetype type, pfn_t *to) {
  uint32_t pb = pageblock_of(index);
  for (unsigned i = 0; i < 2; i++) {
    pageblock_set_free(pb + i, 0);
    if (pageblock_type(pb + i) != type)
      pageblock_set(pb + i, pageblock_kind(pb + i), type);
    atomic_store_relaxed(&to[i].v, index_pfn(index + (i << PAGEBLOCK_ORDER)).v);
  }
  return 2;
}

static unsigned take_pageblocks(struct zone *z, enum migratetype type, pfn_t *to, unsigned want) {
  unsigned have = z->avail[type] >> PAGEBLOCK_ORDER; /* 1: single ones, 2: pairs */
  uint32_t pair = want < 2 || (have & 1) != 0 ? INDEX_NONE : have != 0 ? pop(z, MAX_ORDER, type) : fallback_take_unopened(z);
  if (pair != INDEX_NONE)
    return take_pair(pair, type, to);
  uint32_t index = buddy_take(z, PAGEBLOCK_ORDER, type);
  if (index == INDEX_NONE)
    return 0;
  z->free += PAGEBLOCK_FRAMES; /* counted by the caller */
  z->events[ZONE_TAKEN] -= PAGEBLOCK_FRAMES;
  atomic_store_relaxed(&to->v, index_pfn(index).v);
  return 1;
}

unsigned buddy_take_pageblocks(struct zone *z, enum migratetype type, pfn_t *to, unsigned want) {
  unsigned got = 0, more = 1;
  for (; got < want && more != 0; got += more)
    more = take_pageblocks(z, type, to + got, want - got);
  count_taken(z, got << PAGEBLOCK_ORDER);
  return got;
}

/* Take the block of `order` at `index` out of the free block of `from` >= order that holds it, giving all else back. */
static void carve(struct zone *z, uint32_t head, unsigned from, uint32_t index, unsigned order) {
  unsigned type = word_type(word_load(frame_at(head)));
  unlink(z, frame_at(head), from, type);
  word_store(frame_at(head), 0);
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

/* A pageblock set aside must not flow together with its neighbour, nor the neighbour with it. */
static bool may_join_pageblocks(uint32_t a, uint32_t b) {
  enum migratetype ta = pageblock_type(pageblock_of(a)), tb = pageblock_type(pageblock_of(b));
  return ta == tb || (ta != MIGRATE_ISOLATE && tb != MIGRATE_ISOLATE);
}

/* Nobody's any more: it serves movable requests again, and whoever else comes first. */
static void make_movable(uint32_t pb) {
  if (pageblock_type(pb) < PERCPU_TYPES)
    pageblock_set(pb, pageblock_kind(pb), MIGRATE_MOVABLE);
}

/* Blocks of one or two whole pageblocks. */
static NOINLINE void give_pageblocks(struct zone *z, uint32_t index, unsigned order) {
  uint32_t buddy = index ^ (1u << PAGEBLOCK_ORDER), pb = pageblock_of(index);
  make_movable(pb);
  pageblock_set_free(pb, PAGEBLOCK_FRAMES);
  if (order == MAX_ORDER) {
    make_movable(pb + 1);
    pageblock_set_free(pb + 1, PAGEBLOCK_FRAMES);
  } else if (entry_is_written(buddy) && may_join_pageblocks(index, buddy)) {
    uint64_t word = word_load(frame_at(buddy));
    if (word_is_free(word, order)) {
      unlink(z, frame_at(buddy), order, word_type(word));
      word_store(frame_at(buddy), 0);
      index &= buddy;
      order++;
    }
  }
  push(z, index, order, pageblock_type(pageblock_of(index)));
}

/*
 * Merge the block with its free buddies, put it on its list. Smaller buddies share the pageblock, whose entries are written; a buddy that was
 * free is no head any more, and what is given back here never looked free.
 */
static ALWAYS_INLINE void merge_and_push(struct zone *z, uint32_t index, unsigned order) {
  struct frame *table = frame_table;
  struct pageblock *block = &pageblocks[pageblock_of(index)];
  uint64_t looks = word_make(FRAME_FREE, order, 0, FRAME_F_HEAD);
  if (order < PAGEBLOCK_ORDER)
    atomic_store_relaxed(&block->free_frames, (uint16_t)(block->free_frames + (1u << order)));
  for (; order < PAGEBLOCK_ORDER; order++) {
    uint32_t buddy = index ^ (1u << order);
    uint64_t word = word_load(&table[buddy]);
    if ((word & ~word_make(0, 0, 0xff, 0)) != looks) {
      push(z, index, order, block->state & 7);
      return;
    }
    unlink(z, &table[buddy], order, word_type(word));
    word_store(&table[buddy], 0);
    index &= buddy;
    looks += word_make(0, 1, 0, 0);
  }
  give_pageblocks(z, index, order);
}

static inline void count_given(struct zone *z, uint32_t frames) {
  z->free += frames;
  z->events[ZONE_GIVEN] += frames;
}

void buddy_give(struct zone *z, uint32_t index, unsigned order) {
  count_given(z, 1u << order);
  word_store(frame_at(index), 0);
  merge_and_push(z, index, order);
}

/* The first of `count` frames that are neighbours, up or down: their number, and the lowest of them. */
static ALWAYS_INLINE unsigned find_run(const pfn_t *frames, unsigned count, pfn_t *lowest) {
  uint64_t step = frames[1].v - frames[0].v, expected = frames[1].v + step;
  unsigned length = 2;
  for (; length < count && frames[length].v == expected; length++)
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
    merge_and_push(z, index, order);
    index += 1u << order;
    count -= 1u << order;
  }
}

void buddy_give_run(struct zone *z, uint32_t index, uint32_t count) {
  count_given(z, count);
  give_run(z, index, count);
}

void buddy_give_frames(struct zone *z, const pfn_t *frames, unsigned count) {
  uint64_t base = frame_base_pfn;
  count_given(z, count);
  for (unsigned done = 0; done < count;) {
    uint64_t f = frames[done].v;
    if (done + 1 < count && frames[done + 1].v - f + 1 <= 2) {
      pfn_t lowest;
      unsigned length = find_run(frames + done, count - done, &lowest);
      give_run(z, (uint32_t)(lowest.v - base), length);
      done += length;
      continue;
    }
    merge_and_push(z, (uint32_t)(f - base), 0);
    done++;
  }
}

void buddy_give_pageblocks(struct zone *z, const pfn_t *frames, unsigned count) {
  count_given(z, count << PAGEBLOCK_ORDER);
  for (unsigned i = 0; i < count; i++) {
    word_store(frame_of(frames[i]), 0);
    give_pageblocks(z, pfn_index(frames[i]), PAGEBLOCK_ORDER);
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
