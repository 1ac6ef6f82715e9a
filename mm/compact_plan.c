/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the occupancy policy will do, decided before anything moves: which pageblocks to empty, and which parts of others to clear first.
 *
 * Block sizes divide each other, so a set of blocks fits a set of holes exactly if, for every order o, the blocks of at least o take no
 * more frames than the holes of at least o have. With single frames alone only o = 0 counts, and emptying the k least used pageblocks is
 * optimal. With larger blocks the holes of an order are a resource, and each order has a price per frame of hole, rising with the order, in
 * units of 1/4096 move. At given prices every decision is a pageblock's own:
 *
 *    to empty it costs   a move per used frame, a hole for each of its blocks, and the holes it takes along
 *    to clear a region   (aligned, of order k < 9) costs the same of the region's parts, and earns one hole of order k
 *
 * The k pageblocks that cost least are planned, after what clearing within them would have earned; k is the most that the sums allow, fixed
 * frames considered. Then supply and demand are tallied, and where an order falls short its price goes up. The cheapest plan that fits
 * wins. Prices start at zero: a layout that fits without takes one round.
 *
 * No memory but the run's: a pageblock's cost stands in its `link`, decisions in its flags, all else is computed again when needed. No
 * lock: what is read is a glimpse, and what is done about it is checked then.
 */
#include "mm/compact_plan.h"

#define FIXED (1u << 28) /* cost of what does not move */

/* Walks over the zone's pageblocks, which follow one another. */
enum plan_stage {
  SURVEYING,
  SELECTING,
  TALLYING
};

/* Of a region: what emptying it costs, the most that clearing it, or regions within it, earns, and the first of those that do. */
struct worth {
  uint32_t cost, earned;
  uint32_t first; /* frame of the pageblock, and above that the order */
};

/* --- one pageblock -------------------------------------------------------------------------------------------------------------- */

static ALWAYS_INLINE struct worth part_worth(const struct compact_run *run, const struct part *p) {
  uint32_t hole = run->plan.price[p->order < ORDERS ? p->order : 0];
  if (p->free)
    return (struct worth){.cost = hole << p->order};
  if (!part_is_movable(p, run->request.owner))
    return (struct worth){.cost = FIXED};
  return (struct worth){.cost = (hole + MOVE_COST) << p->order};
}

/*
 * Two halves of the region of `order` that holds `at`. `*whole`: clearing all of it is what earns most; it must not begin before sort_from.
 */
static ALWAYS_INLINE struct worth join(const struct compact_run *run, struct worth a, struct worth b, uint32_t at, unsigned order,
                                       bool *whole) {
  uint32_t cost = a.cost + b.cost < FIXED ? a.cost + b.cost : FIXED, parts = a.earned + b.earned;
  uint32_t income = order < ORDERS ? run->plan.price[order] << order : 0;
  uint32_t start = at & ~((1u << order) - 1);
  *whole = unlikely(income > cost) && income - cost >= parts && start >= run->plan.sort_from;
  if (*whole)
    return (struct worth){cost, income - cost, (start & ((1u << PAGEBLOCK_ORDER) - 1)) | order << PAGEBLOCK_ORDER};
  return (struct worth){cost, parts, a.earned != 0 ? a.first : b.first};
}

/* The largest regions without anything fixed, beside something fixed, are room for blocks of their order. */
static ALWAYS_INLINE void note_room(struct compact_plan *plan, struct worth a, struct worth b, unsigned order) {
  if (a.cost < FIXED && b.cost >= FIXED)
    plan->room[order] += 1u << order;
  if (b.cost < FIXED && a.cost >= FIXED)
    plan->room[order] += 1u << order;
}

