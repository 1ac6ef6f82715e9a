/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists of whole pageblocks in front of the buddy (mm/percpu.c): they grow with what comes and goes, up to their share of RAM, and what
 * goes back from them has the right neighbours and the right type.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
#include "mm_world.h"

static const struct world_config large = {"large", {{{0x40000}, {0x40000 + F(1024)}}}, {{{0}, {0}}}, 0};

static void a_pair_parts_if_one_is_set_aside(void **state) {
  (void)state;
  struct world w;
  struct buddyinfo info;
  pfn_t lower = pfn(0x40000 + 4096), upper = pfn_add(lower, PAGEBLOCK_FRAMES);
  world_create(&w, &large);
  assert_int_equal(page_alloc_at(lower, PAGEBLOCK_ORDER, ALLOC_MOVABLE), ERR_OK);
  assert_int_equal(page_alloc_at(upper, PAGEBLOCK_ORDER, ALLOC_MOVABLE), ERR_OK);
  page_free(lower, PAGEBLOCK_ORDER);
  page_free(upper, PAGEBLOCK_ORDER);
  assert_true(page_buddyinfo(0, &info));
  assert_int_equal(info.cached_frames, 2 * PAGEBLOCK_FRAMES);
  page_set_block_type(upper, MIGRATE_ISOLATE);
  page_drain_local();
  assert_true(page_buddyinfo(0, &info));
  assert_int_equal(info.free_blocks_of_type[MIGRATE_ISOLATE][PAGEBLOCK_ORDER], 1);
  assert_int_equal(info.free_blocks_of_type[MIGRATE_MOVABLE][PAGEBLOCK_ORDER], 1);
  page_set_block_type(upper, MIGRATE_MOVABLE);
  world_audit(&w, true);
  world_destroy(&w);
}

static pfn_t taken[128];

/* Take and give so many; what the buddy had lost in between, in pageblocks. */
static uint64_t come_and_go(struct world *w, unsigned blocks, alloc_flags_t flags) {
  struct buddyinfo before, after;
  assert_true(page_buddyinfo(0, &before));
  for (unsigned i = 0; i < blocks; i++) {
    assert_int_equal(page_alloc(PAGEBLOCK_ORDER, flags, &taken[i]), ERR_OK);
    world_note_alloc(w, taken[i], PAGEBLOCK_ORDER);
    assert_int_equal(page_block_type(taken[i]), flags);
  }
  assert_true(page_buddyinfo(0, &after));
  for (unsigned i = 0; i < blocks; i++) {
    page_free(taken[i], PAGEBLOCK_ORDER);
    world_note_free(w, taken[i], PAGEBLOCK_ORDER);
  }
  return (before.free_frames - after.free_frames) >> PAGEBLOCK_ORDER;
}

static uint64_t cached_pageblocks(void) {
  struct buddyinfo info;
  assert_true(page_buddyinfo(0, &info));
  return info.cached_frames >> PAGEBLOCK_ORDER;
}

static void what_comes_and_goes_stays_in_the_list(void **state) {
  (void)state;
  struct world w;
  struct buddyinfo info;
  world_create(&w, &large);
  assert_true(page_buddyinfo(0, &info));
  uint64_t managed = info.managed_frames >> PAGEBLOCK_ORDER;
  /* once: hardly any */
  come_and_go(&w, 60, ALLOC_MOVABLE);
  assert_true(cached_pageblocks() <= managed / 32);
  /* again and again: the buddy sees none of it */
  for (unsigned i = 0; i < 10; i++)
    come_and_go(&w, 60, ALLOC_MOVABLE);
  assert_int_equal(come_and_go(&w, 60, ALLOC_MOVABLE), 0);
  world_audit(&w, false);
  /* but never more than an eighth of RAM, until it is wanted elsewhere */
  for (unsigned i = 0; i < 10; i++)
    come_and_go(&w, 128, ALLOC_MOVABLE);
  assert_true(cached_pageblocks() <= managed / 8);
  page_drain_local();
  world_audit(&w, true);
  come_and_go(&w, 60, ALLOC_MOVABLE);
  assert_true(cached_pageblocks() <= managed / 32);
  world_destroy(&w);
}

static void pageblocks_have_the_type_of_who_asks(void **state) {
  (void)state;
  struct world w;
  world_create(&w, &large);
  for (alloc_flags_t type = 0; type < 3; type++)
    come_and_go(&w, 31, type);
  page_drain_local();
  world_audit(&w, true);
  for (unsigned i = 0; i < 31; i++)
    assert_int_equal(page_block_type(taken[i]), MIGRATE_MOVABLE);
  world_destroy(&w);
}

static uint64_t free_frames(void) {
  struct buddyinfo info;
  assert_true(page_buddyinfo(0, &info));
  return info.free_frames;
}

/* The most that one request took from the zone, or gave back. */
static uint64_t largest_step(struct world *w, pfn_t *frames, unsigned count, bool takes) {
  uint64_t largest = 0, last = free_frames();
  for (unsigned i = 0; i < count; i++) {
    if (takes) {
      assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &frames[i]), ERR_OK);
      world_note_alloc(w, frames[i], 0);
    } else {
      page_free(frames[i], 0);
      world_note_free(w, frames[i], 0);
    }
    uint64_t now = free_frames(), step = takes ? last - now : now - last;
    if (step > largest)
      largest = step;
    last = now;
  }
  return largest;
}

/* What is filled and emptied in order goes to and from the zone by the pageblock, and all of it is there afterwards. */
static void much_in_order_goes_by_the_pageblock(void **state) {
  (void)state;
  static pfn_t frames[8 * 512];
  struct world w;
  world_create(&w, &large);
  for (unsigned round = 0; round < 3; round++) {
    assert_int_equal(largest_step(&w, frames, ARRAY_SIZE(frames), true), PAGEBLOCK_FRAMES);
    world_audit(&w, false);
    assert_int_equal(largest_step(&w, frames, ARRAY_SIZE(frames), false), PAGEBLOCK_FRAMES);
    world_audit(&w, false);
  }
  /* one frame amid each run is of another */
  largest_step(&w, frames, ARRAY_SIZE(frames), true);
  for (unsigned i = 10; i < ARRAY_SIZE(frames); i += 128) {
    pfn_t f = frames[i];
    frames[i] = frames[i + 64];
    frames[i + 64] = f;
  }
  assert_true(largest_step(&w, frames, ARRAY_SIZE(frames), false) < PAGEBLOCK_FRAMES);
  page_drain_local();
  world_audit(&w, true);
  world_destroy(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_pair_parts_if_one_is_set_aside),
      cmocka_unit_test(what_comes_and_goes_stays_in_the_list),
      cmocka_unit_test(pageblocks_have_the_type_of_who_asks),
      cmocka_unit_test(much_in_order_goes_by_the_pageblock),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
