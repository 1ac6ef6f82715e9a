/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compaction and contiguous ranges on seeded layouts (layouts.h) against the independent bound (compact_oracle.h): how many 2 MiB become
 * free, how many frames that took, and that every block is afterwards where its owner thinks, with what it held. An owner that refuses now
 * and then must not change that. The classic policy is held to the same truth, not to the same figures.
 */
// sources: tests/host/layouts.c tests/host/alloc_trace.c tests/host/host_zone.c tests/host/compact_oracle.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// libs: -lm
#include "compact_oracle.h"
#include "layouts.h"
#include "mm/compact.h"
#include "mm/port.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FRAMES (128u << 9) /* 256 MiB */

static struct layout l;

static struct oracle *ask(void) {
  struct oracle *o = oracle_create(FRAMES >> 9, 9);
  for (uint32_t i = 0; i < l.blocks; i++) {
    if (l.block[i].mobility != LAYOUT_NO_BLOCK)
      oracle_add(o, l.block[i].at, l.block[i].order, l.block[i].mobility == LAYOUT_MOVABLE);
  }
  return o;
}

static void make(enum layout_kind kind, unsigned occupancy, unsigned unmovable, uint64_t seed) {
  const struct layout_config config = {
      .kind = kind, .frames = FRAMES, .occupancy = occupancy, .unmovable = unmovable, .pinned = unmovable ? 1 : 0, .seed = seed};
  layout_create(&l, &config);
}

static void check_layout(void) {
  const char *wrong = layout_verify(&l);
  if (wrong)
    fail_msg("%s", wrong);
  for (uint64_t f = l.base.v; f < l.base.v + FRAMES; f += PAGEBLOCK_FRAMES)
    assert_int_not_equal(page_block_type(pfn(f)), MIGRATE_ISOLATE);
}

static struct compact_request request(const struct compact_policy *policy, enum compact_mode mode, unsigned order) {
  return (struct compact_request){.policy = policy, .mode = mode, .order = order, .owner = COMPACT_ANY_OWNER};
}

/* --- how good ------------------------------------------------------------------------------------------------------------------ */

static void reach_the_bound(enum layout_kind kind, unsigned occupancy, unsigned unmovable) {
  struct compact_request r = request(NULL, COMPACT_SYNC, PAGEBLOCK_ORDER);
  struct compact_report report;
  make(kind, occupancy, unmovable, occupancy * 7 + unmovable);
  struct oracle *o = ask();
  unsigned most = oracle_most_free(o), before = layout_free_pageblocks(&l);
  err_t err = compact_zone(&r, &report);
  unsigned after = layout_free_pageblocks(&l);
  check_layout();
  if (most > before)
    assert_int_equal(err, ERR_OK);
  assert_true(after <= most);
  assert_true(after + 1 >= most && after * 100 >= most * 98); /* in so small a zone one pageblock is near 1 % */
  uint64_t least = oracle_least_moves(o, after, 60);
  assert_true(l.moved_frames * 100 <= least * (oracle_is_exact(o) ? 100 : 110) + 25600);
  assert_int_equal(report.moved_frames, l.moved_frames);
  assert_int_equal(report.moved_blocks, l.moved_blocks);
  assert_int_equal(report.pageblocks_freed, after - before);
  assert_int_equal(report.pageblocks_before, before);
  oracle_destroy(o);
  layout_destroy(&l);
}

static void the_bound_is_reached(void **state) {
  (void)state;
  static const unsigned occupancies[] = {45, 70, 85}, unmovables[] = {0, 1, 5};
  for (unsigned kind = 0; kind < LAYOUT_KINDS; kind++) {
    for (unsigned i = kind == LAYOUT_AGED; i < 3; i++) /* a trace's young alone fill half of so small a zone */
      reach_the_bound((enum layout_kind)kind, occupancies[i], unmovables[i]);
  }
}

static void single_frames_move_exactly_as_often_as_they_must(void **state) {
  (void)state;
  struct compact_request r = request(&compact_occupancy, COMPACT_SYNC, PAGEBLOCK_ORDER);
  struct compact_report report;
  make(LAYOUT_CLUSTERED, 50, 0, 11);
  struct oracle *o = ask();
  assert_true(oracle_is_exact(o));
  assert_int_equal(compact_zone(&r, &report), ERR_OK);
  assert_int_equal(layout_free_pageblocks(&l), oracle_most_free(o));
  assert_int_equal(l.moved_frames, oracle_least_moves(o, oracle_most_free(o), 60));
  check_layout();
  oracle_destroy(o);
  layout_destroy(&l);
}