/* Worth of the pageblock at `start`: its parts, joined as a binary counter counts. `plan` gets sums, if given. */
static ALWAYS_INLINE struct worth weigh(const struct compact_run *run, uint32_t start, struct compact_plan *plan) {
  struct worth level[PAGEBLOCK_ORDER + 1] = {{0}}; /* what changes meanwhile may leave gaps */
  struct part p;
  bool whole;
  for (uint32_t at = start; at < start + PAGEBLOCK_FRAMES; at = part_end(&p)) {
    part_glimpse(at, &p);
    struct worth w = part_worth(run, &p);
    unsigned k = p.order;
    if (plan && !p.free && w.cost < FIXED)
      plan->used[k] += 1u << k;
    for (; k < PAGEBLOCK_ORDER && (at >> k & 1); k++) {
      if (plan)
        note_room(plan, level[k], w, k);
      w = join(run, level[k], w, at, k + 1, &whole);
    }
    level[k] = w;
  }
  return level[PAGEBLOCK_ORDER];
}

/* Left alone, all that is in the region, free or not, stays a hole or a block of its own order. */
bool plan_spares_region(struct compact_plan *plan, uint32_t start, unsigned order) {
  int64_t kept[ORDERS] = {0}, loss[ORDERS] = {0}, frames = 1 << order;
  struct part p;
  for (uint32_t at = start; at < start + (1u << order); at = part_end(&p)) {
    part_glimpse(at, &p);
    kept[p.order < ORDERS ? p.order : 0] += 1 << p.order;
  }
  for (unsigned o = order + 1; o-- != 0; frames -= kept[o]) {
    loss[o] = frames - kept[o];
    if (loss[o] > 0 && plan->left_over[o] < loss[o])
      return false;
  }
  for (unsigned o = 0; o <= order; o++)
    plan->left_over[o] -= loss[o];
  plan->sort_from = start + (1u << order);
  return true;
}

bool plan_find_region(const struct compact_run *run, uint32_t pb, uint32_t *start, unsigned *order) {
  struct worth w = weigh(run, pb << PAGEBLOCK_ORDER, NULL);
  *start = pb << PAGEBLOCK_ORDER | (w.first & ((1u << PAGEBLOCK_ORDER) - 1));
  *order = w.first >> PAGEBLOCK_ORDER;
  return w.earned != 0;
}

/* --- survey: what each pageblock costs ------------------------------------------------------------------------------------------ */

static bool may_be_planned(uint32_t pb) {
  return pageblock_kind(pb) == PAGEBLOCK_SPLIT && pageblock_free(pb) < PAGEBLOCK_FRAMES;
}

static void survey(struct compact_run *run, struct zone *z, uint32_t pb) {
  struct compact_plan *plan = &run->plan;
  bool first = plan->round == 0;
  pageblocks[pb].link = INDEX_NONE;
  if (pageblock_has(pb, PB_PLANNED | PB_SORT))
    pageblock_mark(z, pb, 0, PB_PLANNED | PB_SORT);
  if (!may_be_planned(pb))
    return;
  struct worth w = first ? weigh(run, pb << PAGEBLOCK_ORDER, plan) : weigh(run, pb << PAGEBLOCK_ORDER, NULL);
  run->report.scanned_frames += PAGEBLOCK_FRAMES;
  plan->bound -= w.earned;
  if (w.earned != 0)
    pageblock_mark(z, pb, PB_SORT, 0);
  if (w.cost >= FIXED || pageblock_has(pb, PB_SKIP))
    return;
  pageblocks[pb].link = w.cost + w.earned;
  plan->candidates += first;
}

/* The most pageblocks that can be emptied, whatever it costs: all blocks into the room beside fixed frames and into whole pageblocks. */
static uint32_t most_possible(const struct compact_plan *plan) {
  uint64_t used = 0, room = 0, keep = 0;
  for (unsigned order = ORDERS; order-- != 0;) {
    used += plan->used[order];
    room += plan->room[order];
    if (used > room)
      keep = max_u64(keep, (used - room + PAGEBLOCK_FRAMES - 1) >> PAGEBLOCK_ORDER);
  }
  return keep < plan->candidates ? plan->candidates - (uint32_t)keep : 0;
}

