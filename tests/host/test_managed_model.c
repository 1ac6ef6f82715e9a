/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One block of managed memory under random guests: reads, writes, naps, policies and quotas that change, guests that come and go, pages
 * taken away at any moment, frames and tables that cannot be had. The truth is one array: the last value written to each page. And what is
 * promised of thrashing: a ping-pong ends in a pin within 16 bounces, and a pin ends.
 */
// sources: hyp/mem/managed_block.c hyp/mem/managed_policy.c
// sources: tests/host/managed_world.c
#include "managed_world.h"
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static struct world w;
static unsigned rng_state, seed_now, step_now;

static unsigned rnd(unsigned below) {
  rng_state = rng_state * 1664525u + 1013904223u;
  return (unsigned)(((uint64_t)(rng_state >> 8) * below) >> 24);
}

static const struct managed_policy plain = {.preferred = LOCATION_NONE, .prefetch_percent = 100};
static const struct managed_policy thrashy = {.preferred = LOCATION_NONE,
                                              .prefetch_percent = 100,
                                              .thrash_events = 3,
                                              .thrash_throttles = 4,
                                              .lapse_us = 500,
                                              .nap_us = 250,
                                              .pin_us = 100000};

static void write_page(unsigned member, unsigned page, uint64_t value) {
  uint32_t until;
  assert_int_equal(world_access(&w, member, page, true, value, &until), WORLD_DONE);
}

static void read_page(unsigned member, unsigned page) {
  uint32_t until;
  assert_int_equal(world_access(&w, member, page, false, 0, &until), WORLD_DONE);
}

static bool is_at(unsigned location, unsigned page) {
  return w.copy[location][page].there;
}

/* ---- One thing at a time ---- */

static void test_first_touch_and_migration(void **state) {
  (void)state;
  world_init(&w, 2, &plain);
  write_page(1, 7, 70);
  assert_true(is_at(1, 7) && !is_at(0, 7));
  read_page(2, 7);
  assert_true(is_at(2, 7) && !is_at(1, 7) && !w.pte[1][7].valid);
  assert_true(w.pte[2][7].writable);
  assert_int_equal(w.block.counts[1].populated, 1);
  assert_int_equal(w.block.counts[2].migrated, 1);
}

static void test_duplicates_collapse(void **state) {
  (void)state;
  struct managed_policy p = plain;
  p.read_dup = true;
  world_init(&w, 3, &p);
  write_page(1, 0, 5);
  read_page(2, 0);
  read_page(3, 0);
  assert_true(is_at(1, 0) && is_at(2, 0) && is_at(3, 0));
  assert_false(w.pte[1][0].writable);
  read_page(1, 0);
  write_page(2, 0, 6);
  assert_true(!is_at(1, 0) && is_at(2, 0) && !is_at(3, 0));
  read_page(1, 0);
  read_page(3, 0);
  assert_int_equal(w.block.counts[2].collapsed, 2);
  assert_int_equal(w.block.counts[3].duplicated, 2);
}

/* The lowest member maps the copy it has left when its duplicate is evicted: from afar, or not at all; never writable beside a copy. */
static void test_evicted_duplicate(void **state) {
  (void)state;
  struct managed_policy p = plain;
  p.read_dup = true;
  world_init(&w, 3, &p);
  write_page(1, 0, 5);
  read_page(2, 0);
  assert_true(world_evict(&w, 1, 0, 1, false));
  assert_true(is_at(2, 0) && !is_at(1, 0) && !is_at(0, 0));
  write_page(2, 0, 6);
  read_page(1, 0);
  read_page(3, 0);
  assert_true(world_evict(&w, 2, 0, 1, false));
  assert_true(world_evict(&w, 1, 0, 1, false));
  assert_true(world_evict(&w, 3, 0, 1, false));
  assert_true(is_at(0, 0));
  read_page(3, 0);
}

