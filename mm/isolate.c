/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pageblocks set aside, and free blocks as targets of moves.
 *
 * A pageblock that is being emptied must not fill again from the other side: its type becomes ISOLATE, whose free lists nobody takes from,
 * and what it was stands in its flags until it comes back. All of it under the zone's lock. `isolated` counts the pageblocks that a
 * compaction run holds; when an allocation finds nothing else, one of them is given up, and the run sees that by the flag being gone.
 * Those held for a contiguous range (CONTIG) are not; a zone never has both kinds, as both need it claimed.
 *
 * The lock is held for one pageblock or one free block at a time, however large the zone is: at most some 10,000 instructions, when a
 * pageblock of 256 free blocks changes its lists. Whoever walks all pageblocks does so without it, in pieces (compaction.h).
 *
 * Targets come from the other lists, smallest adequate block first. As all sizes are powers of two, that is the best there is: a larger
 * block is cut only when no smaller one could have served, so room for larger blocks is never lost to smaller ones.
 */
#include "mm/compaction.h"

static void set_flags(uint32_t pb, unsigned flags) {
  atomic_store_relaxed(&pageblocks[pb].flags, (uint8_t)flags);
}

void pageblock_mark(struct zone *z, uint32_t pb, unsigned set, unsigned clear) {
  port_flags_t flags = zone_lock(z);
  set_flags(pb, (pageblocks[pb].flags & ~clear) | set);
  zone_unlock(z, flags);
}

/* --- set aside and back ---------------------------------------------------------------------------------------------------------- */

void isolate_pageblock(struct zone *z, uint32_t pb, unsigned why) {
  port_flags_t flags = zone_lock(z);
  if (!pageblock_has(pb, PB_ISOLATED) && pageblock_kind(pb) != PAGEBLOCK_NONE) {
    unsigned kept = pageblocks[pb].flags & ((1u << PB_TYPE_SHIFT) - 1);
    set_flags(pb, kept | PB_ISOLATED | why | (unsigned)pageblock_type(pb) << PB_TYPE_SHIFT);
    pageblock_retype(z, pb, MIGRATE_ISOLATE);
    z->isolated += why != PB_CONTIG;
  }
  zone_unlock(z, flags);
}

static void release_locked(struct zone *z, uint32_t pb) {
  unsigned flags = pageblocks[pb].flags;
  if (!(flags & PB_ISOLATED))
    return;
  z->isolated -= !(flags & PB_CONTIG);
  set_flags(pb, flags & ((1u << PB_TYPE_SHIFT) - 1) & ~(PB_ISOLATED | PB_CONTIG));
  pageblock_retype(z, pb, pageblock_free(pb) == PAGEBLOCK_FRAMES ? MIGRATE_MOVABLE : (enum migratetype)(flags >> PB_TYPE_SHIFT));
}

void isolate_release(struct zone *z, uint32_t pb) {
  port_flags_t flags = zone_lock(z);
  release_locked(z, pb);
  zone_unlock(z, flags);
}

bool isolate_give_way(struct zone *z, unsigned order) {
  unsigned lists = z->avail[MIGRATE_ISOLATE];
  if (z->isolated == 0 || lists >> order == 0)
    return false;
  uint32_t pb = pageblock_of(z->list[MIGRATE_ISOLATE][bits_fls(lists)].head);
  release_locked(z, pb);
  if (order == MAX_ORDER) /* the other half of the block */
    release_locked(z, pb + 1);
  return true;
}

/* --- targets --------------------------------------------------------------------------------------------------------------------- */

/* Where movable memory goes, the best first. HIGHATOMIC keeps its reserve. */
static const uint8_t target_types[] = {MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE, LIST_REPORTED};

static bool find(const struct zone *z, unsigned order, unsigned limit, uint32_t *out) {
  for (unsigned o = order; o <= limit; o++) {
    for (unsigned i = 0; i < ARRAY_SIZE(target_types); i++) {
      const struct free_list *list = &z->list[target_types[i]][o];
      if (list->count != 0) {
        *out = list->head;
        return true;
      }
    }
  }
  return false;
}

/* Out of the buddy, under its lock; the ledger follows in the same stretch of masked interrupts. */
static void hand_out(uint32_t index, unsigned order) {
  word_store(frame_at(index), word_make(FRAME_CACHED, order, MIGRATE_MOVABLE, FRAME_F_HEAD));
  ledger_move(percpu_this(), ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(FRAME_CACHED, OWNER_CORE), 1u << order);
}

bool target_take(struct zone *z, unsigned order, unsigned limit, pfn_t *out) {
  uint32_t index;
  port_flags_t flags = zone_lock(z);
  bool found = find(z, order, limit, &index) && buddy_take_at(z, index, order);
  if (found)
    hand_out(index, order);
  zone_unlock(z, flags);
  if (found)
    *out = index_pfn(index);
  return found;
}

bool target_take_at(struct zone *z, uint32_t index, unsigned order, pfn_t *out) {
  port_flags_t flags = zone_lock(z);
  bool found = !pageblock_has(pageblock_of(index), PB_ISOLATED) && buddy_take_at(z, index, order);
  if (found)
    hand_out(index, order);
  zone_unlock(z, flags);
  *out = index_pfn(index);
  return found;
}

/* --- counts ---------------------------------------------------------------------------------------------------------------------- */

/*
 * The buddy merges whatever is free of a pageblock, so one that is wholly free lies in a block of at least its size, or was never opened.
 */
uint32_t zone_whole_pageblocks(struct zone *z) {
  port_flags_t flags = zone_lock(z);
  uint32_t whole = z->unopened >> PAGEBLOCK_ORDER;
  for (unsigned type = 0; type < FREE_LISTS; type++)
    whole += z->list[type][PAGEBLOCK_ORDER].count + (z->list[type][MAX_ORDER].count << (MAX_ORDER - PAGEBLOCK_ORDER));
  zone_unlock(z, flags);
  return whole;
}

uint64_t zone_free_now(struct zone *z) {
  port_flags_t flags = zone_lock(z);
  uint64_t free = z->free;
  zone_unlock(z, flags);
  return free;
}

bool zone_has_block(struct zone *z, unsigned order) {
  bool has = false;
  port_flags_t flags = zone_lock(z);
  for (unsigned type = 0; type < MIGRATE_HIGHATOMIC; type++)
    has |= z->avail[type] >> order != 0;
  has |= z->avail[LIST_REPORTED] >> order != 0;
  has |= z->unopened >= 1u << order;
  zone_unlock(z, flags);
  return has;
}
