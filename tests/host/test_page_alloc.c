/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the page allocator promises beyond not losing frames: migrate types keep to their pageblocks and fall back as mm/fallback.c says,
 * isolation, exact placement, watermarks, bulk, zeroing, neighbours in order.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
#include "mm_world.h"
#include <string.h>

/* --- types, placement, watermarks ---------------------------------------------------------------------------------------------- */

static const struct world_config clean = {"clean", {R(0x40000, 0x40000 + F(32))}, {{{0}, {0}}}, 0};

static uint64_t pageblock_start(pfn_t f) {
  return f.v & ~(PAGEBLOCK_FRAMES - 1);
}

static void types_keep_to_their_pageblocks(void **state) {
  (void)state;
  struct world w;
  enum {
    EACH = 700
  };
  static pfn_t f[3][EACH];
  world_create(&w, &clean);
  for (unsigned i = 0; i < EACH; i++) {
    for (unsigned type = 0; type < 3; type++) {
      assert_int_equal(page_alloc(0, type, &f[type][i]), ERR_OK);
      world_note_alloc(&w, f[type][i], 0);
      assert_int_equal(page_block_type(f[type][i]), type);
    }
  }
  /* 700 frames fill two pageblocks, 2100 at most six: nobody shares one */
  for (unsigned type = 0; type < 3; type++) {
    for (unsigned i = 0; i < EACH; i++) {
      assert_true(pageblock_start(f[type][i]) == pageblock_start(f[type][0]) ||
                  pageblock_start(f[type][i]) == pageblock_start(f[type][EACH - 1]));
      page_free(f[type][i], 0);
      world_note_free(&w, f[type][i], 0);
    }
  }
  page_drain_local();
  world_audit(&w, true);
  world_destroy(&w);
}

/* All RAM in single movable frames. */
static unsigned fill(pfn_t *f, unsigned max, alloc_flags_t flags) {
  unsigned n = 0;
  while (n < max && page_alloc(0, flags, &f[n]) == ERR_OK)
    n++;
  return n;
}

static pfn_t filled[F(32)];