/* What is shed is a copy, and the page is still somewhere; what is evicted was the only one. */
static void test_shed_is_no_eviction(void **state) {
  (void)state;
  struct managed_policy p = plain;
  p.read_dup = true;
  world_init(&w, 2, &p);
  write_page(1, 0, 5);
  read_page(2, 0);
  assert_true(world_evict(&w, 2, 0, 1, false));
  assert_true(w.block.counts[2].shed == 1 && w.block.counts[2].evicted == 0);
  assert_true(world_evict(&w, 1, 0, 1, false));
  assert_true(w.block.counts[1].shed == 0 && w.block.counts[1].evicted == 1);
}

static void test_prefer_and_accessed_by(void **state) {
  (void)state;
  struct managed_policy p = plain;
  p.preferred = 1;
  p.accessed_by = 1u << 3;
  world_init(&w, 3, &p);
  write_page(2, 0, 5);
  assert_true(is_at(1, 0) && w.pte[2][0].writable && w.pte[3][0].valid);
  uint64_t plans = w.plans;
  write_page(3, 0, 6); /* its mapping was kept: no fault */
  assert_int_equal(w.plans, plans);
  write_page(1, 0, 7);
  read_page(2, 0);
  assert_int_equal(w.moves, 0);
}

static void test_no_migrate(void **state) {
  (void)state;
  struct managed_policy p = plain;
  p.no_migrate = true;
  world_init(&w, 2, &p);
  write_page(1, 9, 1);
  write_page(2, 9, 2);
  read_page(1, 9);
  assert_true(is_at(1, 9) && w.moves == 0);
  world_leave(&w, 1);
  assert_true(is_at(0, 9));
  write_page(2, 9, 3);
  assert_true(is_at(0, 9) && w.pte[2][9].writable);
}

/* Once more than half of a subtree is there, the rest comes along: the whole block by far fewer faults than pages. */
static void test_prefetch_by_density(void **state) {
  (void)state;
  struct managed_policy p = plain;
  p.prefetch_percent = 50;
  world_init(&w, 2, &p);
  for (unsigned page = 0; page < MANAGED_PAGES; page++)
    write_page(1, page, page + 1);
  assert_in_range(w.block.counts[1].faults, 2, 16);
  assert_int_equal(w.block.counts[1].faults + w.block.counts[1].prefetched, MANAGED_PAGES);
  for (unsigned page = 0; page < MANAGED_PAGES; page++)
    read_page(2, page);
  assert_in_range(w.block.counts[2].faults, 2, 16);
  assert_int_equal(w.block.counts[2].migrated, MANAGED_PAGES);
  world_check(&w);
}

static void test_full_goes_home(void **state) {
  (void)state;
  struct managed_policy p = plain;
  p.prefetch_percent = 1;
  world_init(&w, 2, &p);
  w.quota[1] = 3;
  for (unsigned page = 0; page < 8; page++)
    write_page(1, page, page + 1);
  assert_int_equal(w.frames[1], 3);
  assert_int_equal(w.frames[0], 5);
  for (unsigned page = 0; page < 8; page++)
    read_page(1, page);
  world_check(&w);
}

/* ---- Thrashing ---- */

/* Guests take turns at page 0, one access each `step_us`, waiting out their naps. Returns how often the page moved in `rounds` accesses. */
static unsigned ping_pong(unsigned guests, unsigned rounds, unsigned step_us, bool write, unsigned *bounces_to_pin) {
  uint32_t until[MANAGED_LOCATIONS] = {0}, nap;
  uint64_t moves = w.moves;
  *bounces_to_pin = 0;
  for (unsigned i = 0; i < rounds; i++) {
    unsigned m = 1 + i % guests;
    w.now_us += step_us;
    if ((int32_t)(until[m] - w.now_us) > 0)
      continue;
    if (world_access(&w, m, 0, write, i + 1, &nap) == WORLD_NAP)
      until[m] = nap;
    if (w.block.page[0].state == MANAGED_PAGE_PINNED && *bounces_to_pin == 0)
      *bounces_to_pin = (unsigned)(w.moves - moves) + 1;
  }
  return (unsigned)(w.moves - moves);
}

