/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the allocator does when the fast path does not answer, and beside it: nodes, drains of other CPUs' lists, reclaim, poison, the
 * reports held against numbers computed here. The rest of the slow path is in test_slowpath.c, the zeroed pool in test_zero_pool.c.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
#include "mm_world.h"
#include <string.h>

static const struct world_config clean = {"clean", {R(0x40000, 0x40000 + F(32))}, {{{0}, {0}}}, 0};
static const struct world_config three = {
    "three nodes", {R(0x40000, 0x40000 + F(16)), R(0x48000, 0x48000 + F(16)), R(0x50000, 0x50000 + F(16))}, {{{0}, {0}}}, 0x70000};
static struct world w;
static pfn_t held[F(48)];

static unsigned fill(alloc_flags_t flags) {
  unsigned n = 0;
  while (n < ARRAY_SIZE(held) && page_alloc(0, flags, &held[n]) == ERR_OK)
    n++;
  return n;
}

/* --- nodes ----------------------------------------------------------------------------------------------------------------------- */

static unsigned bank(pfn_t f) {
  return (unsigned)((f.v - 0x40000) >> 15);
}

static void the_nearest_node_comes_first(void **state) {
  (void)state;
  pfn_t f;
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(page_set_node(three.ram[i].start, three.ram[i].end, i), ERR_OK);
  world_create(&w, &three);
  assert_int_equal(page_set_cpu_node(0, 1), ERR_OK);
  assert_int_equal(page_set_distance(1, 2, 15), ERR_OK);
  assert_int_equal(page_set_distance(1, 0, 30), ERR_OK);
  unsigned n = fill(ALLOC_MOVABLE | ALLOC_ATOMIC), turns = 0;
  const unsigned order[] = {1, 2, 0};
  assert_int_equal(n, F(48));
  for (unsigned i = 0; i < n; i++) {
    turns += i != 0 && bank(held[i]) != bank(held[i - 1]);
    world_note_alloc(&w, held[i], 0);
    assert_true(i % 4096 > 3800 || bank(held[i]) == order[i / 4096] || turns > 2);
  }
  /* a frame of another node does not enter this CPU's lists: it is at once its zone's */
  struct buddyinfo before, after;
  assert_true(page_buddyinfo(2, &before));
  for (unsigned i = 0; i < n; i++) {
    if (bank(held[i]) == 2) {
      page_free(held[i], 0);
      world_note_free(&w, held[i], 0);
    }
  }
  assert_true(page_buddyinfo(2, &after));
  assert_int_equal(after.free_frames, before.free_frames + 4096);
  world_audit(&w, false);
  /* nor do they hold any of what it asks for later */
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &f), ERR_OK);
  assert_int_equal(bank(f), 2);
  assert_true(page_buddyinfo(2, &after));
  assert_int_equal(after.cached_frames, 0);
  assert_int_equal(page_alloc(9, ALLOC_MOVABLE, &f), ERR_OK);
  assert_int_equal(bank(f), 2);
  world_destroy(&w);
}

static void nodes_are_checked(void **state) {
  (void)state;
  assert_int_equal(page_set_node(pfn(1), pfn(1), 0), ERR_INVAL);
  assert_int_equal(page_set_node(pfn(1), pfn(2), NODES_MAX), ERR_INVAL);
  assert_int_equal(page_set_cpu_node(PORT_CPUS_MAX, 0), ERR_INVAL);
  assert_int_equal(page_set_distance(0, 1, 10), ERR_INVAL);
  assert_int_equal(page_set_distance(0, 1, 256), ERR_INVAL);
}

/* --- short of memory --------------------------------------------------------------------------------------------------------------- */

static unsigned kicks;
static void kicked(void) {
  kicks++;
}

static void another_cpus_list_is_asked_for(void **state) {
  (void)state;
  pfn_t f;
  world_create(&w, &clean);
  port_host_kicked = kicked;
  kicks = 0;
  unsigned n = fill(ALLOC_MOVABLE | ALLOC_ATOMIC);
  port_host_cpu = 1;
  for (unsigned i = 0; i < 20; i++)
    page_free(held[n - 1 - i], 0);
  port_host_cpu = 0;
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_ATOMIC, &f), ERR_NOMEM);
  assert_true(kicks > 0);
  port_host_cpu = 1;
  page_drain_poll();
  port_host_cpu = 0;
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  port_host_kicked = NULL;
  world_destroy(&w);
}

static unsigned woken, asked, kept;
static void wake(void) {
  woken++;
}

