/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy that knows how full every pageblock is (include/mm/compact.h): empties the cheapest ones into the holes of the others.
 *
 * A run plans first (compact_plan.c), sets aside what is planned, clears the regions that shall become larger holes, and then empties the
 * planned pageblocks, cheapest first, each into the smallest holes that will do: no frame moves into what will be emptied, and each
 * moves once. Before the first block of a pageblock moves it is asked whether all will find room, so that nothing moves for nothing. A
 * pageblock in which something refuses is one to keep from then on, and what is left to be won is planned anew.
 *
 * Somebody who waits (COMPACT_ASYNC) gets no plan: the emptiest pageblock that will yield, then the next, until he has his block.
 *
 * No lock of its own. Refuses nothing that compact_begin() let through, but a zone whose holes together are less than a pageblock.
 */
#include "mm/compact_plan.h"

#define BUSY_ROUNDS 4u
#define PLANS_MAX 4u

enum phase {
  PLANNING,
  ISOLATING,
  SORTING,
  EMPTYING,
  PICKING, /* ASYNC: a pageblock at a time */
  FINISHED
};

/* --- room ----------------------------------------------------------------------------------------------------------------------- */

/* Frames in holes that a move may use, by order. */
static void count_holes(struct zone *z, uint64_t holes[PAGEBLOCK_ORDER]) {
  port_flags_t flags = zone_lock(z);
  for (unsigned order = 0; order < PAGEBLOCK_ORDER; order++) {
    holes[order] = 0;
    for (unsigned type = 0; type <= MIGRATE_RECLAIMABLE; type++)
      holes[order] += (uint64_t)z->list[type][order].count << order;
  }
  zone_unlock(z, flags);
}

/* Used frames of a region by order of block. False if something in it is fixed. */
static bool count_used(const struct compact_run *run, uint32_t start, unsigned order, uint64_t used[PAGEBLOCK_ORDER]) {
  struct part p;
  for (unsigned o = 0; o < PAGEBLOCK_ORDER; o++)
    used[o] = 0;
  for (uint32_t at = start; at < start + (1u << order); at = part_end(&p)) {
    part_read(at, &p);
    if (p.free)
      continue;
    if (!part_is_movable(&p, run->request.owner))
      return false;
    used[p.order] += 1u << p.order;
  }
  return true;
}

/* Would all of the region, which is set aside, find room? (compact_plan.c: for every order, blocks against holes of at least that.) */
static bool fits(const struct compact_run *run, struct zone *z, uint32_t start, unsigned order) {
  uint64_t used[PAGEBLOCK_ORDER], holes[PAGEBLOCK_ORDER], need = 0, have = 0;
  if (!count_used(run, start, order, used))
    return false;
  count_holes(z, holes);
  for (unsigned o = PAGEBLOCK_ORDER; o-- != 0;) {
    need += used[o];
    have += holes[o];
    if (need > have)
      return false;
  }
  return true;
}

/* --- the next pageblock ---------------------------------------------------------------------------------------------------------- */

/* What emptying it costs; INDEX_NONE: not to be emptied. For somebody who waits, its used frames: there is no plan. */
static uint32_t rank_of(const struct compact_run *run, uint32_t pb) {
  unsigned free = pageblock_free(pb);
  if (run->request.mode != COMPACT_ASYNC)
    return pageblock_has(pb, PB_PLANNED) ? pageblocks[pb].link : INDEX_NONE;
  if (free == 0 || free == PAGEBLOCK_FRAMES || pageblock_kind(pb) != PAGEBLOCK_SPLIT || pageblock_has(pb, PB_SKIP))
    return INDEX_NONE;
  return (uint32_t)PAGEBLOCK_FRAMES - free;
}

