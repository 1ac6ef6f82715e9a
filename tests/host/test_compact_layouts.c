/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How good compaction is, on layouts of 1 GiB: free 2 MiB blocks against the most that is possible, frames moved against the fewest
 * (compact_oracle.h), nothing lost. The classic scanners must miss these figures on at least half of the layouts, or they are too easy.
 * `make bench` does the same on 4 GiB and more layouts.
 */
// sources: tests/host/layouts.c tests/host/alloc_trace.c tests/host/layout_judge.c tests/host/compact_oracle.c tests/host/host_zone.c
// sources: tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -O2
// libs: -lm
#include "layout_judge.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FRAMES ((uint64_t)1 << 18)

static struct layout_config config(enum layout_kind kind, unsigned occupancy, unsigned unmovable) {
  return (struct layout_config){.kind = kind, .frames = FRAMES, .occupancy = occupancy, .unmovable = unmovable, .seed = 7};
}

static bool judge(const struct layout_config *c, const struct compact_policy *policy, struct judgement *j) {
  layout_judge(c, policy, j);
  if (j->wrong)
    fail_msg("%s %u%%, %u%% unmovable, %s: %s", layout_kind_name(c->kind), c->occupancy, c->unmovable, compact_policy_name(policy),
             j->wrong);
  bool good = j->free_enough && j->moved_few;
  if (j->counts && !good && policy == &compact_occupancy)
    print_message("%s %u%%, %u%% unmovable: %u of %u free blocks, %lu frames moved, %lu needed\n", layout_kind_name(c->kind), c->occupancy,
                  c->unmovable, j->reached, j->bound, (unsigned long)j->moved, (unsigned long)j->least);
  return good;
}

static void for_kind(enum layout_kind kind) {
  static const unsigned occupancies[] = {30, 50, 70, 85, 95};
  unsigned counted = 0, missed = 0, classic_missed = 0;
  struct judgement j;
  for (unsigned i = 0; i < ARRAY_SIZE(occupancies); i++) {
    for (unsigned unmovable = 0; unmovable <= 5; unmovable = unmovable * 4 + 1) {
      struct layout_config c = config(kind, occupancies[i], unmovable);
      bool good = judge(&c, &compact_occupancy, &j);
      if (!j.counts)
        continue;
      counted++;
      missed += !good;
      classic_missed += !judge(&c, &compact_classic, &j);
    }
  }
  print_message("%s: %u layouts count; missed by occupancy %u, by classic %u\n", layout_kind_name(kind), counted, missed, classic_missed);
  assert_true(counted >= 10);
  assert_int_equal(missed, 0);
  assert_true(classic_missed * 2 >= counted);
}

static void bimodal(void **state) {
  (void)state;
  for_kind(LAYOUT_BIMODAL);
}

static void clustered(void **state) {
  (void)state;
  for_kind(LAYOUT_CLUSTERED);
}

static void aged(void **state) {
  (void)state;
  for_kind(LAYOUT_AGED);
}

/*
 * Where holes of an order are a little short, many regions are worth clearing at the same price, and few are needed. These are layouts of
 * which one that clears them all is caught.
 */
static void a_small_want_is_not_overpaid(void **state) {
  static const struct { unsigned seed, occupancy, unmovable; } layouts[] = {{2, 35, 9}, {2, 45, 9}, {6, 30, 9}, {8, 25, 7}, {15, 30, 5}};
  (void)state;
  for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++) {
    struct layout_config c = config(LAYOUT_AGED, layouts[i].occupancy, layouts[i].unmovable);
    struct judgement j;
    c.seed = layouts[i].seed;
    assert_true(judge(&c, &compact_occupancy, &j));
    assert_true(j.counts);
  }
}

/* Pinned frames are in the owner's pageblocks, and only their entries tell. */
static void what_is_pinned_stays(void **state) {
  (void)state;
  for (enum layout_kind kind = LAYOUT_BIMODAL; kind <= LAYOUT_AGED; kind++) {
    struct layout_config c = config(kind, 60, 1);
    struct judgement j;
    c.pinned = 1;
    assert_true(judge(&c, &compact_occupancy, &j));
    assert_true(j.counts);
    judge(&c, &compact_classic, &j);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bimodal),
      cmocka_unit_test(clustered),
      cmocka_unit_test(aged),
      cmocka_unit_test(a_small_want_is_not_overpaid),
      cmocka_unit_test(what_is_pinned_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
