/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the occupancy policy will do, decided before anything moves: which pageblocks to empty, and which parts of others to clear first.
 *
 * Block sizes divide each other, so a set of blocks fits a set of holes exactly if, for every order o, the blocks of at least o take no more
 * frames than the holes of at least o have. With single frames alone only o = 0 counts, and emptying the k least used pageblocks is optimal.
 * With larger blocks the holes of an order are a resource, and each order has a price per frame of hole, rising with the order, in units of
 * 1/4096 move. At given prices every decision is a pageblock's own:
 *
 *    to empty it costs   a move per used frame, a hole for each of its blocks, and the holes it takes along
 *    to clear a region   (aligned, of order k < 9) costs the same of the region's parts, and earns one hole of order k
 *
 * The k pageblocks that cost least are planned, after what clearing within them would have earned; k is the most that the sums allow, fixed
 * frames considered. Then supply and demand are tallied, and where an order falls short its price goes up. The cheapest plan that fits
 * wins. Prices start at zero: a layout that fits without takes one round.
 *
 * No memory but the run's: a pageblock's cost stands in its `link`, decisions in its flags, all else is computed again when needed. No lock:
 * what is read is a glimpse, and what is done about it is checked then.
 */
#include "mm/compact_plan.h"

#define ORDERS PAGEBLOCK_ORDER /* of holes: 0..8; a free pageblock is no hole */
#define FIXED (1u << 28)       /* cost of what does not move */
#define MOVE_COST 4096u
#define FIRST_STEP (MOVE_COST / 16)
#define ROUNDS_MAX 24u
#define PRICE_MAX (60u * MOVE_COST)

/* Of a region: what emptying it costs, and the most that clearing it, or regions within it, earns. */
struct worth {
  uint32_t cost, earned;
};

/* --- one pageblock -------------------------------------------------------------------------------------------------------------- */

static struct worth part_worth(const struct compact_run *run, const struct part *p) {
  uint32_t hole = run->plan.price[p->order < ORDERS ? p->order : 0];
  if (p->free)
    return (struct worth){hole << p->order, 0};
  if (!part_is_movable(p, run->request.owner))
    return (struct worth){FIXED, 0};
  return (struct worth){(hole + MOVE_COST) << p->order, 0};
}

static uint32_t own_earning(const struct compact_run *run, uint32_t cost, unsigned order) {
  uint32_t income = order < ORDERS ? run->plan.price[order] << order : 0;
  return income > cost ? income - cost : 0;
}

/* Two halves of a region of `order`. */
static struct worth join(const struct compact_run *run, struct worth a, struct worth b, unsigned order) {
  uint32_t cost = a.cost + b.cost < FIXED ? a.cost + b.cost : FIXED;
  uint32_t own = own_earning(run, cost, order), parts = a.earned + b.earned;
  return (struct worth){cost, own > parts ? own : parts};
}

/* The largest regions without anything fixed, beside something fixed, are room for blocks of their order. */
static void note_room(struct compact_plan *plan, struct worth a, struct worth b, unsigned order) {
  if (a.cost < FIXED && b.cost >= FIXED)
    plan->room[order] += 1u << order;
  if (b.cost < FIXED && a.cost >= FIXED)
    plan->room[order] += 1u << order;
}

/* Worth of the region of `order` at `start`: its parts, joined as a binary counter counts. `plan` gets sums, if given. */
static struct worth weigh(const struct compact_run *run, uint32_t start, unsigned order, struct compact_plan *plan) {
  struct worth level[PAGEBLOCK_ORDER + 1] = {{0, 0}}; /* what changes meanwhile may leave gaps */
  struct part p;
  for (uint32_t at = start; at < start + (1u << order); at = part_end(&p)) {
    part_read(at, &p);
    struct worth w = part_worth(run, &p);
    unsigned k = p.order;
    if (plan && !p.free && w.cost < FIXED)
      plan->used[k] += 1u << k;
    for (; k < order && (at >> k & 1); k++) {
      if (plan)
        note_room(plan, level[k], w, k);
      w = join(run, level[k], w, k + 1);
    }
    level[k] = w;
  }
  return level[order];
}