/* Look on for the cheapest. True when all have been looked at: then best is it, or INDEX_NONE. */
static bool search_on(struct compact_run *run, struct zone *z, int *budget) {
  struct compact_search *s = &run->search;
  if (!s->under_way)
    *s = (struct compact_search){.at = pageblock_of(z->start), .best = INDEX_NONE, .rank = INDEX_NONE, .under_way = true};
  for (; s->at < pageblock_of(z->end) && *budget > 0; s->at++) {
    uint32_t rank = rank_of(run, s->at);
    if (rank < s->rank) {
      s->rank = rank;
      s->best = s->at;
    }
    *budget -= glance_cost(s->at);
  }
  s->under_way = s->at < pageblock_of(z->end);
  return !s->under_way;
}

/* --- one region ----------------------------------------------------------------------------------------------------------------- */

static void begin_region(struct compact_run *run, uint32_t start, unsigned order) {
  evacuate_begin(&run->evacuee, start, order, PAGEBLOCK_ORDER - 1, run->request.owner);
  run->rounds = 0;
}

/* Go on with the region. True when it is done with; `*empty` says how it ended. */
static bool go_on(struct compact_run *run, struct zone *z, int *budget, bool *empty) {
  const struct move_counts counts = compact_counts(run);
  uint32_t pb = pageblock_of(run->evacuee.start);
  *empty = false;
  if (!pageblock_has(pb, PB_ISOLATED))
    return true; /* given up for somebody in need */
  switch (evacuate_step(z, &run->evacuee, &counts, budget)) {
  case EVACUATION_MORE:
    return false;
  case EVACUATION_BUSY:
    *budget = 0; /* let time pass */
    return ++run->rounds >= (run->request.mode == COMPACT_ASYNC ? 1 : BUSY_ROUNDS);
  case EVACUATED:
    *empty = true;
    return true;
  default:
    pageblock_mark(z, pb, PB_SKIP, 0);
    return true;
  }
}

/* --- sorting: larger holes in what is kept --------------------------------------------------------------------------------------- */

/* False: there is none. It may be one that is spared; then the next is looked for in the next turn. */
static bool begin_next_region(struct compact_run *run, struct zone *z, int *budget) {
  uint32_t start;
  unsigned order;
  *budget -= 2 * COST_LOOK;
  if (!plan_find_region(run, run->cursor, &start, &order))
    return false;
  if (plan_spares_region(&run->plan, start, order))
    return true;
  if (!fits(run, z, start, order))
    return false;
  begin_region(run, start, order);
  return true;
}

static void leave_sorted(struct compact_run *run, struct zone *z, int *budget) {
  *budget -= COST_RETYPE;
  isolate_release(z, run->cursor);
  pageblock_mark(z, run->cursor, 0, PB_SORT);
  run->cursor++;
  run->evacuee.order = 0;
}

static void sort_step(struct compact_run *run, struct zone *z, int *budget) {
  bool empty;
  if (run->cursor >= pageblock_of(z->end)) {
    run->phase = EMPTYING;
    return;
  }
  if (!pageblock_has(run->cursor, PB_SORT)) {
    *budget -= glance_cost(run->cursor++);
    return;
  }
  if (run->evacuee.order == 0) {
    if (!begin_next_region(run, z, budget))
      leave_sorted(run, z, budget);
    return;
  }
  if (!go_on(run, z, budget, &empty))
    return;
  run->evacuee.order = 0;
  if (!empty)
    leave_sorted(run, z, budget);
}

/* --- emptying -------------------------------------------------------------------------------------------------------------------- */

static void leave_planned(struct compact_run *run, struct zone *z, int *budget) {
  uint32_t pb = pageblock_of(run->evacuee.start);
  *budget -= COST_RETYPE;
  isolate_release(z, pb);
  pageblock_mark(z, pb, 0, PB_PLANNED);
  run->evacuee.order = 0;
}

/* The planned are done: once more, if something was learnt that the plan did not know. */
static void conclude(struct compact_run *run, struct zone *z) {
  run->phase = FINISHED;
  if (run->plans < PLANS_MAX && run->refused && run->request.mode != COMPACT_ASYNC) {
    run->plans++;
    run->refused = false;
    run->phase = PLANNING;
    plan_begin(run, z);
  }
}

