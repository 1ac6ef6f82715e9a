/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_TRACE_H
#define HYP_CTL_TRACE_H

/* Writing trace records. Costs one load and one branch when the group is off. */

#include "abi/trace.h"
#include "core/bits.h"
#include "core/compiler.h"
#include "core/err.h"
#include "core/types.h"

extern uint64_t trace_mask; /* bit per enum trace_group, and TRACE_WATCH_*; read without a lock */

/* Bits of trace_mask that are no groups. Setting the groups leaves them alone. */
#define TRACE_WATCH_MASKED BIT(TRACE_GROUP_EXIT + 32) /* hyp/core/masked.h */
#define TRACE_WATCH_COST BIT(TRACE_GROUP_EXIT + 33)   /* hyp/core/cost.h */
#define TRACE_GROUP_MASK (BIT(TRACE_GROUPS) - 1)

static inline bool trace_on(enum trace_group group) {
  return unlikely(trace_mask & BIT(group));
}

/* Append to this CPU's ring. Interrupts masked (as always at EL2). */
void trace_write(enum trace_type type, uint16_t vmid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4);

#define trace(group_, type_, vmid_, a0_, a1_, a2_, a3_, a4_)                                                                               \
  do {                                                                                                                                     \
    if (trace_on(group_))                                                                                                                  \
      trace_write(type_, vmid_, a0_, a1_, a2_, a3_, a4_);                                                                                  \
  } while (0)

/* Records per ring when a scenario asks for a trace and gives no number: 1 MiB per CPU. */
#define TRACE_RECORDS_DEFAULT 16384u

/* Bytes of the whole area: header page and `rings` rings; records per ring are rounded up to a power of two. Whole pages. */
uint64_t trace_area_bytes(unsigned rings, uint32_t records_per_ring);

/*
 * Set up `area` (page aligned, physical address `where`, trace_area_bytes() long, contents arbitrary) and turn `mask` on. The area
 * must stay: boot takes it off the top of RAM before the allocator gets the rest. Boot CPU. Ring n is CPU n's.
 * Records need not be zeroed: a slot counts only once its header says it was written.
 */
void trace_init(void *area, pa_t where, unsigned rings, uint32_t records_per_ring, uint64_t mask);

/* For tools that look at memory: where the frame table is. */
void trace_set_frame_table(pa_t table, uint64_t base_pfn, uint64_t count);

/* Switch groups on or off. ERR_NOENT if there are no rings. */
MUST_CHECK err_t trace_set_mask(uint64_t mask);

/* Records written and lost (overwritten), all rings. */
uint64_t trace_written(void);
uint64_t trace_lost(void);

/*
 * The newest of the last `depth` records of each ring for which `match` is true: NULL if there is none. The record may be overwritten at
 * any time: for reports only.
 */
typedef bool trace_match_fn(const struct trace_record *r, uint64_t a, uint64_t b);
const struct trace_record *trace_find_last(trace_match_fn *match, uint64_t a, uint64_t b, uint64_t depth);

#endif
