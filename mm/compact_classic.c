/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The classic policy: the pair of scanners that Linux has (mm/compaction.c there), kept as it is to be compared with.
 *
 * The migrate scanner walks pageblocks upwards from the zone's start and moves what is movable; the free scanner walks downwards from its
 * end and finds where to. When they meet the pass is over. Suitability comes first (compaction_suitable: enough free frames above the low
 * watermark; extfrag_index: failure would be for want of contiguity, not of memory). A pageblock that gave nothing gets a skip hint, which
 * later asynchronous passes obey; hints are dropped when a pass has gone through the whole zone. After a pass that did not help, the next
 * 2^n attempts are deferred, n up to 6. Before the linear walk, a few of the lowest pageblocks with large free blocks are tried
 * (fast_find_migrateblock), and targets come first from free lists in the upper half of the zone (fast_isolate_freepages). As in Linux
 * since 6.9, blocks keep their order: the target is one of that order.
 *
 * It does not know how full a pageblock is, and does not mind whether it will become empty. That is the model, not an oversight.
 */
#include "mm/compaction.h"

#define DEFER_SHIFT_MAX 6u
#define FAST_TRIES 8u /* free blocks looked at in a list (Linux: freelist_scan_limit, 32 / 2 and falling) */
#define NEAR_PAGEBLOCKS 4u
#define EXTFRAG_MAX 500 /* thousandths: below, it is lack of memory (Linux: sysctl_extfrag_threshold) */

/* --- suitability ----------------------------------------------------------------------------------------------------------------- */

static bool is_deferred(struct zone *z) {
  uint32_t limit = 1u << z->defer_shift;
  if (++z->defer_considered < limit)
    return true;
  z->defer_considered = limit;
  return false;
}

static void defer(struct zone *z) {
  z->defer_considered = 0;
  z->defer_shift += z->defer_shift < DEFER_SHIFT_MAX;
}

/*
 * Room for the targets above the low watermark: twice the block, as Linux's compact_gap. A sync run was asked for by somebody, and comes.
 */
static bool is_suitable(struct zone *z, const struct compact_request *r) {
  uint64_t free_blocks[MAX_ORDER + 1];
  if (r->mode == COMPACT_SYNC)
    return true;
  if (zone_free_now(z) < z->low + ((uint64_t)2 << r->order))
    return false;
  zone_free_blocks(z, free_blocks);
  int index = extfrag_index(free_blocks, r->order);
  return index < 0 || index > EXTFRAG_MAX || r->mode == COMPACT_PROACTIVE;
}

static err_t begin(struct compact_run *run, struct zone *z) {
  if (!is_suitable(z, &run->request) || (run->request.mode == COMPACT_ASYNC && is_deferred(z)))
    return ERR_NOENT;
  run->stale = run->request.mode == COMPACT_ASYNC ? 0 : PB_SKIP;
  run->scanners = (struct compact_scanners){.migrate = z->start, .free = z->end, .fast_tries = FAST_TRIES};
  return ERR_OK;
}

/* --- the free scanner ------------------------------------------------------------------------------------------------------------- */

/* The free scanner's own bound: the migrate scanner must stay below. */
static bool have_met(const struct compact_run *run) {
  return pageblock_of(run->scanners.migrate) >= pageblock_of(run->scanners.free - 1);
}

/* Movable pageblocks only, and none that is wholly free (suitable_migration_target). */
static bool is_target(const struct compact_run *run, uint32_t pb) {
  if (pageblock_type(pb) != MIGRATE_MOVABLE || pageblock_kind(pb) != PAGEBLOCK_SPLIT || pageblock_free(pb) == PAGEBLOCK_FRAMES)
    return false;
  return pageblock_free(pb) != 0 && !(run->request.mode == COMPACT_ASYNC && pageblock_has(pb, PB_SKIP));
}