/* False if it would not all find room. */
static bool begin_pageblock(struct compact_run *run, struct zone *z, uint32_t pb, int *budget) {
  *budget -= COST_LOOK;
  begin_region(run, pb << PAGEBLOCK_ORDER, PAGEBLOCK_ORDER);
  return fits(run, z, run->evacuee.start, PAGEBLOCK_ORDER);
}

static void empty_step(struct compact_run *run, struct zone *z, int *budget) {
  bool empty;
  if (run->evacuee.order == 0) {
    if (!search_on(run, z, budget))
      return;
    if (run->search.best == INDEX_NONE) {
      conclude(run, z);
      return;
    }
    if (!begin_pageblock(run, z, run->search.best, budget)) {
      run->refused = true;
      leave_planned(run, z, budget);
      return;
    }
  }
  if (!go_on(run, z, budget, &empty))
    return;
  run->refused |= !empty;
  leave_planned(run, z, budget);
  if (compact_is_satisfied(run, z))
    run->phase = FINISHED;
}

/* --- for somebody who waits ------------------------------------------------------------------------------------------------------ */

static void pick_step(struct compact_run *run, struct zone *z, int *budget) {
  bool empty;
  if (run->evacuee.order == 0) {
    if (!search_on(run, z, budget))
      return;
    uint32_t pb = run->search.best;
    if (pb == INDEX_NONE) {
      run->phase = FINISHED;
      return;
    }
    run->report.scanned_frames += PAGEBLOCK_FRAMES;
    isolate_pageblock(z, pb, 0);
    pageblock_mark(z, pb, PB_SKIP, 0);
    *budget -= COST_RETYPE;
    if (!begin_pageblock(run, z, pb, budget)) {
      leave_planned(run, z, budget);
      return;
    }
  }
  if (!go_on(run, z, budget, &empty))
    return;
  leave_planned(run, z, budget);
  if (compact_is_satisfied(run, z))
    run->phase = FINISHED;
}

/* --- the run --------------------------------------------------------------------------------------------------------------------- */

static err_t begin(struct compact_run *run, struct zone *z) {
  uint64_t whole = zone_whole_pageblocks(z) << PAGEBLOCK_ORDER;
  if (zone_free_now(z) < whole + PAGEBLOCK_FRAMES)
    return ERR_NOENT;
  run->stale = PB_SKIP; /* the classic policy's hints */
  run->phase = run->request.mode == COMPACT_ASYNC ? PICKING : PLANNING;
  plan_begin(run, z);
  return ERR_OK;
}

/* A few pageblocks of the plan become what it says. */
static void isolate_step(struct compact_run *run, struct zone *z, int *budget) {
  for (; *budget > 0 && run->cursor < pageblock_of(z->end); run->cursor++) {
    *budget -= glance_cost(run->cursor);
    if (pageblock_has(run->cursor, PB_PLANNED | PB_SORT)) {
      isolate_pageblock(z, run->cursor, 0);
      *budget -= COST_RETYPE;
    }
  }
  if (run->cursor < pageblock_of(z->end))
    return;
  run->phase = SORTING;
  run->cursor = pageblock_of(z->start);
  run->evacuee.order = 0;
}

static void plan_some(struct compact_run *run, struct zone *z, int *budget) {
  if (!plan_step(run, z, budget))
    return;
  run->phase = ISOLATING;
  run->cursor = pageblock_of(z->start);
}

static err_t step(struct compact_run *run, struct zone *z, int *budget) {
  while (*budget > 0 && run->phase != FINISHED) {
    switch (run->phase) {
    case PLANNING:
      plan_some(run, z, budget);
      break;
    case ISOLATING:
      isolate_step(run, z, budget);
      break;
    case SORTING:
      sort_step(run, z, budget);
      break;
    case EMPTYING:
      empty_step(run, z, budget);
      break;
    default:
      pick_step(run, z, budget);
    }
  }
  return run->phase == FINISHED ? ERR_OK : ERR_AGAIN;
}

static unsigned marks_left(const struct compact_run *run) {
  (void)run;
  return PB_PLANNED | PB_SORT | PB_SKIP;
}

const struct compact_policy compact_occupancy = {.name = "occupancy", .begin = begin, .step = step, .marks_left = marks_left};
