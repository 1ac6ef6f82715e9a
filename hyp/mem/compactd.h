/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_COMPACTD_H
#define HYP_MEM_COMPACTD_H

/*
 * Compaction in the background: EL2 work that keeps every zone's fragmentation below a mark, and makes leaves of 2 MiB again where it can.
 */

#include "core/types.h"

/* Once, at boot; it is off. */
void compactd_init(void);
/* On: look every PERIOD_MS, act when a zone's compact_score() is above `target_score` (0..100). */
void compactd_on(unsigned target_score);
void compactd_off(void);
/* Memory runs low: if it is on, it need not wait for its period. Any CPU, any lock held but work.c's. */
void compactd_wake(void);

struct compactd_stats {
  bool on;
  uint64_t runs, moved_frames, pageblocks_freed, leaves_collapsed;
};
void compactd_read(struct compactd_stats *out);

#endif