/* How many the mode asks for. */
static uint32_t wanted_by_mode(const struct compact_run *run, struct zone *z) {
  uint64_t free = zone_free_now(z), whole = zone_whole_pageblocks(z), need;
  if (run->request.mode != COMPACT_PROACTIVE)
    return UINT32_MAX;
  need = (free * (100 - run->request.target_score) + 100 * PAGEBLOCK_FRAMES - 1) / (100 * PAGEBLOCK_FRAMES);
  return need > whole ? (uint32_t)(need - whole) : 0;
}

/* --- selection ------------------------------------------------------------------------------------------------------------------ */

static void begin_selection(struct compact_plan *plan) {
  plan->threshold = plan->below = 0;
  plan->ties = plan->wanted;
  plan->bit = 1u << 31;
}

/*
 * The largest threshold below which at most `wanted` pageblocks cost; of those that cost just that, as many as are left. A walk for each
 * bit of the threshold, this is at its end. True if it was the last.
 */
static bool end_selection_walk(struct compact_plan *plan) {
  if (plan->below <= plan->wanted) {
    plan->threshold |= plan->bit;
    plan->ties = plan->threshold == INDEX_NONE ? 0 : plan->wanted - plan->below;
  }
  plan->bit >>= 1;
  plan->below = 0;
  return plan->bit == 0;
}

/* --- tally: supply and demand ---------------------------------------------------------------------------------------------------- */

/*
 * One walk over a pageblock that is planned (its blocks need holes) or kept as it is (its holes are for others); what its holes are worth
 * at the prices.
 */
static int64_t tally_plain(struct compact_run *run, uint32_t start, bool planned) {
  uint64_t *sums = planned ? run->plan.used : run->plan.holes;
  int64_t value = 0;
  struct part p;
  for (uint32_t at = start; at < start + PAGEBLOCK_FRAMES; at = part_end(&p)) {
    part_glimpse(at, &p);
    if (p.order >= ORDERS)
      continue;
    if (p.free)
      value += (int64_t)run->plan.price[p.order] << p.order;
    if (p.free != planned)
      sums[p.order] += 1u << p.order;
  }
  return value;
}

/*
 * A region of a pageblock of which parts may be cleared: by orders, its blocks; and of the best choice, what is cleared, and the holes
 * then.
 */
struct region {
  struct worth worth;
  uint16_t blocks[ORDERS], cleared[ORDERS], holes[ORDERS];
};

static void region_of_part(const struct compact_run *run, const struct part *p, struct region *r) {
  *r = (struct region){.worth = part_worth(run, p)};
  if (p->order < ORDERS && p->free)
    r->holes[p->order] = (uint16_t)(1u << p->order);
  else if (p->order < ORDERS)
    r->blocks[p->order] = (uint16_t)(1u << p->order);
}

/* `b`, the second half, becomes the region of `order` that holds `at`. */
static void join_regions(const struct compact_run *run, const struct region *a, struct region *b, uint32_t at, unsigned order) {
  bool whole;
  b->worth = join(run, a->worth, b->worth, at, order, &whole);
  for (unsigned o = 0; o < order; o++) {
    b->blocks[o] = (uint16_t)(b->blocks[o] + a->blocks[o]);
    b->cleared[o] = whole ? b->blocks[o] : (uint16_t)(b->cleared[o] + a->cleared[o]);
    b->holes[o] = whole ? 0 : (uint16_t)(b->holes[o] + a->holes[o]);
  }
  if (whole)
    b->holes[order] = (uint16_t)(1u << order);
}

static int64_t tally_sorted(struct compact_run *run, uint32_t start) {
  struct region level[PAGEBLOCK_ORDER + 1] = {{.worth = {0}}}, r;
  int64_t value = 0;
  struct part p;
  for (uint32_t at = start; at < start + PAGEBLOCK_FRAMES; at = part_end(&p)) {
    part_glimpse(at, &p);
    region_of_part(run, &p, &r);
    if (p.free && p.order < ORDERS)
      value += (int64_t)run->plan.price[p.order] << p.order;
    unsigned k = p.order;
    for (; k < PAGEBLOCK_ORDER && (at >> k & 1); k++)
      join_regions(run, &level[k], &r, at, k + 1);
    level[k] = r;
  }
  for (unsigned o = 0; o < ORDERS; o++) {
    run->plan.used[o] += level[PAGEBLOCK_ORDER].cleared[o];
    run->plan.holes[o] += level[PAGEBLOCK_ORDER].holes[o];
  }
  return value;
}

