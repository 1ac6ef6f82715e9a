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
#define SHRINK_ROUNDS 4u  /* through the shrinkers, each bounded, before there is nothing to be had */
#define COMPACT_STEPS 64u
#define COMPACT_MOVES 16u /* frames in one step */
#define DIRECT_ROUNDS 4u  /* of compaction and reclaim, each with progress, before a request is given up */
#define HIGHATOMIC_PART 100u

static const struct page_alloc_ops *ops;
uint32_t page_background_due; /* a hint: whoever finds nothing to do clears it */

void page_set_alloc_ops(const struct page_alloc_ops *new_ops) {
  ops = new_ops;
}

void slowpath_reset(void) {
  ops = NULL;
  page_background_due = 0;
}

static enum zone_mark mark_of(alloc_flags_t flags) {
  return flags & ALLOC_ATOMIC ? MARK_NONE : flags & ALLOC_HIGH ? MARK_HALF : MARK_MIN;
}

void slowpath_wake(void) {
  atomic_store_relaxed(&page_background_due, 1u);
  if (ops && ops->wake_background)
    ops->wake_background();
}

static void relax(alloc_flags_t flags) {
  if (flags & ALLOC_MAY_COMPACT && ops && ops->relax)
    ops->relax();
}

/* Requests stall with no lock held, on any CPU. */
static void count_stall(struct zone *z, enum zone_event event) {
  atomic_fetch_add_relaxed(&z->events[event], 1);
}

/* --- high-order atomic requests ------------------------------------------------------------------------------------------------------ */

/* The pageblock of a block that an atomic request got below the low watermark is kept for more of the kind, to 1 % of the zone. */
static void set_aside(pfn_t f) {
  uint32_t pb = pageblock_of(pfn_index(f));
  struct zone *z = zone_of(pfn_index(f));
  port_flags_t irq = zone_lock(z);
  if (pageblock_type(pb) < PERCPU_TYPES && z->highatomic + PAGEBLOCK_FRAMES <= z->managed / HIGHATOMIC_PART) {
    pageblock_set(pb, pageblock_kind(pb), MIGRATE_HIGHATOMIC);
    buddy_move_pageblock(z, pb, MIGRATE_HIGHATOMIC);
    z->highatomic += (uint32_t)PAGEBLOCK_FRAMES;
  }
  zone_unlock(z, irq);
}