static void the_classic_scanners_lose_nothing_either(void **state) {
  (void)state;
  struct compact_request r = request(&compact_classic, COMPACT_SYNC, PAGEBLOCK_ORDER);
  struct compact_report report;
  for (unsigned kind = 0; kind < LAYOUT_KINDS; kind++) {
    make((enum layout_kind)kind, kind == LAYOUT_AGED ? 70 : 40, 0, 5);
    unsigned before = layout_free_pageblocks(&l);
    assert_int_equal(compact_zone(&r, &report), ERR_OK);
    assert_true(kind == LAYOUT_AGED ? layout_free_pageblocks(&l) >= before : layout_free_pageblocks(&l) > before);
    check_layout();
    layout_destroy(&l);
  }
}

/* --- modes --------------------------------------------------------------------------------------------------------------------- */

static void async_stops_when_there_is_a_block(void **state) {
  (void)state;
  const struct compact_policy *const policies[] = {&compact_occupancy, &compact_classic};
  for (unsigned i = 0; i < 2; i++) {
    struct compact_request r = request(policies[i], COMPACT_ASYNC, PAGEBLOCK_ORDER);
    struct compact_report report;
    make(LAYOUT_BIMODAL, 60, 0, 21);
    assert_int_equal(layout_free_pageblocks(&l), 0);
    assert_int_equal(compact_zone(&r, &report), ERR_OK);
    assert_in_range(layout_free_pageblocks(&l), 1, i == 0 ? 1 : FRAMES);
    assert_int_equal(compact_zone(&r, &report), ERR_NOENT); /* there is one now */
    check_layout();
    layout_destroy(&l);
  }
}

static void proactive_reaches_its_score(void **state) {
  (void)state;
  struct compact_request r = request(NULL, COMPACT_PROACTIVE, PAGEBLOCK_ORDER);
  struct compact_report report;
  r.target_score = 60;
  make(LAYOUT_BIMODAL, 60, 0, 22);
  assert_in_range(compact_score(0), 80, 100);
  assert_int_equal(compact_zone(&r, &report), ERR_OK);
  assert_in_range(compact_score(0), 55, 60);
  assert_int_equal(compact_zone(&r, &report), ERR_NOENT);
  check_layout();
  layout_destroy(&l);
}

static unsigned set_aside(void) {
  unsigned count = 0;
  for (uint64_t f = l.base.v; f < l.base.v + FRAMES; f += PAGEBLOCK_FRAMES)
    count += page_block_type(pfn(f)) == MIGRATE_ISOLATE;
  return count;
}

static void a_run_may_end_at_any_step(void **state) {
  (void)state;
  struct compact_request r = request(NULL, COMPACT_SYNC, PAGEBLOCK_ORDER);
  struct compact_run run, second;
  unsigned most = 0;
  for (unsigned steps = 0; steps < 600; steps += 37) {
    make(LAYOUT_AGED, 70, 1, 23);
    assert_int_equal(compact_begin(&run, &r), ERR_OK);
    assert_int_equal(compact_begin(&second, &r), ERR_BUSY);
    for (unsigned i = 0; i < steps && compact_step(&run, 200) == ERR_AGAIN; i++)
      most = set_aside() > most ? set_aside() : most;
    compact_end(&run);
    check_layout();
    assert_int_equal(compact_begin(&run, &r), ERR_OK);
    compact_end(&run);
    layout_destroy(&l);
  }
  assert_true(most > 0); /* else it would prove nothing */
}

static void bad_requests_are_refused(void **state) {
  (void)state;
  struct compact_run run;
  make(LAYOUT_UNIFORM, 50, 0, 1);
  struct compact_request r = request(NULL, COMPACT_SYNC, 8);
  assert_int_equal(compact_begin(&run, &r), ERR_INVAL);
  r = request(NULL, COMPACT_ASYNC, MAX_ORDER + 1);
  assert_int_equal(compact_begin(&run, &r), ERR_INVAL);
  r = request(NULL, COMPACT_PROACTIVE, PAGEBLOCK_ORDER);
  r.target_score = 101;
  assert_int_equal(compact_begin(&run, &r), ERR_INVAL);
  r.zone = 7;
  assert_int_equal(compact_begin(&run, &r), ERR_INVAL);
  assert_ptr_equal(compact_policy_by_name("classic"), &compact_classic);
  assert_string_equal(compact_policy_name(&compact_occupancy), "occupancy");
  assert_null(compact_policy_by_name("none"));
  layout_destroy(&l);
}

