/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens when memory is short (Linux: __alloc_pages_slowpath), and the work that keeps it from being so.
 *
 * A request that the low watermark turned away wakes the background and goes on to the mark its flags allow; then to what lies about: this
 * CPU's lists, the zeroed pool, the other CPUs' lists (asked for, never waited for), what is set aside for atomic requests. Only then, if
 * its flags allow it, blocks are moved (direct compaction) and memory is reclaimed, a bounded number of times; after that the answer is
 * ERR_NOMEM, and what it means for whom is the home's business.
 *
 * Holds no lock while the home's functions run. The core starts no threads: page_background_step() is called by the home's scheduler.
 */
#include "mm/compact.h"
#include "mm/shrinker.h"
#include "mm/zone.h"

#define RECLAIM_BATCH 32u /* frames asked of the home at once; Linux: SWAP_CLUSTER_MAX */
#define COMPACT_STEPS 64u
#define COMPACT_MOVES 16u /* frames in one step */
#define DIRECT_ROUNDS 4u  /* of compaction and reclaim, each with progress, before a request is given up */

static const struct page_alloc_ops *ops;

void page_set_alloc_ops(const struct page_alloc_ops *new_ops) {
  ops = new_ops;
}

void slowpath_reset(void) {
  ops = NULL;
}

static enum zone_mark mark_of(alloc_flags_t flags) {
  return flags & ALLOC_ATOMIC ? MARK_NONE : flags & ALLOC_HIGH ? MARK_HALF : MARK_MIN;
}

static void wake_background(void) {
  if (ops && ops->wake_background)
    ops->wake_background();
}

/* --- high-order atomic requests ------------------------------------------------------------------------------------------------------ */

/* The pageblock of a block that an atomic request got below the min watermark is kept for more of the kind, to 1 % of the zone. */
static void set_aside(pfn_t f) {
  uint32_t pb = pageblock_of(pfn_index(f));
  struct zone *z = zone_of(pfn_index(f));
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&z->lock);
  if (pageblock_type(pb) < PERCPU_TYPES && z->highatomic + PAGEBLOCK_FRAMES <= z->managed / 100) {
    pageblock_set(pb, pageblock_kind(pb), MIGRATE_HIGHATOMIC);
    buddy_move_pageblock(z, pb, MIGRATE_HIGHATOMIC);
    z->highatomic += (uint32_t)PAGEBLOCK_FRAMES;
  }
  port_lock_release(&z->lock);
  port_irq_restore(irq);
}

/* One pageblock that was set aside, and has free frames, is everybody's again. */
static bool release_one(struct zone *z) {
  bool released = false;
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&z->lock);
  if (z->avail[MIGRATE_HIGHATOMIC] != 0) {
    unsigned order = bits_fls(z->avail[MIGRATE_HIGHATOMIC]);
    uint32_t pb = pageblock_of(z->list[MIGRATE_HIGHATOMIC][order].head);
    enum migratetype type = pageblock_free(pb) == PAGEBLOCK_FRAMES ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE;
    pageblock_set(pb, pageblock_kind(pb), type);
    buddy_move_pageblock(z, pb, type);
    z->highatomic -= (uint32_t)PAGEBLOCK_FRAMES;
    released = true;
  }
  port_lock_release(&z->lock);
  port_irq_restore(irq);
  return released;
}

static bool release_set_aside(void) {
  bool released = false;
  for (struct zone *z = zones; z < zones + zone_count; z++) {
    while (release_one(z))
      released = true;
  }
  return released;
}

/* --- effort ------------------------------------------------------------------------------------------------------------------------- */

static uint64_t shrink(uint64_t frames) {
  uint64_t got = shrinkers_scan(frames);
  if (got < frames && ops && ops->reclaim)
    got += ops->reclaim(frames - got);
  return got;
}

static bool reclaim(unsigned order) {
  uint64_t want = (uint64_t)1 << order;
  zones[0].events[ZONE_RECLAIM_STALLS]++;
  if (shrink(want > RECLAIM_BATCH ? want : RECLAIM_BATCH) == 0)
    return false;
  page_drain_local();
  return true;
}

/* In each zone, till a block of the order is to be had or the patience ends; true if something was moved. */
static bool compact(unsigned order) {
  struct compact_request request = {.mode = COMPACT_ASYNC, .order = order, .owner = COMPACT_ANY_OWNER};
  struct compact_run run;
  bool moved = false;
  for (; request.zone < zone_count; request.zone++) {
    if (compact_begin(&run, &request) != ERR_OK)
      continue;
    zones[request.zone].events[ZONE_COMPACT_STALLS]++;
    for (unsigned step = 0; step < COMPACT_STEPS && compact_step(&run, COMPACT_MOVES) == ERR_AGAIN; step++)
      continue;
    compact_end(&run);
    moved |= run.report.moved_frames != 0;
  }
  return moved;
}

static bool take(unsigned order, alloc_flags_t flags, pfn_t *out) {
  return page_take(order, flags, mark_of(flags), out);
}

/* What lies about, at no cost to anybody. */
static bool take_after_gathering(unsigned order, alloc_flags_t flags, pfn_t *out) {
  page_drain_local();
  page_drain_others();
  if (take(order, flags, out))
    return true;
  if (zero_pool_drop() && take(order, flags, out))
    return true;
  return !(flags & ALLOC_ATOMIC) && release_set_aside() && take(order, flags, out);
}

static bool take_with_effort(unsigned order, alloc_flags_t flags, pfn_t *out) {
  for (unsigned round = 0; round < DIRECT_ROUNDS; round++) {
    bool progress = order != 0 && flags & ALLOC_MAY_COMPACT && compact(order);
    if (progress && take(order, flags, out))
      return true;
    if (flags & ALLOC_MAY_RECLAIM && reclaim(order))
      progress = true;
    if (take(order, flags, out))
      return true;
    if (!progress)
      return false;
  }
  return false;
}

err_t slowpath_alloc(unsigned order, alloc_flags_t flags, pfn_t *out) {
  wake_background();
  if (take(order, flags, out))
    return ERR_OK;
  if (take_after_gathering(order, flags, out) || take_with_effort(order, flags, out)) {
    if (order != 0 && flags & ALLOC_ATOMIC)
      set_aside(*out);
    return ERR_OK;
  }
  return ERR_NOMEM;
}

/* --- ahead of need ------------------------------------------------------------------------------------------------------------------- */

/* Too little is free: true if something could be done about it. */
static bool refill_zone(struct zone *z) {
  if (z->free >= z->high + z->boost + z->highatomic)
    return false;
  return shrink(RECLAIM_BATCH) != 0;
}

/* An eighth at a time. */
static bool fade_boost(struct zone *z) {
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&z->lock);
  bool more = z->boost != 0;
  z->boost -= (z->boost + 7) / 8;
  port_lock_release(&z->lock);
  port_irq_restore(irq);
  return more;
}

static bool step_zone(struct zone *z) {
  return refill_zone(z) || fade_boost(z);
}

err_t page_background_step(void) {
  page_drain_poll();
  for (struct zone *z = zones; z < zones + zone_count; z++) {
    if (step_zone(z))
      return ERR_AGAIN;
  }
  if (page_zero_pool_fill(PAGEBLOCK_ORDER) == ERR_AGAIN)
    return ERR_AGAIN;
  return page_zero_pool_fill(0) == ERR_AGAIN ? ERR_AGAIN : ERR_OK;
}