bool plan_find_region(const struct compact_run *run, uint32_t index, unsigned order, uint32_t *start, unsigned *found) {
  struct worth w = weigh(run, index, order, NULL);
  if (w.earned == 0)
    return false;
  if (order < ORDERS && own_earning(run, w.cost, order) == w.earned) {
    *start = index;
    *found = order;
    return true;
  }
  order--;
  return plan_find_region(run, index, order, start, found) || plan_find_region(run, index + (1u << order), order, start, found);
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
  struct worth w = weigh(run, pb << PAGEBLOCK_ORDER, PAGEBLOCK_ORDER, first ? plan : NULL);
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
  uint64_t free = atomic_load_relaxed(&z->free), whole = zone_whole_pageblocks(z), need;
  if (run->request.mode != COMPACT_PROACTIVE)
    return UINT32_MAX;
  need = (free * (100 - run->request.target_score) + 100 * PAGEBLOCK_FRAMES - 1) / (100 * PAGEBLOCK_FRAMES);
  return need > whole ? (uint32_t)(need - whole) : 0;
}

/* --- selection ------------------------------------------------------------------------------------------------------------------ */

static uint32_t count_below(struct zone *z, uint32_t cost) {
  uint32_t count = 0;
  for (uint32_t pb = pageblock_of(z->start); pb < pageblock_of(z->end); pb++)
    count += pageblocks[pb].link < cost;
  return count;
}

/* The largest threshold below which at most `wanted` pageblocks cost; of those that cost just that, as many as are left. */
static void select_cheapest(struct compact_run *run, struct zone *z) {
  struct compact_plan *plan = &run->plan;
  uint32_t low = 0;
  for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
    if (count_below(z, low | bit) <= plan->wanted)
      low |= bit;
  }
  plan->threshold = low;
  plan->ties = plan->wanted - count_below(z, low);
  plan->ties = low == INDEX_NONE ? 0 : plan->ties;
}

/* --- tally: supply and demand ---------------------------------------------------------------------------------------------------- */

static void tally_cleared(struct compact_run *run, uint32_t start, unsigned order) {
  struct part p;
  for (uint32_t at = start; at < start + (1u << order); at = part_end(&p)) {
    part_read(at, &p);
    if (!p.free && p.order < ORDERS)
      run->plan.used[p.order] += 1u << p.order;
  }
}

static void tally_holes(struct compact_run *run, uint32_t start, unsigned order) {
  struct part p;
  for (uint32_t at = start; at < start + (1u << order); at = part_end(&p)) {
    part_read(at, &p);
    if (p.free && p.order < ORDERS)
      run->plan.holes[p.order] += 1u << p.order;
  }
}

static void tally_sorted(struct compact_run *run, uint32_t start, unsigned order) {
  struct worth w = weigh(run, start, order, NULL);
  if (w.earned == 0) {
    tally_holes(run, start, order);
    return;
  }
  if (order < ORDERS && own_earning(run, w.cost, order) == w.earned) {
    tally_cleared(run, start, order);
    run->plan.holes[order] += 1u << order;
    return;
  }
  tally_sorted(run, start, order - 1);
  tally_sorted(run, start + (1u << (order - 1)), order - 1);
}