/* From the free lists: a block of the order, or the next larger, that lies in the upper half of what the scanners have left. */
static bool take_fast(struct compact_run *run, struct zone *z, unsigned order, pfn_t *out) {
  uint32_t low = run->scanners.migrate + (run->scanners.free - run->scanners.migrate) / 2, found = INDEX_NONE;
  port_flags_t flags = zone_lock(z);
  for (unsigned o = order; o < PAGEBLOCK_ORDER && found == INDEX_NONE; o++) {
    const struct free_list *list = &z->list[MIGRATE_MOVABLE][o];
    uint32_t at = list->head;
    for (unsigned i = 0; i < list->count && i < FAST_TRIES; i++, at = frame_at(at)->next) {
      if (at >= low && at < run->scanners.free && (found == INDEX_NONE || at > found))
        found = at;
    }
  }
  zone_unlock(z, flags);
  return found != INDEX_NONE && target_take_at(z, found, order, out);
}

/* A free block of at least `order` in the pageblock. */
static bool take_in(struct compact_run *run, struct zone *z, uint32_t pb, unsigned order, pfn_t *out) {
  struct part p;
  for (uint32_t at = pb << PAGEBLOCK_ORDER; at < (pb + 1) << PAGEBLOCK_ORDER; at = part_end(&p)) {
    part_read(at, &p);
    run->report.scanned_frames += 1u << p.order;
    if (p.free && p.order >= order && target_take_at(z, at, order, out))
      return true;
  }
  return false;
}

/* A block of a larger order may be a few pageblocks away, while single frames still find room here: the scanner stays. */
static bool take_near(struct compact_run *run, struct zone *z, unsigned order, pfn_t *out) {
  uint32_t pb = pageblock_of(run->scanners.free - 1);
  for (unsigned i = 0; i < NEAR_PAGEBLOCKS && pb > pageblock_of(run->scanners.migrate); i++, pb--) {
    if (is_target(run, pb) && take_in(run, z, pb, order, out))
      return true;
  }
  return false;
}

/* Downwards from where the scanner stands, which leaves full pageblocks behind; till the budget is spent. */
static bool take_linear(struct compact_run *run, struct zone *z, unsigned order, pfn_t *out, int *budget) {
  while (!have_met(run) && *budget > 0) {
    uint32_t pb = pageblock_of(run->scanners.free - 1);
    if (is_target(run, pb) && order != 0)
      return take_near(run, z, order, out);
    if (is_target(run, pb) && take_in(run, z, pb, order, out))
      return true;
    *budget -= is_target(run, pb) ? COST_LOOK : glance_cost(pb);
    run->scanners.free = pb << PAGEBLOCK_ORDER;
  }
  return false;
}

static bool take_target(struct compact_run *run, struct zone *z, unsigned order, pfn_t *out, int *budget) {
  return take_fast(run, z, order, out) || take_linear(run, z, order, out, budget);
}

/* --- the migrate scanner ---------------------------------------------------------------------------------------------------------- */

/* Async runs take movable pageblocks only; none takes what is wholly free, or has a hint. */
static bool is_source(const struct compact_run *run, uint32_t pb) {
  if (pageblock_kind(pb) != PAGEBLOCK_SPLIT || pageblock_free(pb) == PAGEBLOCK_FRAMES || pageblock_has(pb, PB_SKIP))
    return false;
  return run->request.mode != COMPACT_ASYNC || pageblock_type(pb) == MIGRATE_MOVABLE;
}

/* False if the budget has gone into the search for a target: once more then. */
static bool move_part(struct compact_run *run, struct zone *z, const struct part *p, int *budget) {
  pfn_t to;
  enum move_result r = p->can;
  if (r == MOVE_DONE && run->request.owner != COMPACT_ANY_OWNER && run->request.owner != p->owner)
    r = MOVE_UNMOVABLE;
  if (r == MOVE_DONE && !take_target(run, z, p->order, &to, budget)) {
    if (*budget <= 0 && !have_met(run))
      return false;
    r = MOVE_NO_ROOM;
  } else if (r == MOVE_DONE) {
    r = frame_move(index_pfn(p->index), p->order, to);
    if (r != MOVE_DONE)
      page_free_direct(to, p->order);
  }
  if (r != MOVE_DONE) {
    run->report.failed_blocks[r]++;
    return true;
  }
  *budget -= 1 << p->order;
  run->report.moved_frames += 1u << p->order;
  run->report.moved_blocks++;
  run->scanners.moved_here = true;
  return true;
}

