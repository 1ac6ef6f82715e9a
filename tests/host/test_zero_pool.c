/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The zeroed pool: what is in it is zero and nobody's; both orders get their share, step by step; it goes back when memory is short, a
 * piece at a time, a pageblock that is half done included; and it never takes what the watermarks keep.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
#include "mm_world.h"
#include <string.h>

#define R(from_, to_)                                                                                                                      \
  {                                                                                                                                        \
    {from_}, {                                                                                                                             \
      to_                                                                                                                                  \
    }                                                                                                                                      \
  }

static const struct world_config clean = {"clean", {R(0x40000, 0x40000 + F(32))}, {{{0}, {0}}}, 0};
static const struct world_config two = {"two banks", {R(0x40000, 0x40000 + F(8)), R(0x48000, 0x48000 + F(32))}, {{{0}, {0}}}, 0x70000};
static struct world w;
static pfn_t held[F(40)];
static unsigned wakes;

static void wake(void) {
  wakes++;
}

static const struct page_alloc_ops hooks = {.wake_background = wake};

static unsigned fill_with(alloc_flags_t flags) {
  unsigned n = 0;
  while (n < ARRAY_SIZE(held) && page_alloc(0, flags, &held[n]) == ERR_OK)
    n++;
  return n;
}

/* Everything that was ever handed out is dirty, and free again. */
static void make_dirty(const struct world_config *config) {
  world_create(&w, config);
  page_set_alloc_ops(&hooks);
  wakes = 0;
  unsigned n = fill_with(ALLOC_MOVABLE | ALLOC_ATOMIC);
  for (unsigned i = 0; i < n; i++)
    memset(port_frame_ptr(held[i]), 0xff, PAGE_SIZE);
  page_free_bulk(n, held);
  page_drain_local();
}

static unsigned fill_pool(uint64_t limit) {
  unsigned steps = 0;
  err_t err;
  page_zero_pool_limit(limit);
  assert_true(page_background_is_due());
  while ((err = page_background_step()) == ERR_AGAIN)
    steps++;
  assert_true(err == ERR_OK || err == ERR_NOMEM);
  assert_false(page_background_is_due());
  return steps;
}

static struct zero_pool_info info(void) {
  struct zero_pool_info out;
  page_zero_pool_read(&out);
  assert_int_equal(out.filled, out.taken + out.dropped + out.frames + (out.pageblocks << 9));
  assert_int_equal(page_zero_pool_frames(), out.frames + (out.pageblocks << 9));
  return out;
}

static void all_zero(pfn_t f, unsigned order) {
  const uint64_t *p = port_frame_ptr(f);
  for (size_t i = 0; i < ((size_t)PAGE_SIZE << order) / sizeof(*p); i++)
    assert_int_equal(p[i], 0);
}

static void frames_come_zeroed(void **state) {
  (void)state;
  pfn_t f;
  bool zeroed;
  make_dirty(&clean);
  assert_int_equal(page_zero_pool_step(), ERR_OK); /* off */
  fill_pool(2054);
  assert_int_equal(info().pageblocks, 2);
  assert_int_equal(info().frames, 1030);
  world_audit(&w, false);
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_ZERO, &f), ERR_OK);
  all_zero(f, 0);
  world_note_alloc(&w, f, 0);
  assert_int_equal(info().taken, 1);
  assert_true(page_background_is_due());
  assert_int_equal(page_alloc_owned_zeroed(9, ALLOC_MOVABLE, 3, 0x7000, &f, &zeroed), ERR_OK);
  assert_true(zeroed && frame_of(f)->owner == 3 && frame_of(f)->rmap == 0x7000 && frame_of(f)->order == 9);
  all_zero(f, 9);
  world_note_alloc(&w, f, 9);
  assert_int_equal(info().pageblocks, 1);
  assert_int_equal(page_alloc_owned_zeroed(0, ALLOC_UNMOVABLE, 3, 0, &f, &zeroed), ERR_OK);
  assert_false(zeroed);
  world_note_alloc(&w, f, 0);
  world_audit(&w, false);
  world_destroy(&w);
}

/* At any moment of the filling neither order is further ahead of its share than one pageblock's worth. */
static void both_orders_get_their_share(void **state) {
  (void)state;
  static const uint64_t limits[] = {1, 511, 1023, 1024, 1500, 4096};
  for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
    make_dirty(&clean);
    page_zero_pool_limit(limits[i]);
    while (page_background_step() == ERR_AGAIN) {
      struct zero_pool_info now = info();
      uint64_t blocks = now.pageblocks << 9;
      assert_true(limits[i] < 1024 ? blocks == 0 : now.frames <= blocks + 1200 && blocks <= now.frames + 512);
    }
    assert_int_equal(info().pageblocks, limits[i] / 2 / 512);
    assert_int_equal(page_zero_pool_frames(), limits[i]);
    world_audit(&w, false);
    page_zero_pool_limit(limits[i] / 3);
    assert_true(page_zero_pool_frames() <= limits[i] / 3);
    page_zero_pool_limit(0);
    assert_int_equal(page_zero_pool_frames(), 0);
    page_drain_local();
    world_audit(&w, true);
    world_destroy(&w);
  }
}

