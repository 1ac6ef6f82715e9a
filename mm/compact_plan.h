/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_COMPACT_PLAN_H
#define MM_COMPACT_PLAN_H

/*
 * The occupancy policy's plan; see mm/compact_plan.c. Its result stands in the pageblocks: PB_PLANNED, with its cost in `link`, and
 * PB_SORT.
 */

#include "mm/compaction.h"

#define ORDERS PAGEBLOCK_ORDER /* of holes: 0..8; a free pageblock is no hole */
#define MOVE_COST 4096u        /* prices are in parts of a move */

void plan_begin(struct compact_run *run, struct zone *z);
/* Go on planning until the budget is spent. True when the plan stands. */
bool plan_step(struct compact_run *run, struct zone *z, int *budget);

/* The tallies of a round are complete: true if the plan stands, else there are new prices for another (compact_price.c). */
bool plan_adjust(struct compact_plan *plan);
/* The first prices. */
void plan_begin_prices(struct compact_plan *plan);

#define COST_SORT (COST_LOOK + COST_LOOK / 4) /* of tallying a pageblock that is to be sorted */

/* The next region of a pageblock that is worth clearing, at the plan's prices and as things are now. */
bool plan_find_region(const struct compact_run *run, uint32_t pb, uint32_t *start, unsigned *order);

/*
 * Would the plan still fit if the region were left alone? Then it is, and what is left over is less by as much. A price at which many
 * regions are worth clearing has all of them planned, where a few would do: this takes the others out again.
 */
bool plan_spares_region(struct compact_plan *plan, uint32_t start, unsigned order);

#endif
