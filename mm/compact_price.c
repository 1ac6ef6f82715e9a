/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The prices of holes, by order, that a plan of the occupancy policy is made with (compact_plan.c, which has the idea), and the judgement
 * of what came of them.
 *
 * After each round the tallies say where holes of an order or more are short; prices change, and the next round plans with them. A plan's
 * cost is the frames it moves. What the prices prove no plan can go below (the Lagrangian dual) ends the search early; else it ends after a
 * fixed number of rounds, with the cheapest plan that fitted.
 *
 * Works on the run's plan alone: no lock, no pageblock is looked at. Never refuses: if nothing fits, the last plan will do.
 */
#include "mm/compact_plan.h"

#define FIRST_STEP (MOVE_COST / 16)
#define ROUNDS_MAX 24u
#define PRICE_MAX (60u * MOVE_COST)

void plan_begin_prices(struct compact_plan *plan) {
  plan->best_cost = UINT64_MAX;
  for (unsigned order = 0; order < ORDERS; order++)
    plan->step[order] = FIRST_STEP;
}

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

bool plan_adjust(struct compact_plan *plan) {
  int64_t by_order[ORDERS], proven = proven_cost(plan);
  int64_t worst = shortage(plan, by_order);
  for (unsigned order = 0; order < ORDERS; order++)
    plan->left_over[order] = -by_order[order];
  if (plan->settled)
    return true;
  if (proven > plan->proven)
    plan->proven = proven;
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