static void an_allocation_in_need_gets_what_was_set_aside(void **state) {
  (void)state;
  struct compact_request r = request(NULL, COMPACT_SYNC, PAGEBLOCK_ORDER);
  struct compact_run run;
  pfn_t f;
  uint64_t got = 0, free;
  make(LAYOUT_CLUSTERED, 50, 0, 24);
  free = page_free_frames();
  assert_int_equal(compact_begin(&run, &r), ERR_OK);
  while (set_aside() < 8)
    assert_int_equal(compact_step(&run, 16), ERR_AGAIN);
  while (page_alloc(0, ALLOC_MOVABLE | ALLOC_ATOMIC, &f) == ERR_OK)
    got++;
  assert_int_equal(got, free);
  while (compact_step(&run, 16) == ERR_AGAIN)
    ;
  compact_end(&run);
  layout_destroy(&l);
}

/* --- what other CPUs hold back ------------------------------------------------------------------------------------------------- */

static bool kicked;
static unsigned kicks;

static void note_kick(void) {
  kicked = true;
  kicks++;
}

/* CPUs 1 and 2 have freed frames into their lists, of whatever pageblock had small blocks. */
static void let_others_cache(void) {
  pfn_t f[100];
  for (port_host_cpu = 1; port_host_cpu < 3; port_host_cpu++) {
    for (unsigned i = 0; i < ARRAY_SIZE(f); i++)
      assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_ATOMIC, &f[i]), ERR_OK);
    for (unsigned i = 0; i < ARRAY_SIZE(f); i++)
      page_free(f[i], 0);
  }
  port_host_cpu = 0;
}

/* The interrupt of a kick, some time later. */
static void let_others_answer(void) {
  if (!kicked)
    return;
  kicked = false;
  for (port_host_cpu = 1; port_host_cpu < 3; port_host_cpu++)
    page_drain_poll();
  port_host_cpu = 0;
}

static void frames_in_other_cpus_lists_come_in(void **state) {
  (void)state;
  struct compact_request r = request(NULL, COMPACT_SYNC, PAGEBLOCK_ORDER);
  for (unsigned when = 0; when < 2; when++) {
    struct compact_run run;
    make(LAYOUT_CLUSTERED, 50, 0, 31);
    struct oracle *o = ask();
    kicked = false;
    kicks = 0;
    port_host_kicked = note_kick;
    if (when == 0) /* before the run */
      let_others_cache();
    assert_int_equal(compact_begin(&run, &r), ERR_OK);
    assert_int_equal(kicks, when == 0);
    let_others_answer();
    if (when == 1) /* before it has planned: planned pageblocks have some of them */
      let_others_cache();
    while (compact_step(&run, 16) == ERR_AGAIN)
      let_others_answer();
    compact_end(&run);
    port_host_kicked = NULL;
    assert_in_range(kicks, 1, 64); /* asked again and again would be a storm */
    /* what was held back while the plan was made was no room for it: less than a pageblock */
    assert_in_range(layout_free_pageblocks(&l), oracle_most_free(o) - when, oracle_most_free(o));
    assert_int_equal(run.report.pageblocks_before + run.report.pageblocks_freed, layout_free_pageblocks(&l));
    oracle_destroy(o);
    let_others_answer();
    layout_destroy(&l);
  }
}

/* --- an owner that refuses ------------------------------------------------------------------------------------------------------ */

static struct migrate_ops willing; /* the layout's own */
static unsigned countdown, every;
static err_t refusal;

static err_t freeze_or_not(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  if (--countdown != 0)
    return willing.freeze(from, order, owner, rmap);
  countdown = every;
  return refusal;
}

static void refuse(uint64_t seed, err_t how, unsigned period) {
  struct compact_request r = request(seed & 1 ? &compact_classic : NULL, COMPACT_SYNC, PAGEBLOCK_ORDER);
  struct compact_report report;
  make(LAYOUT_AGED, 70, 1, seed);
  willing = *layout_migrate_ops();
  struct migrate_ops moody = willing;
  moody.freeze = freeze_or_not;
  migrate_set_ops(&moody);
  refusal = how;
  countdown = every = period;
  assert_int_equal(compact_zone(&r, &report), ERR_OK);
  check_layout();
  layout_destroy(&l);
}

static void refusals_lose_nothing(void **state) {
  (void)state;
  static const err_t how[] = {ERR_BUSY, ERR_NOENT, ERR_PERM};
  for (unsigned i = 0; i < 12; i++)
    refuse(40 + i, how[i % 3], 1 + i * i * 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_bound_is_reached),
      cmocka_unit_test(single_frames_move_exactly_as_often_as_they_must),
      cmocka_unit_test(the_classic_scanners_lose_nothing_either),
      cmocka_unit_test(async_stops_when_there_is_a_block),
      cmocka_unit_test(proactive_reaches_its_score),
      cmocka_unit_test(a_run_may_end_at_any_step),
      cmocka_unit_test(bad_requests_are_refused),
      cmocka_unit_test(an_allocation_in_need_gets_what_was_set_aside),
      cmocka_unit_test(frames_in_other_cpus_lists_come_in),
      cmocka_unit_test(refusals_lose_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
