/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The mixed workload: at least 50 million allocations and frees in a 4 GiB zone, replayed from a seed; blocks of all orders, short and long
 * lived, one frame in ten unmovable; use swings between 45 and 95 percent of memory and ends at half. When a block of 2 MiB
 * or more is not to be had the core compacts for it (asynchronously, as a slow path does) and is asked once more; nothing is reclaimed.
 *
 * Prints: operations, order-9 requests, percent of them served, at once and after compaction, moved frames, and pageblocks with unmovable
 * frames in percent of the fewest that hold as many, when the most unmovable frames were in use.
 */
#include "alloc_trace.h"
#include "mm/compact.h"
#include <stdio.h>
#include <stdlib.h>

#define FRAMES ((uint64_t)4 << 18)
#define OPERATIONS ((uint64_t)50000000)

/* Half of all frames are asked for one by one. */
static const struct alloc_trace_mix all_orders = {
    .order_weight = {95000, 2500, 1200, 600, 300, 150, 100, 60, 40, 30, 20}, .unmovable_max_order = MAX_ORDER, .runs = 1};

static bool compact_for(unsigned order) {
  struct compact_request request = {.mode = COMPACT_ASYNC, .order = order, .owner = COMPACT_ANY_OWNER};
  struct compact_report report;
  return order >= 1 && compact_zone(&request, &report) == ERR_OK;
}

/* From one level of use to another and on. */
static void swing(struct alloc_trace *t, uint64_t percent) {
  uint64_t target = FRAMES * percent / 100;
  alloc_trace_grow(t, target);
  alloc_trace_shrink(t, target);
  alloc_trace_live(t, target, 200000);
}

static double percent_of(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

static int report(const struct alloc_trace *t) {
  const struct alloc_trace_counts *c = &t->counts;
  uint64_t least = (t->peak_unmovable + PAGEBLOCK_FRAMES - 1) / PAGEBLOCK_FRAMES;
  page_drain_local();
  const char *wrong = layout_verify(t->l);
  printf("workload-operations %lu\n", (unsigned long)c->operations);
  printf("workload-order9-asked %lu\n", (unsigned long)c->asked[PAGEBLOCK_ORDER]);
  printf("workload-order9-served %.3f\n",
         percent_of(c->at_once[PAGEBLOCK_ORDER] + c->after_help[PAGEBLOCK_ORDER], c->asked[PAGEBLOCK_ORDER]));
  printf("workload-order9-at-once %.3f\n", percent_of(c->at_once[PAGEBLOCK_ORDER], c->asked[PAGEBLOCK_ORDER]));
  printf("workload-moved-frames %lu\n", (unsigned long)t->l->moved_frames);
  printf("workload-unmovable-peak %lu\n", (unsigned long)t->peak_unmovable);
  printf("workload-polluted %.3f\n", least == 0 ? 0 : (double)t->polluted_at_peak / (double)least);
  printf("workload-used %.2f\n", percent_of(t->l->used, FRAMES));
  if (wrong)
    fprintf(stderr, "workload: %s\n", wrong);
  return wrong ? 1 : 0;
}

int main(int argc, char **argv) {
  struct layout_config config = {.kind = LAYOUT_EMPTY, .frames = FRAMES, .unmovable = 10, .seed = argc > 1 ? strtoul(argv[1], NULL, 0) : 1};
  struct alloc_trace t;
  struct layout l;
  layout_create(&l, &config);
  alloc_trace_create(&t, &l, &all_orders);
  t.help = compact_for;
  while (t.counts.operations < OPERATIONS)
    swing(&t, 45 + layout_below(&l, 51));
  swing(&t, 50);
  int status = report(&t);
  alloc_trace_destroy(&t);
  layout_destroy(&l);
  return status;
}