static void a_fragment_is_taken_with_its_pageblock(void **state) {
  (void)state;
  struct world w;
  struct buddyinfo info;
  pfn_t f;
  world_create(&w, &clean);
  unsigned n = fill(filled, ARRAY_SIZE(filled), ALLOC_MOVABLE | ALLOC_ATOMIC);
  assert_int_equal(n, F(32));
  /* free the second pageblock but for one frame: no whole one is to be had */
  uint64_t pb = 0x40000 + 512;
  for (unsigned i = 0; i < n; i++) {
    if (pageblock_start(filled[i]) == pb && filled[i].v != pb + 100)
      page_free(filled[i], 0);
  }
  page_drain_local();
  assert_int_equal(page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  assert_int_equal(pageblock_start(f), pb);
  /* more than half of it was free: it is unmovable now, and so is all that is free in it */
  assert_int_equal(page_block_type(f), MIGRATE_UNMOVABLE);
  assert_true(page_buddyinfo(0, &info));
  for (unsigned order = 0; order <= MAX_ORDER; order++)
    assert_int_equal(info.free_blocks_of_type[MIGRATE_MOVABLE][order], 0);
  world_destroy(&w);
}

static void a_small_movable_block_takes_no_pageblock(void **state) {
  (void)state;
  struct world w;
  struct buddyinfo info;
  pfn_t f;
  uint64_t pair = 0x40000 + 1600;
  world_create(&w, &clean);
  unsigned n = fill(filled, ARRAY_SIZE(filled), ALLOC_UNMOVABLE | ALLOC_ATOMIC);
  for (unsigned i = 0; i < n; i++) {
    if ((filled[i].v & ~(uint64_t)1) == pair || (filled[i].v & ~(uint64_t)1) == pair + 8)
      page_free(filled[i], 0);
  }
  page_drain_local();
  assert_int_equal(page_alloc(1, ALLOC_MOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  assert_int_equal(page_block_type(f), MIGRATE_UNMOVABLE);
  /* the other pair is still what it was */
  assert_true(page_buddyinfo(0, &info));
  assert_int_equal(info.free_blocks_of_type[MIGRATE_UNMOVABLE][1], 1);
  world_destroy(&w);
}

static void an_isolated_pageblock_gives_nothing(void **state) {
  (void)state;
  struct world w;
  struct buddyinfo info;
  pfn_t inside = pfn(0x40000 + 512 + 7), f;
  world_create(&w, &clean);
  page_set_block_type(inside, MIGRATE_ISOLATE);
  world_audit(&w, false);
  assert_true(page_buddyinfo(0, &info));
  assert_int_equal(info.free_blocks_of_type[MIGRATE_ISOLATE][PAGEBLOCK_ORDER], 1);
  unsigned n = fill(filled, ARRAY_SIZE(filled), ALLOC_MOVABLE | ALLOC_ATOMIC);
  assert_int_equal(n, F(32) - 512);
  for (unsigned i = 0; i < n; i++)
    assert_true(pageblock_start(filled[i]) != 0x40000 + 512);
  /* by name it is to be had, and comes back isolated, past the per-CPU lists */
  assert_int_equal(page_alloc_at(inside, 0, ALLOC_MOVABLE), ERR_OK);
  page_free(inside, 0);
  assert_true(page_buddyinfo(0, &info));
  assert_int_equal(info.free_blocks_of_type[MIGRATE_ISOLATE][PAGEBLOCK_ORDER], 1);
  /* its neighbour does not flow into it, until it is movable again */
  for (unsigned i = 0; i < n; i++)
    page_free(filled[i], 0);
  page_drain_local();
  assert_true(page_buddyinfo(0, &info));
  assert_int_equal(info.free_blocks[PAGEBLOCK_ORDER], 2);
  page_set_block_type(inside, MIGRATE_MOVABLE);
  assert_true(page_buddyinfo(0, &info));
  assert_int_equal(info.free_blocks[PAGEBLOCK_ORDER], 0);
  assert_int_equal(info.free_blocks[MAX_ORDER], 8);
  world_audit(&w, true);
  assert_int_equal(page_alloc(MAX_ORDER, ALLOC_MOVABLE, &f), ERR_OK);
  world_destroy(&w);
}

static void placement_is_exact_or_refused(void **state) {
  (void)state;
  struct world w;
  world_create(&w, &clean);
  assert_int_equal(page_alloc_at(pfn(0x40000 + 700), 0, ALLOC_MOVABLE), ERR_OK);
  assert_int_equal(page_alloc_at(pfn(0x40000 + 700), 0, ALLOC_MOVABLE), ERR_BUSY);
  assert_int_equal(page_alloc_at(pfn(0x40000 + 512), 9, ALLOC_MOVABLE), ERR_BUSY);
  assert_int_equal(page_alloc_at(pfn(0x40000), 10, ALLOC_MOVABLE), ERR_BUSY);
  assert_int_equal(page_alloc_at(pfn(0x40000), 9, ALLOC_MOVABLE), ERR_OK);
  assert_int_equal(page_alloc_at(pfn(0x40001), 1, ALLOC_MOVABLE), ERR_INVAL);
  assert_int_equal(page_alloc_at(pfn(0x40000), MAX_ORDER + 1, ALLOC_MOVABLE), ERR_INVAL);
  assert_int_equal(page_alloc_at(pfn(0x40000), 0, 3), ERR_INVAL);
  assert_int_equal(page_alloc_at(pfn(0x3ffff), 0, ALLOC_MOVABLE), ERR_RANGE);
  assert_int_equal(page_alloc_at(pfn(0x40000 + F(32)), 0, ALLOC_MOVABLE), ERR_RANGE);
  assert_int_equal(page_alloc_at(pfn(~(uint64_t)0), 0, ALLOC_MOVABLE), ERR_RANGE);
  world_destroy(&w);
}

static void bad_arguments_change_nothing(void **state) {
  (void)state;
  struct world w;
  pfn_t f;
  world_create(&w, &clean);
  assert_int_equal(page_alloc(MAX_ORDER + 1, 0, &f), ERR_INVAL);
  assert_int_equal(page_alloc(0, 3, &f), ERR_INVAL);
  assert_int_equal(page_alloc(4, 3, &f), ERR_INVAL);
  assert_int_equal(page_alloc(0, 0x100, &f), ERR_INVAL);
  assert_int_equal(page_alloc(0, 0x80000000u, &f), ERR_INVAL);
  world_audit(&w, true);
  world_destroy(&w);
}

static void the_reserve_is_for_atomic_requests(void **state) {
  (void)state;
  struct world w;
  struct buddyinfo info;
  pfn_t f;
  world_create(&w, &clean);
  unsigned n = fill(filled, ARRAY_SIZE(filled), ALLOC_MOVABLE);
  assert_true(page_buddyinfo(0, &info));
  assert_true(info.min_frames >= 16 && info.min_frames < info.low_frames && info.low_frames < info.high_frames);
  assert_int_equal(info.free_frames, info.min_frames);
  assert_int_equal(n, F(32) - info.min_frames);
  assert_int_equal(page_alloc(1, ALLOC_MOVABLE, &f), ERR_NOMEM);
  assert_int_equal(page_alloc(2, ALLOC_MOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  /* what one atomic request takes below the mark does not feed others */
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &f), ERR_NOMEM);
  for (uint64_t left = info.min_frames - 5; left > 0; left--)
    assert_int_equal(page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE | ALLOC_ATOMIC, &f), ERR_NOMEM);
  assert_int_equal(page_free_frames(), 0);
  world_destroy(&w);
}

static void a_list_of_another_type_is_no_waste(void **state) {
  (void)state;
  struct world w;
  pfn_t f;
  world_create(&w, &clean);
  unsigned n = fill(filled, ARRAY_SIZE(filled), ALLOC_UNMOVABLE | ALLOC_ATOMIC);
  page_free(filled[n - 1], 0); /* lies in this CPU's unmovable list */
  assert_int_equal(page_alloc(0, ALLOC_RECLAIMABLE | ALLOC_ATOMIC, &f), ERR_OK);
  page_free(f, 0);
  page_free(filled[0], 0);
  page_free(filled[1], 0);
  assert_int_equal(page_alloc(1, ALLOC_MOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  world_destroy(&w);
}

static void bulk_is_all_or_nothing(void **state) {
  (void)state;
  struct world w;
  world_create(&w, &clean);
  uint64_t before = page_free_frames();
  assert_int_equal(page_alloc_bulk(ARRAY_SIZE(filled), ALLOC_MOVABLE, filled), ERR_NOMEM);
  assert_int_equal(page_free_frames(), before);
  page_drain_local();
  world_audit(&w, true);
  assert_int_equal(page_alloc_bulk(1000, ALLOC_MOVABLE, filled), ERR_OK);
  for (unsigned i = 0; i < 1000; i++)
    world_note_alloc(&w, filled[i], 0);
  world_audit(&w, false);
  world_destroy(&w);
}

/* Two owners, an order that is anything but ascending, two frames of an isolated pageblock among them. */
static void a_mixed_lot_is_freed_at_once(void **state) {
  (void)state;
  struct world w;
  struct ledger l;
  enum {
    LOT = 3000
  };
  static pfn_t lot[LOT];
  uint64_t seed = 77;
  world_create(&w, &clean);
  for (unsigned round = 0; round < 30; round++) {
    for (unsigned i = 0; i < LOT; i++) {
      assert_int_equal(page_alloc_owned(0, i % 3 ? ALLOC_MOVABLE : ALLOC_UNMOVABLE, 8 + i / 1000, i, &lot[i]), ERR_OK);
      frame_of(lot[i])->refs = frame_of(lot[i])->private = 5;
      world_note_alloc(&w, lot[i], 0);
    }
    page_set_block_type(lot[7], MIGRATE_ISOLATE);
    for (unsigned i = 0; i < round * 100; i++) {
      unsigned a = world_random(&seed) % LOT, b = world_random(&seed) % LOT;
      pfn_t f = lot[a];
      lot[a] = lot[b];
      lot[b] = f;
    }
    unsigned first = world_random(&seed) % LOT;
    page_free_bulk(first, lot);
    page_free_bulk(LOT - first, lot + first);
    for (unsigned i = 0; i < LOT; i++)
      world_note_free(&w, lot[i], 0);
    world_audit(&w, false);
    for (owner_t owner = 8; owner < 11; owner++) {
      ledger_read_owner(owner, &l);
      assert_int_equal(l.frames[FRAME_OWNED], 0);
    }
    for (uint64_t f = 0x40000; f < 0x40000 + F(32); f += PAGEBLOCK_FRAMES) {
      if (page_block_type(pfn(f)) == MIGRATE_ISOLATE)
        page_set_block_type(pfn(f), MIGRATE_MOVABLE);
    }
  }
  page_drain_local();
  world_audit(&w, true);
  world_destroy(&w);
}

/* What a list holds is as new: nothing of the earlier life; and it comes in order. */
static void what_was_freed_at_once_comes_back_new(void **state) {
  (void)state;
  struct world w;
  pfn_t f, last = pfn(0);
  world_create(&w, &clean);
  assert_int_equal(page_alloc(9, ALLOC_MOVABLE, &f), ERR_OK);
  frame_split_block(f, 9, 0);
  for (unsigned i = 0; i < 512; i++) {
    filled[i] = pfn_add(f, i);
    frame_set_state(filled[i], 0, FRAME_OWNED, 9, 0x1000);
    frame_of(filled[i])->refs = frame_of(filled[i])->private = 3;
  }
  page_free_bulk(512, filled);
  for (unsigned i = 0; i < 512; i++, last = f) {
    assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &f), ERR_OK);
    assert_int_equal(frame_state(f), FRAME_CACHED);
    assert_true(frame_of(f)->refs == 0 && frame_of(f)->private == 0 && frame_of(f)->rmap == 0);
    assert_true(i % 32 == 0 || f.v == last.v + 1);
  }
  world_destroy(&w);
}

static void a_run_ends_with_its_pageblock(void **state) {
  (void)state;
  struct world w;
  struct buddyinfo info;
  pfn_t f = pfn(0x40000 + 1024);
  world_create(&w, &clean);
  assert_int_equal(page_alloc_at(f, 10, ALLOC_MOVABLE), ERR_OK);
  frame_split_block(f, 10, 0);
  page_set_block_type(pfn_add(f, 512), MIGRATE_ISOLATE);
  for (unsigned i = 0; i < 1024; i++)
    filled[i] = pfn_add(f, i);
  page_free_bulk(1024 - 500, filled + 500);
  /* all of the isolated one went past the lists */
  assert_true(page_buddyinfo(0, &info));
  assert_int_equal(info.free_blocks_of_type[MIGRATE_ISOLATE][PAGEBLOCK_ORDER], 1);
  world_destroy(&w);
}

static void free_again(unsigned at) {
  if (PORT_EXPECT_CHECK()) {
    page_free_bulk(2, filled + at);
    port_expect_none();
    fail_msg("frame %u was freed twice", at);
  }
}

/* Whether the frame is in a list or, with its neighbours, in the buddy. */
static void a_second_free_is_noticed(void **state) {
  (void)state;
  struct world w;
  for (unsigned at = 1; at < 512; at += 170) {
    pfn_t f;
    world_create(&w, &clean);
    assert_int_equal(page_alloc(9, ALLOC_MOVABLE, &f), ERR_OK);
    frame_split_block(f, 9, 0);
    for (unsigned i = 0; i < 512; i++)
      filled[i] = pfn_add(f, i);
    page_free_bulk(511, filled);
    free_again(at);
    world_destroy(&w);
  }
}

static void freeing_none_is_nothing(void **state) {
  (void)state;
  struct world w;
  world_create(&w, &clean);
  page_free_bulk(0, filled);
  world_audit(&w, true);
  world_destroy(&w);
}

static void zeroed_means_zeroed(void **state) {
  (void)state;
  struct world w;
  pfn_t f;
  world_create(&w, &clean);
  for (unsigned order = 0; order <= MAX_ORDER; order += 2) {
    for (unsigned round = 0; round < 2; round++) {
      assert_int_equal(page_alloc(order, ALLOC_MOVABLE | ALLOC_ZERO, &f), ERR_OK);
      const uint8_t *p = port_frame_ptr(f);
      for (size_t i = 0; i < (size_t)PAGE_SIZE << order; i++)
        assert_int_equal(p[i], 0);
      memset(port_frame_ptr(f), 0xff, (size_t)PAGE_SIZE << order);
      page_free(f, order);
    }
  }
  world_destroy(&w);
}

static void owned_at_once(void **state) {
  (void)state;
  struct world w;
  struct ledger l;
  pfn_t f;
  world_create(&w, &clean);
  for (unsigned i = 0; i < 200; i++) {
    unsigned order = i % 8 ? 0 : 3;
    assert_int_equal(page_alloc_owned(order, ALLOC_MOVABLE | (i % 3 ? 0 : ALLOC_ZERO), 9, 0x7000 + i, &f), ERR_OK);
    world_note_alloc(&w, f, order);
    assert_int_equal(frame_state(f), FRAME_OWNED);
    assert_true(frame_of(f)->owner == 9 && frame_of(f)->rmap == 0x7000 + i && frame_of(f)->flags == FRAME_F_HEAD);
    assert_int_equal(frame_of(f)->refs | frame_of(f)->private, 0);
  }
  world_audit(&w, false);
  ledger_read_owner(9, &l);
  assert_int_equal(l.frames[FRAME_OWNED], 25 * 8 + 175);
  assert_int_equal(page_alloc_owned(0, ALLOC_MOVABLE | ALLOC_RETURN_CORE, 9, 0, &f), ERR_INVAL);
  assert_int_equal(page_alloc_owned(0, 3, 9, 0, &f), ERR_INVAL);
  assert_int_equal(page_alloc_owned(MAX_ORDER + 1, ALLOC_MOVABLE, 9, 0, &f), ERR_INVAL);
  while (page_alloc_owned(0, ALLOC_MOVABLE, 9, 0, &f) == ERR_OK)
    world_note_alloc(&w, f, 0);
  world_audit(&w, false);
  world_destroy(&w);
}

static struct world *race_world;
static pfn_t race_frame;
static unsigned race_order;

/* Another CPU gives the neighbour back while the first holds a block that it has not claimed yet. */
static void free_neighbour(void) {
  port_host_unlocked = NULL;
  port_host_cpu = 1;
  page_free(race_frame, race_order);
  page_drain_local();
  world_note_free(race_world, race_frame, race_order);
  port_host_cpu = 0;
}

static void race(struct world *w, unsigned order, unsigned alloc_order) {
  pfn_t pair = pfn(0x40000 + 1024), got;
  assert_int_equal(page_alloc_at(pair, order + 1, ALLOC_MOVABLE), ERR_OK);
  world_note_alloc(w, pair, order + 1);
  frame_split_block(pair, order + 1, order);
  page_free(pair, order);
  world_note_free(w, pair, order);
  page_drain_local();
  race_world = w;
  race_frame = pfn_add(pair, (uint64_t)1 << order);
  race_order = order;
  port_host_unlocked = free_neighbour;
  assert_int_equal(page_alloc(alloc_order, ALLOC_MOVABLE, &got), ERR_OK);
  assert_null(port_host_unlocked);
  world_note_alloc(w, got, alloc_order);
  world_audit(w, false);
  page_free(got, alloc_order);
  world_note_free(w, got, alloc_order);
  page_drain_local();
  world_audit(w, true);
}

static void a_block_on_its_way_is_nobodys_buddy(void **state) {
  (void)state;
  struct world w;
  world_create(&w, &clean);
  race(&w, 0, 0);
  race(&w, 2, 0);
  race(&w, 3, 3);
  race(&w, 4, 2);
  race(&w, 8, 8);
  race(&w, 9, 9);
  world_destroy(&w);
}

static void neighbours_come_in_order(void **state) {
  (void)state;
  struct world w;
  pfn_t f, last;
  world_create(&w, &clean);
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &last), ERR_OK);
  for (unsigned i = 1; i < 32; i++, last = f) {
    assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &f), ERR_OK);
    assert_int_equal(f.v, last.v + 1);
  }
  world_destroy(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(types_keep_to_their_pageblocks),
      cmocka_unit_test(a_fragment_is_taken_with_its_pageblock),
      cmocka_unit_test(a_small_movable_block_takes_no_pageblock),
      cmocka_unit_test(an_isolated_pageblock_gives_nothing),
      cmocka_unit_test(placement_is_exact_or_refused),
      cmocka_unit_test(bad_arguments_change_nothing),
      cmocka_unit_test(the_reserve_is_for_atomic_requests),
      cmocka_unit_test(a_list_of_another_type_is_no_waste),
      cmocka_unit_test(bulk_is_all_or_nothing),
      cmocka_unit_test(a_mixed_lot_is_freed_at_once),
      cmocka_unit_test(what_was_freed_at_once_comes_back_new),
      cmocka_unit_test(a_run_ends_with_its_pageblock),
      cmocka_unit_test(a_second_free_is_noticed),
      cmocka_unit_test(freeing_none_is_nothing),
      cmocka_unit_test(zeroed_means_zeroed),
      cmocka_unit_test(owned_at_once),
      cmocka_unit_test(a_block_on_its_way_is_nobodys_buddy),
      cmocka_unit_test(neighbours_come_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
