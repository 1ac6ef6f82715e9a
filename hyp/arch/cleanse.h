/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_CLEANSE_H
#define HYP_ARCH_CLEANSE_H

/*
 * Frames change owner: the old contents go, in the data caches and (what a previous guest executed) in the instruction caches. A guest may
 * run with its MMU off or map memory Non-cacheable, so zeroes are cleaned to the point of coherency as well (Arm ARM D7.4.10). With S2FWB
 * no guest can look past the data caches, and fetches need no clean either: with FEAT_S2FWB CLIDR_EL1.LoUU and LoUIS are 0 (Arm ARM,
 * CLIDR_EL1).
 *
 * Nobody maps the frames now: what is invalidated in the instruction caches here stays so until their next owner fetches from them, however
 * long they wait in the zeroed pool.
 */

#include "core/bits.h"
#include "hyp/arch/features.h"
#include "hyp/arch/tlb.h"
#include "hyp/arch/zero.h"

static ALWAYS_INLINE void cleanse_page(void *page) {
  if (features.needs_clean)
    zero_page_poc(page);
  else
    zero_page(page);
}

static inline void cleanse_lines(void *to, uint64_t bytes) {
  if (features.needs_clean)
    zero_lines_poc(to, bytes);
  else
    zero_lines(to, bytes);
}

/* After the last of either. */
static ALWAYS_INLINE void cleanse_icache(void) {
  if (features.needs_ic)
    icache_flush_all();
}

#endif