static int64_t hole_value(const struct compact_run *run, uint32_t start) {
  int64_t value = 0;
  struct part p;
  for (uint32_t at = start; at < start + PAGEBLOCK_FRAMES; at = part_end(&p)) {
    part_read(at, &p);
    if (p.free && p.order < ORDERS)
      value += (int64_t)run->plan.price[p.order] << p.order;
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
  if (is_selected(&run->plan, pageblocks[pb].link)) {
    pageblock_mark(z, pb, PB_PLANNED, PB_SORT);
    run->plan.bound += pageblocks[pb].link;
    tally_cleared(run, start, PAGEBLOCK_ORDER);
  } else if (pageblock_has(pb, PB_SORT)) {
    tally_sorted(run, start, PAGEBLOCK_ORDER);
  } else {
    tally_holes(run, start, PAGEBLOCK_ORDER);
  }
  run->plan.bound -= hole_value(run, start);
}

/* --- prices --------------------------------------------------------------------------------------------------------------------- */

/* By how many frames each order falls short (or, negative, has left); the worst of them. */
static int64_t shortage(const struct compact_plan *plan, int64_t by_order[ORDERS]) {
  int64_t missing = 0, worst = 0;
  for (unsigned order = ORDERS; order-- != 0;) {
    missing += (int64_t)plan->used[order] - (int64_t)plan->holes[order];
    by_order[order] = missing;
    worst = missing > worst ? missing : worst;
  }
  return worst;
}

static uint64_t total_used(const struct compact_plan *plan) {
  uint64_t sum = 0;
  for (unsigned order = 0; order < ORDERS; order++)
    sum += plan->used[order];
  return sum;
}

/* Up where an order falls short, down where it has more left than a few pageblocks. */
static int direction(const struct compact_plan *plan, int64_t missing) {
  if (missing > 0)
    return 1;
  return missing < -((int64_t)plan->wanted << PAGEBLOCK_ORDER) / 64 ? -1 : 0;
}

/*
 * Each order's surcharge over the one below moves by a step of its own, which grows while it goes on in one direction and halves when it
 * turns (resilient propagation): the sums jump with the prices, so their size says little, and their sign is what counts.
 */
static void change_prices(struct compact_plan *plan, const int64_t by_order[ORDERS]) {
  int64_t below = 0, price = 0;
  for (unsigned order = 1; order < ORDERS; order++) {
    int way = direction(plan, by_order[order]);
    if (way * plan->way[order] > 0)
      plan->step[order] += plan->step[order] / 4;
    else if (way * plan->way[order] < 0)
      plan->step[order] /= 2;
    if (way != 0)
      plan->way[order] = (int8_t)way;
    int64_t surcharge = (int64_t)plan->price[order] - below + way * (int64_t)plan->step[order];
    below = plan->price[order];
    price += surcharge > 0 ? surcharge : 0;
    price = price < (int64_t)PRICE_MAX ? price : (int64_t)PRICE_MAX;
    plan->price[order] = (uint32_t)price;
  }
}

static void keep_as_best(struct compact_plan *plan, uint64_t cost) {
  if (cost >= plan->best_cost)
    return;
  plan->best_cost = cost;
  for (unsigned order = 0; order < ORDERS; order++)
    plan->best_price[order] = plan->price[order];
}

/* The search is over: the best plan is made once more. If there was none that fits, the last will do: what finds no room stays. */
static void settle(struct compact_plan *plan) {
  plan->settled = true;
  for (unsigned order = 0; order < ORDERS && plan->best_cost != UINT64_MAX; order++)
    plan->price[order] = plan->best_price[order];
}

/* What no plan can cost less than, as these prices prove (the Lagrangian dual), in moves. */
static int64_t proven_cost(const struct compact_plan *plan) {
  return plan->bound / (int64_t)MOVE_COST;
}

/* After a round. True if the plan stands. */
static bool adjust(struct compact_run *run) {
  struct compact_plan *plan = &run->plan;
  int64_t by_order[ORDERS], proven = proven_cost(plan);
  if (plan->settled)
    return true;
  if (proven > plan->proven)
    plan->proven = proven;
  int64_t worst = shortage(plan, by_order);
  if (worst <= (int64_t)(plan->wanted / 256) << PAGEBLOCK_ORDER)
    keep_as_best(plan, total_used(plan));
  if (plan->round == 0 && plan->best_cost != UINT64_MAX)
    return true;
  if (++plan->round >= ROUNDS_MAX || plan->best_cost <= (uint64_t)plan->proven + (uint64_t)plan->proven / 64) {
    settle(plan);
    return false;
  }
  change_prices(plan, by_order);
  return false;
}

/* --- the whole ------------------------------------------------------------------------------------------------------------------ */

static void clear_sums(struct compact_plan *plan) {
  for (unsigned order = 0; order <= PAGEBLOCK_ORDER; order++)
    plan->used[order] = plan->holes[order] = plan->room[order] = 0;
}

void plan_begin(struct compact_run *run, struct zone *z) {
  run->plan = (struct compact_plan){.best_cost = UINT64_MAX};
  for (unsigned order = 0; order < ORDERS; order++)
    run->plan.step[order] = FIRST_STEP;
  run->cursor = pageblock_of(z->start);
}

/* All pageblocks have been surveyed. */
static void begin_tally(struct compact_run *run, struct zone *z) {
  struct compact_plan *plan = &run->plan;
  if (plan->round == 0) {
    uint32_t wanted = wanted_by_mode(run, z);
    plan->most = most_possible(plan);
    plan->wanted = wanted < plan->most ? wanted : plan->most;
  }
  select_cheapest(run, z);
  clear_sums(plan);
  plan->tallying = true;
  run->cursor = pageblock_of(z->start);
}

static bool end_tally(struct compact_run *run, struct zone *z) {
  bool stands = adjust(run);
  run->plan.tallying = false;
  run->plan.bound = 0;
  run->cursor = pageblock_of(z->start);
  return stands;
}

bool plan_step(struct compact_run *run, struct zone *z, unsigned max_pageblocks) {
  for (unsigned i = 0; i < max_pageblocks && run->cursor < pageblock_of(z->end); i++, run->cursor++) {
    if (run->plan.tallying)
      tally(run, z, run->cursor);
    else
      survey(run, z, run->cursor);
  }
  if (run->cursor < pageblock_of(z->end))
    return false;
  if (run->plan.tallying)
    return end_tally(run, z);
  begin_tally(run, z);
  return false;
}