/* A step is bounded: at most 64 frames are touched, so a pageblock takes eight. */
static void a_pageblock_is_zeroed_in_steps(void **state) {
  (void)state;
  make_dirty(&clean);
  page_zero_pool_limit(1024);
  unsigned steps = 0;
  uint64_t frames = 0;
  while (page_zero_pool_step() == ERR_AGAIN) {
    assert_true(page_zero_pool_frames() - frames <= 64 || page_zero_pool_frames() - frames == 512);
    frames = page_zero_pool_frames();
    steps++;
  }
  assert_int_equal(steps, 16);
  world_destroy(&w);
}

static void it_goes_back_when_memory_is_short(void **state) {
  (void)state;
  pfn_t f;
  unsigned n = 0;
  make_dirty(&clean);
  fill_pool(2048);
  uint64_t pool = page_zero_pool_frames();
  while (page_alloc(0, ALLOC_UNMOVABLE, &f) == ERR_OK) {
    world_note_alloc(&w, f, 0);
    n++;
    assert_true(pool - page_zero_pool_frames() <= 512); /* no more than was needed */
    pool = page_zero_pool_frames();
  }
  assert_int_equal(page_zero_pool_frames(), 0);
  assert_int_equal(info().dropped, 2048);
  assert_true(wakes > 0);
  world_audit(&w, false);
  world_destroy(&w);
}

/* A pageblock that is being zeroed is in nobody's list: it must not be lost to a request, nor to a new limit. */
static void a_half_done_pageblock_is_given_up(void **state) {
  (void)state;
  for (unsigned way = 0; way < 2; way++) {
    make_dirty(&clean);
    page_zero_pool_limit(1024);
    while (page_zero_pool_frames() < 64)
      assert_int_equal(page_zero_pool_step(), ERR_AGAIN);
    assert_int_equal(page_zero_pool_step(), ERR_AGAIN); /* the first eighth of a block */
    assert_int_equal(page_zero_pool_frames(), 64);
    if (way == 0)
      page_zero_pool_limit(0);
    unsigned n = fill_with(ALLOC_MOVABLE | ALLOC_ATOMIC);
    assert_int_equal(n, w.free);
    page_free_bulk(n, held);
    page_drain_local();
    world_audit(&w, true);
    world_destroy(&w);
  }
}

static void watermarks_are_kept(void **state) {
  (void)state;
  struct zoneinfo zone;
  make_dirty(&two);
  fill_pool(F(40));
  for (unsigned z = 0; z < 2; z++) {
    struct buddyinfo b;
    assert_true(page_zoneinfo(z, &zone) && page_buddyinfo(z, &b));
    assert_true(b.free_frames >= zone.high && b.free_frames <= zone.high + 512);
    assert_true(b.zeroed_frames > 0);
  }
  world_audit(&w, false);
  assert_int_equal(page_background_step(), ERR_NOMEM); /* it would, if it could */
  world_destroy(&w);
}

static void somebody_is_woken_when_half_is_gone(void **state) {
  (void)state;
  bool zeroed;
  make_dirty(&clean);
  fill_pool(1536);
  wakes = 0;
  for (unsigned i = 0; i < 512; i++) {
    assert_int_equal(wakes, 0);
    assert_int_equal(page_alloc_owned_zeroed(0, ALLOC_MOVABLE, 3, 0, &held[i], &zeroed), ERR_OK);
    assert_true(zeroed);
  }
  assert_int_equal(wakes, 1);
  world_destroy(&w);
}

/* Another CPU comes along while one is zeroing. */
static err_t seen;
static unsigned unlocks;
static void another_cpu_steps(void) {
  if (port_host_cpu == 0 && ++unlocks == 2) {
    port_host_cpu = 1;
    seen = page_zero_pool_step();
    port_host_cpu = 0;
  }
}

static void one_cpu_fills_at_a_time(void **state) {
  (void)state;
  make_dirty(&clean);
  page_zero_pool_limit(100);
  seen = ERR_OK;
  unlocks = 0;
  port_host_unlocked = another_cpu_steps;
  assert_int_equal(page_zero_pool_step(), ERR_AGAIN);
  port_host_unlocked = NULL;
  assert_int_equal(seen, ERR_BUSY);
  fill_pool(100);
  world_audit(&w, false);
  world_destroy(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(frames_come_zeroed),
      cmocka_unit_test(both_orders_get_their_share),
      cmocka_unit_test(a_pageblock_is_zeroed_in_steps),
      cmocka_unit_test(it_goes_back_when_memory_is_short),
      cmocka_unit_test(a_half_done_pageblock_is_given_up),
      cmocka_unit_test(watermarks_are_kept),
      cmocka_unit_test(somebody_is_woken_when_half_is_gone),
      cmocka_unit_test(one_cpu_fills_at_a_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