/* Is the pageblock among the cheapest? Asked once for each, in order. */
static bool is_selected(struct compact_plan *plan, uint32_t cost) {
  if (cost != plan->threshold || plan->ties == 0)
    return cost < plan->threshold;
  plan->ties--;
  return true;
}

static void tally(struct compact_run *run, struct zone *z, uint32_t pb) {
  uint32_t start = pb << PAGEBLOCK_ORDER;
  if (!may_be_planned(pb))
    return;
  bool planned = is_selected(&run->plan, pageblocks[pb].link);
  if (planned) {
    pageblock_mark(z, pb, PB_PLANNED, PB_SORT);
    run->plan.bound += pageblocks[pb].link;
  }
  run->plan.bound -= pageblock_has(pb, PB_SORT) ? tally_sorted(run, start) : tally_plain(run, start, planned);
}

/* --- the whole ------------------------------------------------------------------------------------------------------------------ */

static void clear_sums(struct compact_plan *plan) {
  for (unsigned order = 0; order <= PAGEBLOCK_ORDER; order++)
    plan->used[order] = plan->holes[order] = plan->room[order] = 0;
}

void plan_begin(struct compact_run *run, struct zone *z) {
  run->plan = (struct compact_plan){0};
  plan_begin_prices(&run->plan);
  run->cursor = pageblock_of(z->start);
}

/* The walk over all pageblocks that ended is followed by one of `stage`. */
static void begin_walk(struct compact_run *run, const struct zone *z, enum plan_stage stage) {
  run->plan.stage = stage;
  run->cursor = pageblock_of(z->start);
}

static void end_survey(struct compact_run *run, struct zone *z) {
  struct compact_plan *plan = &run->plan;
  if (plan->round == 0) {
    uint32_t wanted = wanted_by_mode(run, z);
    plan->most = most_possible(plan);
    plan->wanted = wanted < plan->most ? wanted : plan->most;
  }
  begin_selection(plan);
  clear_sums(plan);
  begin_walk(run, z, SELECTING);
}

static bool end_tally(struct compact_run *run, struct zone *z) {
  bool stands = plan_adjust(&run->plan);
  run->plan.bound = 0;
  begin_walk(run, z, SURVEYING);
  return stands;
}

/* One pageblock; returns what that costs. */
static int visit(struct compact_run *run, struct zone *z, uint32_t pb) {
  struct compact_plan *plan = &run->plan;
  if (plan->stage == SELECTING) {
    plan->below += pageblocks[pb].link < (plan->threshold | plan->bit);
    return glance_cost(pb);
  }
  int cost = !may_be_planned(pb)          ? glance_cost(pb)
             : plan->stage == SURVEYING   ? COST_LOOK
             : pageblock_has(pb, PB_SORT) ? COST_SORT
                                          : COST_LOOK;
  if (plan->stage == SURVEYING)
    survey(run, z, pb);
  else
    tally(run, z, pb);
  return cost;
}

bool plan_step(struct compact_run *run, struct zone *z, int *budget) {
  for (; *budget > 0 && run->cursor < pageblock_of(z->end); run->cursor++)
    *budget -= visit(run, z, run->cursor);
  if (run->cursor < pageblock_of(z->end))
    return false;
  switch (run->plan.stage) {
  case SURVEYING:
    end_survey(run, z);
    return false;
  case SELECTING:
    begin_walk(run, z, end_selection_walk(&run->plan) ? TALLYING : SELECTING);
    return false;
  default:
    return end_tally(run, z);
  }
}
