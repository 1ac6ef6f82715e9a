/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_BACKGROUND_H
#define HYP_MEM_BACKGROUND_H

/* What the memory core can do ahead of need, as EL2 work and by idle CPUs; and what it asks of EL2 when memory is short. */

#include "core/types.h"
#include "mm/page_alloc.h"

/* For allocations of EL2's own that hold no lock: memory is reclaimed for them, and blocks are moved. */
#define ALLOC_EFFORT (ALLOC_MAY_COMPACT | ALLOC_MAY_RECLAIM)

/* Once, at boot, after work_init(). The zeroed pool is `pool_bytes` (0: off). */
void background_init(uint64_t pool_bytes);

/* Is there a zeroed pool? Constant after background_init(). */
bool background_has_pool(void);

/* An idle CPU, when page_background_is_due(): one bounded step. True if there is more to do. */
bool background_idle_step(void);

struct background_stats {
  uint64_t wakes;      /* times that memory ran low, or the pool was half empty */
  uint64_t idle_steps; /* by CPUs that had nothing else to do */
  uint64_t work_steps; /* as EL2 work, between guests' slices */
};
void background_read(struct background_stats *out);

#endif