static void test_ping_pong_is_pinned(void **state) {
  (void)state;
  for (unsigned guests = 2; guests <= 4; guests++)
    for (unsigned step = 1; step <= 200; step += 7)
      for (unsigned write = 0; write < 2; write++) {
        unsigned bounces;
        world_init(&w, guests, &thrashy);
        unsigned moves = ping_pong(guests, 4000 / step, step, write, &bounces);
        assert_in_range(bounces, 1, 16);
        assert_true(moves <= 16);
        world_check(&w);
      }
}

/* From its pin on all work on it where it is; when the pin is over it moves again. */
static void test_a_pin_ends(void **state) {
  (void)state;
  unsigned bounces;
  world_init(&w, 2, &thrashy);
  ping_pong(2, 400, 10, true, &bounces);
  uint64_t moves = w.moves;
  for (unsigned i = 0; i < 50; i++)
    write_page(1 + i % 2, 0, i);
  assert_int_equal(w.moves, moves);
  w.now_us += thrashy.pin_us;
  unsigned at = w.block.page[0].location;
  world_unmap(&w, 0, 1); /* as by compaction: the next touch is seen */
  write_page(3 - at, 0, 99);
  assert_int_equal(w.moves, moves + 1);
  assert_int_equal(w.block.page[0].state, MANAGED_PAGE_FREE);
}

/* Slower than lapse_us is no thrashing; neither is reading what one has. */
static void test_slow_turns_are_served(void **state) {
  (void)state;
  unsigned bounces;
  world_init(&w, 2, &thrashy);
  assert_int_equal(ping_pong(2, 100, 600, true, &bounces), 99);
  assert_int_equal(bounces, 0);
  assert_int_equal(w.block.counts[1].throttled + w.block.counts[2].throttled, 0);
}

/* Neighbours are not fetched from under a page that thrashes or is pinned. */
static void test_prefetch_leaves_what_thrashes(void **state) {
  (void)state;
  unsigned bounces;
  struct managed_policy p = thrashy;
  world_init(&w, 2, &p);
  ping_pong(2, 400, 10, true, &bounces);
  assert_int_equal(w.block.page[0].state, MANAGED_PAGE_PINNED);
  unsigned at = w.block.page[0].location, other = 3 - at;
  w.policy.prefetch_percent = 1;
  for (unsigned page = 1; page < 64; page++)
    write_page(other, page, page);
  assert_true(is_at(at, 0));
  world_check(&w);
}

/* The clock wraps. */
static void test_clock_wraps(void **state) {
  (void)state;
  unsigned bounces;
  world_init(&w, 2, &thrashy);
  w.now_us = (uint32_t)-1000;
  assert_true(ping_pong(2, 400, 10, true, &bounces) <= 16);
  assert_in_range(bounces, 1, 16);
}

/* ---- Random ---- */

static unsigned focus; /* how many places there are */

static unsigned pick_page(void) {
  static const uint16_t places[] = {0, 1, 2, 3, 4, 5, 6, 7, 62, 63, 64, 65, 127, 128, 255, 256, 300, 301, 510, 511};
  return rnd(8) ? places[rnd(focus)] : rnd(MANAGED_PAGES);
}

static struct managed_policy random_policy(void) {
  static const uint8_t percents[] = {100, 100, 50, 50, 75, 30, 1};
  struct managed_policy p = {
      .preferred = (uint8_t)(rnd(3) ? LOCATION_NONE : 1 + rnd(w.members)),
      .accessed_by = (uint8_t)(rnd(2) ? 0 : rnd(1u << w.members) << 1),
      .read_dup = rnd(2),
      .no_migrate = rnd(5) == 0,
      .prefetch_percent = percents[rnd(sizeof percents)],
      .thrash_events = (uint8_t)rnd(5),
      .thrash_throttles = (uint8_t)rnd(5),
      .lapse_us = 500,
      .nap_us = 1 + rnd(499),
      .pin_us = 1 + rnd(5000),
  };
  return p;
}

static uint32_t asleep_until[MANAGED_LOCATIONS];
static uint64_t naps, refusals, served, pins;