static uint64_t give_some(uint64_t frames) {
  uint64_t n = 0;
  asked++;
  for (; n < frames && kept != 0; n++)
    page_free(held[--kept], 0);
  return n;
}

static const struct page_alloc_ops hooks = {wake, give_some, NULL};

static void reclaim_is_for_those_who_may(void **state) {
  (void)state;
  pfn_t f;
  world_create(&w, &clean);
  page_set_alloc_ops(&hooks);
  woken = asked = 0;
  kept = fill(ALLOC_MOVABLE);
  assert_true(woken > 0);
  assert_int_equal(asked, 0);
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_HIGH, &f), ERR_OK);
  while (page_alloc(0, ALLOC_MOVABLE | ALLOC_HIGH, &f) == ERR_OK)
    continue;
  assert_int_equal(page_free_frames(), F(32) / 64 / 2);
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_MAY_RECLAIM, &f), ERR_OK);
  assert_true(asked > 0);
  struct zoneinfo info;
  assert_true(page_zoneinfo(0, &info));
  assert_true(info.events[ZONE_RECLAIM_STALLS] > 0);
  unsigned so_far = asked;
  while (page_reclaim_step() == ERR_AGAIN)
    continue;
  assert_int_equal(page_background_step(), ERR_NOMEM); /* short, and still the home is not asked ahead of need */
  assert_int_equal(asked, so_far);
  kept = 0;
  while (page_alloc(0, ALLOC_MOVABLE, &f) == ERR_OK)
    continue;
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_MAY_RECLAIM, &f), ERR_NOMEM); /* and ends */
  world_destroy(&w);
}

/* --- poison ------------------------------------------------------------------------------------------------------------------------ */

static void write_after_free(unsigned order, size_t offset) {
  pfn_t f, g;
  world_create(&w, &clean);
  page_poison_enable(true);
  assert_int_equal(page_alloc(order, ALLOC_MOVABLE, &f), ERR_OK);
  page_free(f, order);
  assert_int_equal(page_alloc_at(f, order, ALLOC_MOVABLE), ERR_OK); /* untouched: well */
  page_free(f, order);
  ((uint8_t *)port_frame_ptr(f))[offset] ^= 1;
  if (PORT_EXPECT_CHECK()) {
    while (page_alloc(order, ALLOC_MOVABLE, &g) == ERR_OK)
      continue;
    port_expect_none();
    fail_msg("order %u, offset 0x%zx: not found", order, offset);
  }
  page_poison_enable(false);
  world_destroy(&w);
}

static void writes_after_a_free_are_found(void **state) {
  (void)state;
  write_after_free(0, 0);
  write_after_free(0, PAGE_SIZE - 1);
  write_after_free(3, 5 * PAGE_SIZE + 17);
  write_after_free(9, 511 * PAGE_SIZE);
}

/* --- reports ----------------------------------------------------------------------------------------------------------------------- */

static void indexes_are_linuxs(void **state) {
  (void)state;
  struct pagetypeinfo types;
  world_create(&w, &clean);
  assert_int_equal(page_fragmentation_index(0, 10), -1000);
  assert_int_equal(page_unusable_index(0, 10), 0);
  unsigned n = fill(ALLOC_MOVABLE | ALLOC_ATOMIC);
  assert_int_equal(page_fragmentation_index(0, 0), 0);
  assert_int_equal(page_unusable_index(0, 0), 1000);
  for (unsigned i = 0; i < n; i++) {
    if (held[i].v % 2 == 0)
      page_free(held[i], 0);
  }
  page_drain_local();
  /* 4096 blocks of one frame: order 1 fails by fragmentation alone: 1000 - (1000 + 4096 * 1000 / 2) / 4096 = 500 */
  assert_int_equal(page_fragmentation_index(0, 0), -1000);
  assert_int_equal(page_fragmentation_index(0, 1), 500);
  assert_int_equal(page_unusable_index(0, 0), 0);
  assert_int_equal(page_unusable_index(0, 1), 1000);
  assert_true(page_typeinfo(0, &types));
  assert_int_equal(types.pageblocks[MIGRATE_MOVABLE], 16);
  assert_false(page_typeinfo(1, &types));
  world_destroy(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_nearest_node_comes_first),   cmocka_unit_test(nodes_are_checked),
      cmocka_unit_test(another_cpus_list_is_asked_for), cmocka_unit_test(reclaim_is_for_those_who_may),
      cmocka_unit_test(writes_after_a_free_are_found),  cmocka_unit_test(indexes_are_linuxs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
