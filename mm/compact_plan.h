/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_COMPACT_PLAN_H
#define MM_COMPACT_PLAN_H

/* The occupancy policy's plan; see mm/compact_plan.c. Its result stands in the pageblocks: PB_PLANNED, with its cost in `link`, and PB_SORT. */

#include "mm/compaction.h"

void plan_begin(struct compact_run *run, struct zone *z);
/* Look at up to so many pageblocks. True when the plan stands. */
bool plan_step(struct compact_run *run, struct zone *z, unsigned max_pageblocks);

/* The first region within [index, index + 2^order) that is worth clearing, at the plan's prices and as things are now. */
bool plan_find_region(const struct compact_run *run, uint32_t index, unsigned order, uint32_t *start, unsigned *found);

#endif