static void op_access(void) {
  unsigned m = 1 + rnd(w.members), page = pick_page();
  uint32_t until = w.now_us;
  if (!(w.present >> m & 1) || (int32_t)(asleep_until[m] - w.now_us) > 0)
    return;
  switch (world_access(&w, m, page, rnd(2), 1 + ((uint64_t)step_now << 8 | m), &until)) {
  case WORLD_NAP:
    assert_true(until - w.now_us < 500);
    asleep_until[m] = until;
    naps++;
    break;
  case WORLD_NO_FRAME:
    refusals++;
    break;
  default:
    served++;
  }
}

/* Room for one page more, as managed.c makes it: the longest unused goes home; here, any. */
static void op_evict(void) {
  unsigned m = 1 + rnd(w.members), word = pick_page() / 64;
  uint64_t pages = rnd(3) ? (uint64_t)1 << rnd(64) : ~(uint64_t)0 << rnd(64);
  (void)world_evict(&w, m, word, pages, false);
}

static void op_come_and_go(void) {
  unsigned m = 1 + rnd(w.members);
  if (!(w.present >> m & 1))
    world_join(&w, m);
  else if (w.quota[LOCATION_HOME] == WORLD_UNLIMITED && (w.present & (w.present - 1)))
    world_leave(&w, m);
}

static void op_other(void) {
  switch (rnd(8)) {
  case 0:
    op_come_and_go();
    break;
  case 1: {
    struct managed_policy p = random_policy();
    world_set_policy(&w, &p);
    break;
  }
  case 2:
    world_unmap(&w, pick_page() / 64, rnd(2) ? ~(uint64_t)0 : (uint64_t)1 << rnd(64));
    break;
  case 3:
    w.fail_tables = rnd(3);
    break;
  default:
    op_evict();
  }
}

static void start(unsigned seed) {
  rng_state = seed_now = seed;
  world_init(&w, 2 + rnd(3), &plain);
  w.policy = random_policy();
  w.choose = rnd;
  focus = rnd(2) ? 1 + rnd(3) : 20;
  w.now_us = rnd(2) ? rnd(1000) : (uint32_t)-100000;
  memset(asleep_until, 0, sizeof asleep_until);
  for (unsigned m = 0; m < MANAGED_LOCATIONS; m++) {
    asleep_until[m] = w.now_us;
    if (rnd(3) == 0)
      w.quota[m] = rnd(m == LOCATION_HOME ? 80 : 40);
  }
}

static void run_seed(unsigned seed, unsigned steps) {
  start(seed);
  for (step_now = 0; step_now < steps; step_now++) {
    w.now_us += rnd(4) ? rnd(40) : rnd(1000);
    if (rnd(100) < 93)
      op_access();
    else
      op_other();
    if (step_now % 64 == 0)
      world_check(&w);
  }
  world_check(&w);
  for (unsigned m = 0; m < MANAGED_LOCATIONS; m++)
    pins += w.block.counts[m].pinned;
  seed_now = 0;
}

static void test_random(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 300; seed++)
    run_seed(seed * 7919, 1500);
  /* all of it came to pass */
  assert_true(naps > 500 && refusals > 200 && served > 100000 && pins > 100);
}

static int say_where(void **state) {
  (void)state;
  if (seed_now)
    print_message("seed %u, step %u\n", seed_now, step_now);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_first_touch_and_migration),
      cmocka_unit_test(test_duplicates_collapse),
      cmocka_unit_test(test_evicted_duplicate),
      cmocka_unit_test(test_shed_is_no_eviction),
      cmocka_unit_test(test_prefer_and_accessed_by),
      cmocka_unit_test(test_no_migrate),
      cmocka_unit_test(test_prefetch_by_density),
      cmocka_unit_test(test_full_goes_home),
      cmocka_unit_test(test_ping_pong_is_pinned),
      cmocka_unit_test(test_a_pin_ends),
      cmocka_unit_test(test_slow_turns_are_served),
      cmocka_unit_test(test_prefetch_leaves_what_thrashes),
      cmocka_unit_test(test_clock_wraps),
      cmocka_unit_test_teardown(test_random, say_where),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