/* One pageblock that was set aside, and has free frames, is everybody's again. */
static bool release_one(struct zone *z) {
  bool released = false;
  port_flags_t irq = zone_lock(z);
  if (z->avail[MIGRATE_HIGHATOMIC] != 0) {
    unsigned order = bits_fls(z->avail[MIGRATE_HIGHATOMIC]);
    uint32_t pb = pageblock_of(z->list[MIGRATE_HIGHATOMIC][order].head);
    enum migratetype type = pageblock_free(pb) == PAGEBLOCK_FRAMES ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE;
    pageblock_set(pb, pageblock_kind(pb), type);
    buddy_move_pageblock(z, pb, type);
    z->highatomic -= (uint32_t)PAGEBLOCK_FRAMES;
    released = true;
  }
  zone_unlock(z, irq);
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

static bool reclaim(unsigned order, alloc_flags_t flags) {
  uint64_t want = (uint64_t)1 << order, got = 0;
  count_stall(&zones[0], ZONE_RECLAIM_STALLS);
  for (unsigned round = 0; round < SHRINK_ROUNDS && got == 0; round++) {
    got = shrink(want > RECLAIM_BATCH ? want : RECLAIM_BATCH);
    relax(flags);
  }
  page_drain_local();
  return got != 0;
}

/* In each zone, till a block of the order is to be had or the patience ends; true if something was moved. */
static bool compact(unsigned order, alloc_flags_t flags) {
  struct compact_request request = {.mode = COMPACT_ASYNC, .order = order, .owner = COMPACT_ANY_OWNER};
  struct compact_run run;
  bool moved = false;
  for (; request.zone < zone_count; request.zone++) {
    if (compact_begin(&run, &request) != ERR_OK)
      continue;
    count_stall(&zones[request.zone], ZONE_COMPACT_STALLS);
    for (unsigned step = 0; step < COMPACT_STEPS && compact_step(&run, COMPACT_MOVES) == ERR_AGAIN; step++)
      relax(flags);
    compact_end(&run);
    moved |= run.report.moved_frames != 0;
  }
  return moved;
}

static bool take(unsigned order, alloc_flags_t flags, pfn_t *out) {
  return page_take(order, flags, mark_of(flags), out);
}

/* A piece of the zeroed pool after the other; for a single frame all of it, if need be: what is missing is no more than the reserve. */
static bool take_after_dropping(unsigned order, alloc_flags_t flags, pfn_t *out) {
  for (unsigned round = 0; (order == 0 || round < DIRECT_ROUNDS) && zero_pool_drop(); round++) {
    if (take(order, flags, out))
      return true;
  }
  return false;
}

/* What lies about, at no cost to anybody. */
static bool take_after_gathering(unsigned order, alloc_flags_t flags, pfn_t *out) {
  page_drain_local();
  page_drain_others();
  if (take(order, flags, out) || take_after_dropping(order, flags, out))
    return true;
  return !(flags & ALLOC_ATOMIC) && release_set_aside() && take(order, flags, out);
}

static bool take_with_effort(unsigned order, alloc_flags_t flags, pfn_t *out) {
  for (unsigned round = 0; round < DIRECT_ROUNDS; round++) {
    bool progress = order != 0 && flags & ALLOC_MAY_COMPACT && compact(order, flags);
    if (progress && take(order, flags, out))
      return true;
    if (flags & ALLOC_MAY_RECLAIM && reclaim(order, flags))
      progress = true;
    if (take(order, flags, out))
      return true;
    if (!progress)
      return false;
  }
  return false;
}

err_t slowpath_alloc(unsigned order, alloc_flags_t flags, pfn_t *out) {
  slowpath_wake();
  if (!take(order, flags, out) && !take_after_gathering(order, flags, out) && !take_with_effort(order, flags, out))
    return ERR_NOMEM;
  if (order != 0 && flags & ALLOC_ATOMIC)
    set_aside(*out);
  return ERR_OK;
}

/* --- ahead of need ------------------------------------------------------------------------------------------------------------------- */

static bool is_short(const struct zone *z) {
  return atomic_load_relaxed(&z->free) < z->high + atomic_load_relaxed(&z->boost) + atomic_load_relaxed(&z->highatomic);
}

/* An eighth at a time. */
static bool fade_boost(struct zone *z) {
  if (atomic_load_relaxed(&z->boost) == 0)
    return false;
  port_flags_t irq = zone_lock(z);
  z->boost -= (z->boost + 7) / 8;
  zone_unlock(z, irq);
  return true;
}

/*
 * A zone that stays short although nothing is left to reclaim: its boost fades all the same. The home's reclaim is left out: it is the last
 * resort of a request, and what it gives back ahead of need (a balloon's memory) would be taken again.
 */
static err_t step_zone(struct zone *z) {
  bool low = is_short(z);
  if ((low && shrinkers_scan(RECLAIM_BATCH) != 0) || fade_boost(z))
    return ERR_AGAIN;
  return low ? ERR_NOMEM : ERR_OK;
}

err_t page_reclaim_step(void) {
  err_t all = ERR_OK;
  page_drain_poll();
  for (struct zone *z = zones; z < zones + zone_count; z++) {
    err_t err = step_zone(z);
    if (err == ERR_AGAIN)
      return err;
    if (err != ERR_OK)
      all = err;
  }
  return all;
}

/* The hint goes first: what comes up meanwhile raises it again. */
err_t page_background_step(void) {
  atomic_store_relaxed(&page_background_due, 0u);
  err_t zones_err = page_reclaim_step();
  err_t err = zones_err == ERR_AGAIN ? ERR_AGAIN : page_zero_pool_step();
  if (err == ERR_AGAIN)
    atomic_store_relaxed(&page_background_due, 1u);
  return err == ERR_OK ? zones_err : err;
}
