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

static void push(struct zone *z, uint32_t index, unsigned order, unsigned type) {
  struct frame *frame = frame_at(index);
  struct free_list *list = &z->list[type][order];
  word_store(frame, word_make(FRAME_FREE, order, type, FRAME_F_HEAD));
  frame->prev = INDEX_NONE;
  frame->next = INDEX_NONE;
  if (list->count++ != 0) {
    frame->next = list->head;
    frame_at(list->head)->prev = index;
  }
  list->head = index;
  z->avail[type] |= (uint16_t)(1u << order);
}

static void unlink(struct zone *z, struct frame *frame, unsigned order, unsigned type) {
  struct free_list *list = &z->list[type][order];
  if (frame->prev != INDEX_NONE)
    frame_at(frame->prev)->next = frame->next;
  else
    list->head = frame->next;
  if (frame->next != INDEX_NONE)
    frame_at(frame->next)->prev = frame->prev;
  if (--list->count == 0)
    z->avail[type] &= (uint16_t) ~(1u << order);
}

/* The first block of a list that is not empty. */
static ALWAYS_INLINE uint32_t pop(struct zone *z, unsigned order, unsigned type) {
  struct free_list *list = &z->list[type][order];
  uint32_t index = list->head;
  struct frame *frame = frame_at(index);
  word_store(frame, 0); /* before the lock is released: nobody may take it for a free buddy */
  if (--list->count == 0) {
    z->avail[type] &= (uint16_t) ~(1u << order);
    return index;
  }
  list->head = frame->next;
  frame_at(frame->next)->prev = INDEX_NONE;
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
  z->free -= 1u << order;
  return index;
}

unsigned buddy_take_many(struct zone *z, enum migratetype type, struct block *to, unsigned want) {
  unsigned left = want, from, order;
  while (left != 0) {
    enum migratetype source = z->avail[type] != 0 ? type : fallback_find(z, 0, type);
    if (source == MIGRATE_TYPES)
      break;
    from = bits_ffs(z->avail[source]);
    order = bits_fls(left);
    if (order > from)
      order = from;
    uint32_t index = pop(z, from, source);
    if (from != order)
      expand(z, index, from, order, source);
    pageblock_count_out(index, order);
    *to++ = (struct block){index, order};
    left -= 1u << order;
  }
  z->free -= want - left;
  return want - left;
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
      z->free -= 1u << order;
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

/* Is the buddy of the block (index, order) free and of the same order? A smaller buddy shares the pageblock, whose entries are written. */
static inline bool can_merge(uint32_t index, uint32_t buddy, unsigned order) {
  if (order == PAGEBLOCK_ORDER && (!entry_is_written(buddy) || !may_join_pageblocks(index, buddy)))
    return false;
  return word_is_free(word_load(frame_at(buddy)), order);
}

void buddy_give(struct zone *z, uint32_t index, unsigned order) {
  z->free += 1u << order;
  pageblock_count_in(index, order);
  while (order < MAX_ORDER) {
    uint32_t buddy = index ^ (1u << order);
    if (!can_merge(index, buddy, order))
      break;
    unlink(z, frame_at(buddy), order, word_type(word_load(frame_at(buddy))));
    word_store(frame_at(index | buddy), 0); /* the upper half is no head any more */
    index &= buddy;
    order++;
  }
  push(z, index, order, pageblock_type(pageblock_of(index)));
}

void buddy_give_run(struct zone *z, uint32_t index, uint32_t count) {
  while (count != 0) {
    unsigned order = bits_fls(count);
    if (index != 0 && bits_ffs(index) < order)
      order = bits_ffs(index);
    if (order > MAX_ORDER)
      order = MAX_ORDER;
    buddy_give(z, index, order);
    index += 1u << order;
    count -= 1u << order;
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
