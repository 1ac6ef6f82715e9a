/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free-page reporting (include/mm/page_reporting.h): takes whole pageblocks off the free lists, has them reported, and puts them back on
 * lists of their own (LIST_REPORTED), which no request looks at before all else is used up (fallback.c).
 *
 * That list is the mark: handing a block out, cutting it, merging it with one that was not reported or setting its pageblock aside takes it
 * off the list, so no path of the allocator has anything to clear. Blocks that were never opened were never touched: they need no report.
 *
 * While it is out a block is CACHED, as a target of a move is. The zone's lock is held for one block at a time. Refuses to take what the
 * low watermark needs, and blocks of pageblocks that are kept for somebody (HIGHATOMIC, ISOLATE).
 */
#include "mm/page_reporting.h"
#include "mm/zone.h"

static uint64_t pending_in(const struct zone *z) {
  uint64_t frames = 0;
  for (unsigned type = 0; type < PERCPU_TYPES; type++) {
    for (unsigned order = PAGEBLOCK_ORDER; order <= MAX_ORDER; order++)
      frames += (uint64_t)atomic_load_relaxed(&z->list[type][order].count) << order;
  }
  return frames;
}

static uint64_t pending_with(const struct percpu *pc) {
  uint64_t blocks = 0;
  for (unsigned type = 0; type < PERCPU_TYPES; type++)
    blocks += atomic_load_relaxed(&pc->list[PERCPU_BLOCKS + type].count);
  return blocks << PAGEBLOCK_ORDER;
}

uint64_t page_reporting_pending(void) {
  uint64_t frames = 0;
  for (const struct zone *z = zones; z < zones + zone_count; z++)
    frames += pending_in(z);
  for (const struct percpu *pc = percpus; pc < percpus + PORT_CPUS_MAX; pc++)
    frames += pending_with(pc);
  return frames;
}

/* The next block to be reported, the largest first, of `most` frames at most; INDEX_NONE if there is none. Zone lock. */
static uint32_t find(const struct zone *z, uint32_t most, unsigned *order) {
  for (*order = MAX_ORDER; *order >= PAGEBLOCK_ORDER; --*order) {
    for (unsigned type = 0; type < PERCPU_TYPES && most >> *order != 0; type++) {
      if (z->list[type][*order].count != 0)
        return z->list[type][*order].head;
    }
  }
  return INDEX_NONE;
}

/* Half of what is above the low watermark, or all of it if that is one block at most. Zone lock. */
static uint32_t allowance(const struct zone *z) {
  uint32_t reserve = zone_reserve(z, MARK_LOW), spare = z->free > reserve ? z->free - reserve : 0;
  return spare / 2 >> MAX_ORDER != 0 ? spare / 2 : (uint32_t)min_u64(spare, 1u << MAX_ORDER);
}

/*
 * A block off the lists, of `most` frames at most: ERR_OK. ERR_NOENT: none there. ERR_NOMEM: it is needed. None is cut for it: the part
 * that was reported would merge with the other and lose its mark, again and again.
 */
static err_t take(struct zone *z, uint32_t most, struct page_report *out) {
  err_t err = ERR_OK;
  port_flags_t flags = zone_lock(z);
  uint32_t index = find(z, most, &out->order);
  if (index == INDEX_NONE)
    err = pending_in(z) != 0 ? ERR_NOMEM : ERR_NOENT;
  if (err == ERR_OK && buddy_take_at(z, index, out->order)) {
    word_store(frame_at(index), word_make(FRAME_CACHED, out->order, MIGRATE_MOVABLE, FRAME_F_HEAD));
    ledger_move(percpu_this(), ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(FRAME_CACHED, OWNER_CORE), 1u << out->order);
    out->frame = index_pfn(index);
  }
  zone_unlock(z, flags);
  return err;
}

/* Returns the blocks; `*short_of` becomes true if there are some that must stay. */
static unsigned take_some(struct zone *z, struct page_report *blocks, bool *short_of) {
  unsigned count = 0;
  port_flags_t flags = zone_lock(z);
  uint32_t left = allowance(z);
  zone_unlock(z, flags);
  while (count < PAGE_REPORTING_CAPACITY) {
    err_t err = take(z, left, &blocks[count]);
    *short_of |= err == ERR_NOMEM && count == 0;
    if (err != ERR_OK)
      break;
    left -= 1u << blocks[count++].order;
  }
  return count;
}

static void put_back(struct zone *z, struct page_report block, bool reported) {
  uint32_t index = pfn_index(block.frame);
  port_flags_t flags = zone_lock(z);
  ledger_move(percpu_this(), ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_FREE, OWNER_CORE), 1u << block.order);
  if (reported)
    buddy_give_reported(z, index, block.order);
  else
    buddy_give(z, index, block.order);
  zone_unlock(z, flags);
}

err_t page_reporting_step(const struct page_reporting_ops *ops) {
  struct page_report blocks[PAGE_REPORTING_CAPACITY];
  bool short_of = false;
  page_drain_local();
  (void)page_drain_others(); /* what they give is for the next step */
  for (struct zone *z = zones; z < zones + zone_count; z++) {
    unsigned count = take_some(z, blocks, &short_of);
    if (count == 0)
      continue;
    err_t err = ops->report(blocks, count);
    for (unsigned i = 0; i < count; i++)
      put_back(z, blocks[i], err == ERR_OK);
    return err == ERR_OK ? ERR_AGAIN : err;
  }
  return short_of ? ERR_NOMEM : ERR_OK;
}
