/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looking into a pageblock: what is free, what could be moved, what could not, and whose it is.
 *
 * Reads entries without a lock, so what it sees may be a moment old; it never follows a link. Writes nothing.
 */
#include "mm/pageblock.h"
#include "mm/zone.h"

/* Frames by owner, for the few that share a pageblock; those beyond the fourth are not weighed. */
struct tally {
  owner_t owner[4];
  uint16_t frames[4];
};

static void weigh(struct tally *t, owner_t owner, unsigned frames) {
  for (unsigned i = 0; i < ARRAY_SIZE(t->owner); i++) {
    if (t->frames[i] != 0 && t->owner[i] != owner)
      continue;
    t->owner[i] = owner;
    t->frames[i] = (uint16_t)(t->frames[i] + frames);
    return;
  }
}

static owner_t heaviest(const struct tally *t) {
  unsigned best = 0;
  for (unsigned i = 1; i < ARRAY_SIZE(t->owner); i++)
    if (t->frames[i] > t->frames[best])
      best = i;
  return t->frames[best] ? t->owner[best] : OWNER_CORE;
}

/* Which count the frames of a block with this word belong to. */
static uint16_t *count_of(struct pageblock_info *info, uint64_t word) {
  switch (word & WORD_STATE_MASK) {
  case FRAME_FREE:
    return &info->free;
  case FRAME_CACHED:
  case FRAME_ZEROED:
    return &info->cached;
  case FRAME_RESERVED:
  case FRAME_BAD:
    return &info->reserved;
  case FRAME_OWNED:
  case FRAME_SHARED:
  case FRAME_MANAGED:
  case FRAME_MOVING:
    if (word_type(word) == MIGRATE_MOVABLE && word_pins(word) == 0)
      return &info->movable;
    return &info->unmovable;
  default:
    return &info->unmovable;
  }
}

/* `frames` of the block that `head` heads lie in the pageblock. */
static void add_block(struct pageblock_info *info, struct tally *t, uint64_t word, unsigned frames) {
  uint16_t *count = count_of(info, word);
  *count = (uint16_t)(*count + frames);
  if (count == &info->movable || count == &info->unmovable)
    weigh(t, word_owner(word), frames);
}

static void walk_entries(struct pageblock_info *info, struct tally *t, uint32_t index) {
  uint32_t end = index + PAGEBLOCK_FRAMES;
  while (index < end) {
    uint64_t word = word_load(frame_at(index));
    unsigned order = word_is_head(word) && word_order(word) < PAGEBLOCK_ORDER ? word_order(word) : 0;
    add_block(info, t, word_is_head(word) ? word : FRAME_RESERVED, 1u << order);
    index += 1u << order;
  }
}

static void walk(struct pageblock_info *info, struct tally *t, uint32_t index) {
  uint32_t head = entry_find_head(index);
  if (head != INDEX_NONE && word_order(word_load(frame_at(head))) >= PAGEBLOCK_ORDER)
    add_block(info, t, word_load(frame_at(head)), PAGEBLOCK_FRAMES);
  else if (pageblock_kind(pageblock_of(index)) == PAGEBLOCK_UNOPENED)
    info->free = PAGEBLOCK_FRAMES;
  else if (pageblock_kind(pageblock_of(index)) == PAGEBLOCK_SPLIT)
    walk_entries(info, t, index);
  else
    info->reserved = PAGEBLOCK_FRAMES;
}

bool pageblock_describe(pfn_t f, struct pageblock_info *out) {
  struct tally t = {0};
  if (f.v - frame_base_pfn >= frame_count)
    return false;
  uint32_t index = (uint32_t)align_down(pfn_index(f), PAGEBLOCK_FRAMES);
  *out = (struct pageblock_info){.start = index_pfn(index), .type = pageblock_type(pageblock_of(index))};
  walk(out, &t, index);
  out->owner = heaviest(&t);
  return true;
}
