/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lists of whole pageblocks in front of the buddy (mm/percpu.c): they grow with what comes and goes, up to their share of RAM, and what goes back
 * from them has the right neighbours and the right type.
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_pair_parts_if_one_is_set_aside),
      cmocka_unit_test(what_comes_and_goes_stays_in_the_list),
      cmocka_unit_test(pageblocks_have_the_type_of_who_asks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
