/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Emptying a region: the parts it consists of, and moving them out one by one.
 *
 * Parts are read without a lock, so each is a glimpse that frame_move() checks again under the owner's lock; what has changed meanwhile is
 * MOVE_GONE, and the next round sees what is there now. The region's pageblock is set aside, so what becomes free in it stays free; what
 * per-CPU lists hold of it is busy until they are drained. This CPU's are drained at the end of a round that met any; the others are asked
 * to drain theirs, and how many rounds that may take is the caller's to say.
 *
 * Interrupts are masked for one block at a time (frame_move), and for one look at the free lists.
 */
#include "mm/compaction.h"

#define BARE_ORDER_MAX 6u /* frames that are nobody's, in one part */

static void read_head(uint32_t head, struct part *out) {
  uint64_t word = word_load(frame_at(head));
  out->head = head;
  out->block_order = word_order(word);
  out->owner = word_owner(word);
  out->free = (word & WORD_STATE_MASK) == FRAME_FREE;
  out->can = out->free ? MOVE_DONE : part_judge(word);
}

/* A pageblock's first frame: does one block of its size or larger cover it? */
static bool read_whole(uint32_t index, struct part *out) {
  uint32_t pb = pageblock_of(index), head;
  *out = (struct part){.index = index, .order = PAGEBLOCK_ORDER, .can = MOVE_UNMOVABLE};
  if (pageblock_kind(pb) == PAGEBLOCK_NONE)
    return true;
  if (pageblock_kind(pb) == PAGEBLOCK_UNOPENED) {
    out->free = true;
    return true;
  }
  head = entry_find_head(index);
  if (head == INDEX_NONE || word_order(word_load(frame_at(head))) < PAGEBLOCK_ORDER)
    return pageblock_kind(pb) != PAGEBLOCK_SPLIT;
  read_head(head, out);
  return true;
}

/* Of the stretch from `index` on in which no frame heads a block: reserved memory, mostly, of which there may be a pageblock's worth. */
static unsigned bare_order(uint32_t index) {
  unsigned order = 0;
  for (; order < BARE_ORDER_MAX && (index >> order & 1) == 0; order++) {
    for (uint32_t at = index + (1u << order); at < index + (2u << order); at++) {
      if (word_is_head(word_load(frame_at(at))))
        return order;
    }
  }
  return order;
}

/* What has merged into a free block while its pageblock was walked, or is nobody's. */
static void read_tail(uint32_t index, struct part *out) {
  uint32_t head = entry_find_head(index);
  if (head == INDEX_NONE)
    out->order = bare_order(index);
  else if ((word_load(frame_at(head)) & WORD_STATE_MASK) == FRAME_FREE)
    out->free = true;
}

void part_read_other(uint32_t index, struct part *out) {
  if ((index & (PAGEBLOCK_FRAMES - 1)) == 0 && read_whole(index, out))
    return;
  uint64_t word = word_load(frame_at(index));
  *out = (struct part){.index = index, .can = MOVE_GONE}; /* reserved, or on its way between two hands */
  if (!word_is_head(word) || word_order(word) >= PAGEBLOCK_ORDER || index & ((1u << word_order(word)) - 1)) {
    read_tail(index, out);
    return;
  }
  out->order = word_order(word);
  read_head(index, out);
}

void part_read(uint32_t index, struct part *out) {
  part_glimpse(index, out);
}

/* --- emptying -------------------------------------------------------------------------------------------------------------------- */

void evacuate_begin(struct compact_evacuee *e, uint32_t start, unsigned order, unsigned limit, owner_t owner) {
  *e = (struct compact_evacuee){.start = start, .at = start, .order = order, .limit = limit, .owner = owner};
}

/* One block to wherever there is room. */
static enum move_result move_out(struct zone *z, const struct part *p, unsigned limit) {
  pfn_t to;
  if (!target_take(z, p->block_order, limit, &to))
    return MOVE_NO_ROOM;
  enum move_result r = frame_move(index_pfn(p->head), p->block_order, to);
  if (r != MOVE_DONE)
    page_free_direct(to, p->block_order);
  return r;
}

static enum move_result try_part(struct zone *z, const struct compact_evacuee *e, const struct part *p) {
  if (p->can != MOVE_DONE)
    return p->can;
  if (e->owner != COMPACT_ANY_OWNER && e->owner != p->owner)
    return MOVE_UNMOVABLE;
  return move_out(z, p, e->limit);
}

static void count(const struct move_counts *counts, const struct part *p, enum move_result r) {
  if (r != MOVE_DONE) {
    counts->failed[r]++;
    return;
  }
  *counts->moved_frames += (uint64_t)1 << p->block_order;
  ++*counts->moved_blocks;
}

/* A round is over. A frame that went into a per-CPU list meanwhile is no longer to be seen as used, but not free either. */
static enum evacuation conclude(struct compact_evacuee *e) {
  e->at = e->start;
  if (!e->busy && !e->gone)
    return EVACUATED;
  e->busy = e->gone = false;
  page_drain_local();
  page_drain_others();
  return EVACUATION_BUSY;
}

enum evacuation evacuate_step(struct zone *z, struct compact_evacuee *e, const struct move_counts *counts, int *budget) {
  struct part p;
  unsigned looked = 0;
  for (; e->at < e->start + (1u << e->order); e->at = part_end(&p)) {
    if (*budget <= 0)
      return EVACUATION_MORE;
    part_read(e->at, &p);
    *budget -= ++looked % (PAGEBLOCK_FRAMES / COST_LOOK) == 0;
    if (p.free)
      continue;
    enum move_result r = try_part(z, e, &p);
    count(counts, &p, r);
    if (r == MOVE_NO_ROOM)
      return EVACUATION_NO_ROOM;
    if (r == MOVE_PINNED || r == MOVE_UNMOVABLE)
      return EVACUATION_REFUSED;
    e->busy |= r == MOVE_BUSY;
    e->gone |= r == MOVE_GONE;
    if (r == MOVE_DONE)
      *budget -= 1 << p.block_order;
  }
  return conclude(e);
}