/* One part further. At the end of a pageblock: is it enough? A pageblock that gave nothing is not looked at again soon. */
static void scan_part(struct compact_run *run, struct zone *z, int *budget) {
  struct part p;
  uint32_t at = run->scanners.migrate, pb = pageblock_of(at);
  part_read(at, &p);
  run->report.scanned_frames += 1u << p.order;
  if (!p.free && p.order < PAGEBLOCK_ORDER && !move_part(run, z, &p, budget))
    return;
  run->scanners.migrate = part_end(&p);
  if (pageblock_of(run->scanners.migrate) != pb && !run->scanners.moved_here)
    pageblock_mark(z, pb, PB_SKIP, 0);
}

/* Before the walk: the lowest of the pageblocks that have large free blocks, since little is left to be moved out of them. */
static bool find_fast(struct compact_run *run, struct zone *z) {
  uint32_t found = INDEX_NONE, limit = z->start + (run->scanners.free - z->start) / 8;
  port_flags_t flags = zone_lock(z);
  for (unsigned o = PAGEBLOCK_ORDER - 1; o >= PAGEBLOCK_ORDER / 2 && found == INDEX_NONE; o--) {
    const struct free_list *list = &z->list[MIGRATE_MOVABLE][o];
    uint32_t at = list->head;
    for (unsigned i = 0; i < list->count && i < FAST_TRIES; i++, at = frame_at(at)->next) {
      if (at < limit && at < found && !pageblock_has(pageblock_of(at), PB_SKIP))
        found = at;
    }
  }
  zone_unlock(z, flags);
  run->scanners.walk = run->scanners.migrate;
  if (found != INDEX_NONE && pageblock_of(found) > pageblock_of(run->scanners.migrate))
    run->scanners.migrate = pageblock_of(found) << PAGEBLOCK_ORDER;
  return run->scanners.migrate != run->scanners.walk;
}

/* The next pageblock: one found quickly, for the first few of a direct run; else the next of the walk, as far as the budget goes. */
static void enter_pageblock(struct compact_run *run, struct zone *z, int *budget) {
  struct compact_scanners *s = &run->scanners;
  s->moved_here = false;
  if (s->walk != 0) {
    s->migrate = s->walk;
    s->walk = 0;
  }
  if (run->request.mode == COMPACT_ASYNC && s->fast_tries != 0) {
    s->fast_tries--;
    if (find_fast(run, z))
      return;
    s->walk = 0;
  }
  for (; *budget > 0 && !have_met(run) && !is_source(run, pageblock_of(s->migrate)); s->migrate += (uint32_t)PAGEBLOCK_FRAMES)
    *budget -= glance_cost(pageblock_of(s->migrate));
}

/* --- the run ---------------------------------------------------------------------------------------------------------------------- */

static err_t finish(struct compact_run *run, struct zone *z) {
  if (zone_has_block(z, run->request.order))
    z->defer_shift = z->defer_considered = 0;
  else if (run->request.mode != COMPACT_ASYNC)
    defer(z);
  return ERR_OK;
}

/* At the start of a pageblock, which is to be a source. */
static bool is_between(const struct compact_run *run) {
  return (run->scanners.migrate & (PAGEBLOCK_FRAMES - 1)) == 0;
}

static err_t step(struct compact_run *run, struct zone *z, int *budget) {
  for (unsigned parts = 1; *budget > 0; parts++) {
    if (is_between(run)) {
      if (compact_is_satisfied(run, z))
        return finish(run, z);
      enter_pageblock(run, z, budget);
    }
    if (have_met(run))
      return finish(run, z);
    if (!is_between(run) || is_source(run, pageblock_of(run->scanners.migrate)))
      scan_part(run, z, budget);
    *budget -= parts % (PAGEBLOCK_FRAMES / COST_LOOK) == 0;
  }
  return ERR_AGAIN;
}

/* A pass that went through the whole zone drops its hints. */
static unsigned marks_left(const struct compact_run *run) {
  return have_met(run) ? PB_SKIP : 0;
}

const struct compact_policy compact_classic = {.name = "classic", .begin = begin, .step = step, .marks_left = marks_left};
