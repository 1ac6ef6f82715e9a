/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_ALLOC_TRACE_H
#define TESTS_HOST_ALLOC_TRACE_H

/*
 * Traces of allocations and frees, replayed from a layout's seed through the allocator: short and long lived, movable and not, of many
 * orders. Four of five blocks are short lived and go roughly in the order in which they came; the others live until a random end or until
 * the "process" that had allocated them ends, which takes a run of neighbours in time with it. What is used and what of it is unmovable
 * (layout_config.unmovable) follows what the caller asks for. What a trace does depends only on the seed and on what the allocator answers.
 */

#include "layouts.h"

/* What is asked for. */
struct alloc_trace_mix {
  unsigned order_weight[MAX_ORDER + 1]; /* of 100,000 requests */
  unsigned unmovable_max_order;
  unsigned runs; /* of 1024 deaths of old age, those that take a run of neighbours with them */
};
extern const struct alloc_trace_mix
    alloc_trace_of_pages; /* orders to 8: the most for single frames, as many frames in all for the others */

struct alloc_trace_counts {
  uint64_t operations;           /* allocations asked for, and frees */
  uint64_t asked[MAX_ORDER + 1]; /* allocations by order */
  uint64_t at_once[MAX_ORDER + 1], after_help[MAX_ORDER + 1];
};

struct alloc_trace {
  struct layout *l;
  const struct alloc_trace_mix *mix;
  uint32_t *young, *old; /* block numbers, or dead; old in the order of birth */
  uint32_t young_count, young_at, old_count, old_dead;
  struct alloc_trace_counts counts;
  bool (*help)(unsigned order); /* when an allocation failed, if set: true to try again */
  /* Unmovable frames by pageblock, pageblocks that have any, and what that was when the most unmovable frames were in use. */
  uint16_t *unmovable_in;
  uint64_t polluted, peak_unmovable, polluted_at_peak;
};

void alloc_trace_create(struct alloc_trace *t, struct layout *l, const struct alloc_trace_mix *mix);
void alloc_trace_destroy(struct alloc_trace *t);

/* Births until `target` frames are in use; deaths likewise; `steps` births, each paid for by deaths down to `target`. */
void alloc_trace_grow(struct alloc_trace *t, uint64_t target);
void alloc_trace_shrink(struct alloc_trace *t, uint64_t target);
void alloc_trace_live(struct alloc_trace *t, uint64_t target, uint64_t steps);

/* A whole life: filled to the brim, a while of it, shrunk to the layout's occupancy. */
void alloc_trace_age(struct alloc_trace *t);

#endif
