/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slow path under every mixture of what a request may do and what its home can do about it: each effort is made by those who may, in
 * the order reclaim after compaction, refused in turn, and ends; pageblocks kept for atomic requests; the boost of the watermarks; stalls
 * that are counted.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// libs: -lpthread
#include "mm/migrate.h"
#include "mm/shrinker.h"
#include "mm/slab.h"
#include "mm_world.h"
#include <pthread.h>
#include <string.h>

#define R(from_, to_)                                                                                                                      \
  {                                                                                                                                        \
    {from_}, {                                                                                                                             \
      to_                                                                                                                                  \
    }                                                                                                                                      \
  }

#define OWNER 3u

static const struct world_config small = {"small", {R(0x40000, 0x40000 + F(32))}, {{{0}, {0}}}, 0};
static const struct world_config large = {"large", {R(0x40000, 0x40000 + F(256))}, {{{0}, {0}}}, 0};
static struct world w;
static pfn_t held[F(256)];
static unsigned count;

/* --- a home that keeps count ------------------------------------------------------------------------------------------------------- */

static unsigned wakes, reclaims, relaxes, scans, moves;
static unsigned give; /* frames that one reclaim gives back, at most; 0: none */

static void wake(void) {
  wakes++;
}

static void relax(void) {
  relaxes++;
}

static uint64_t reclaim(uint64_t frames) {
  uint64_t n = 0;
  reclaims++;
  for (; n < frames && n < give && count != 0; n++)
    page_free(held[--count], 0);
  return n;
}

static uint64_t shrink_count(void) {
  return 1;
}

static uint64_t shrink_scan(uint64_t frames) {
  (void)frames;
  scans++;
  return 0;
}

static const struct shrinker_ops shrinker = {"nothing", shrink_count, shrink_scan};

/* Frames of OWNER move if asked; where each went is noted in its place in `held` (rmap). */
static bool move_is_refused;

static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  (void)from, (void)rmap;
  return order == 0 && owner == OWNER && !move_is_refused ? ERR_OK : ERR_BUSY;
}

static void move(pfn_t from, pfn_t to, unsigned order) {
  (void)from, (void)order;
  moves++;
  held[frame_of(to)->rmap] = to;
}

static void thaw(pfn_t at, unsigned order, owner_t owner) {
  (void)at, (void)order, (void)owner;
}

static const struct migrate_ops mover = {freeze, move, thaw};

static void begin(const struct world_config *config, const struct page_alloc_ops *ops) {
  world_create(&w, config);
  page_set_alloc_ops(ops);
  migrate_set_ops(&mover);
  assert_int_equal(shrinker_register(&shrinker), ERR_OK);
  wakes = reclaims = relaxes = scans = moves = give = count = 0;
  move_is_refused = false;
}

static void end(void) {
  migrate_set_ops(NULL);
  world_destroy(&w);
}

/* All memory in single movable frames of OWNER, of which every `keep_nth` stays: much is free and none of it in one piece. */
static void scatter(unsigned keep_nth) {
  pfn_t f;
  unsigned n = 0;
  while (page_alloc_owned(0, ALLOC_MOVABLE | ALLOC_ATOMIC, OWNER, 0, &f) == ERR_OK)
    held[n++] = f;
  for (unsigned i = 0; i < n; i++) {
    if (held[i].v % keep_nth != 0) {
      page_free(held[i], 0);
    } else {
      frame_of(held[i])->rmap = count;
      held[count++] = held[i];
    }
  }
  page_drain_local();
}

static struct zoneinfo zone(void) {
  struct zoneinfo z;
  assert_true(page_zoneinfo(0, &z));
  return z;
}

/* --- every mixture ----------------------------------------------------------------------------------------------------------------- */

static const struct page_alloc_ops all_hooks = {wake, reclaim, relax};

/* A block of 2 MiB where none is free: moving alone can make one. */
static void compaction_is_for_those_who_may(void **state) {
  (void)state;
  for (unsigned mix = 0; mix < 32; mix++) {
    bool hooks = mix & 1, refused = mix & 2;
    alloc_flags_t flags =
        ALLOC_MOVABLE | (mix & 4 ? ALLOC_MAY_COMPACT : 0) | (mix & 8 ? ALLOC_MAY_RECLAIM : 0) | (mix & 16 ? ALLOC_HIGH : 0);
    pfn_t f;
    begin(&small, hooks ? &all_hooks : NULL);
    scatter(4);
    move_is_refused = refused;
    wakes = 0;
    struct zoneinfo before = zone();
    uint64_t free = page_free_frames();
    err_t err = page_alloc(9, flags, &f);
    struct zoneinfo after = zone();
    bool may = flags & ALLOC_MAY_COMPACT;
    assert_int_equal(err, may && !refused ? ERR_OK : ERR_NOMEM);
    assert_true(may || moves == 0);
    assert_int_equal(wakes, hooks);
    assert_true(may || relaxes == 0);
    assert_true(!may || !hooks || relaxes > 0);
    assert_int_equal(after.events[ZONE_COMPACT_STALLS] > before.events[ZONE_COMPACT_STALLS], may);
    assert_int_equal(after.events[ZONE_RECLAIM_STALLS] > before.events[ZONE_RECLAIM_STALLS], flags & ALLOC_MAY_RECLAIM && err != ERR_OK);
    assert_int_equal(reclaims > 0, hooks && flags & ALLOC_MAY_RECLAIM && err != ERR_OK);
    assert_int_equal(scans > 0, (flags & ALLOC_MAY_RECLAIM) != 0 && err != ERR_OK);
    assert_int_equal(page_free_frames(), err == ERR_OK ? free - 512 : free);
    for (unsigned i = 0; i < count; i++)
      assert_true(frame_of(held[i])->owner == OWNER && frame_of(held[i])->rmap == i);
    end();
  }
}

/* Single frames where nothing is left: reclaim alone can help, and is asked a bounded number of times if it does not. */
static void reclaim_is_asked_and_ends(void **state) {
  (void)state;
  for (unsigned mix = 0; mix < 16; mix++) {
    alloc_flags_t flags = ALLOC_UNMOVABLE | (mix & 1 ? ALLOC_MAY_COMPACT : 0) | (mix & 2 ? ALLOC_MAY_RECLAIM : 0);
    pfn_t f;
    begin(&small, mix & 4 ? &all_hooks : NULL);
    while (page_alloc(0, ALLOC_MOVABLE, &f) == ERR_OK)
      held[count++] = f;
    give = mix & 8 ? 8 : 0;
    err_t err = page_alloc(0, flags, &f);
    bool helped = (mix & 2) && (mix & 4) && give != 0;
    assert_int_equal(err, helped ? ERR_OK : ERR_NOMEM);
    assert_true(reclaims <= 16);
    assert_int_equal(relaxes > 0, (mix & 7) == 7);
    assert_int_equal(moves, 0);
    if (helped)
      assert_int_equal(reclaims, 1);
    end();
  }
}

/* What a home's reclaim gives is refused `nth` times first. */
static unsigned refusals;
static uint64_t reclaim_later(uint64_t frames) {
  if (refusals != 0) {
    refusals--;
    reclaims++;
    return 0;
  }
  return reclaim(frames);
}

static void reclaim_that_comes_late_still_helps(void **state) {
  (void)state;
  static const struct page_alloc_ops late = {wake, reclaim_later, NULL};
  for (unsigned nth = 0; nth < 4; nth++) {
    pfn_t f;
    begin(&small, &late);
    while (page_alloc(0, ALLOC_MOVABLE, &f) == ERR_OK)
      held[count++] = f;
    give = 32;
    refusals = nth;
    assert_int_equal(page_alloc(0, ALLOC_UNMOVABLE | ALLOC_MAY_RECLAIM, &f), ERR_OK);
    assert_int_equal(reclaims, nth + 1);
    end();
  }
}

/*
 * A block of a few frames out of scattered single ones, the movement called off for good halfway: what moved stays moved, nothing is lost.
 */
static void small_orders_are_compacted_too(void **state) {
  (void)state;
  for (unsigned order = 1; order <= 9; order++) {
    pfn_t f;
    begin(&small, &all_hooks);
    scatter(2);
    assert_int_equal(page_alloc(order, ALLOC_UNMOVABLE, &f), ERR_NOMEM);
    assert_int_equal(page_alloc(order, ALLOC_UNMOVABLE | ALLOC_MAY_COMPACT, &f), ERR_OK);
    assert_true(moves >= 1u << (order - 1));
    assert_int_equal(zone().events[ZONE_COMPACT_STALLS], 1);
    end();
  }
}

/* --- kept for atomic requests ------------------------------------------------------------------------------------------------------ */

/* Down to the low watermark, without single frames: the blocks that are left are large. */
static void fill_to_low(void) {
  pfn_t f;
  while (page_free_frames() > zone().low + 512)
    assert_int_equal(page_alloc(9, ALLOC_MOVABLE, &f), ERR_OK);
  while (page_free_frames() >= zone().low)
    assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &f), ERR_OK);
  page_drain_local();
}

static void atomic_requests_keep_pageblocks(void **state) {
  (void)state;
  pfn_t f, g, spare;
  begin(&large, NULL);
  assert_int_equal(page_alloc(9, ALLOC_MOVABLE, &spare), ERR_OK);
  assert_int_equal(page_alloc(3, ALLOC_UNMOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  assert_int_equal(zone().highatomic, 0); /* memory is not short: nothing is set aside */
  fill_to_low();
  assert_int_equal(page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  assert_int_equal(zone().highatomic, 0); /* nor for single frames */
  assert_int_equal(page_alloc(3, ALLOC_UNMOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  assert_int_equal(zone().highatomic, 512);
  assert_int_equal(page_block_type(f), MIGRATE_HIGHATOMIC);
  /* others leave it alone, and stop that much earlier: until nothing else is left */
  page_free(spare, 9);
  page_drain_local();
  uint64_t reserve = zone().min + 512;
  unsigned n = 0;
  for (; page_free_frames() > reserve; n++) {
    assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &g), ERR_OK);
    assert_true(page_block_type(g) != MIGRATE_HIGHATOMIC);
    assert_int_equal(zone().highatomic, 512);
  }
  assert_true(n > 64);
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &g), ERR_OK);
  assert_int_equal(zone().highatomic, 0);
  end();
}

static void no_more_than_a_part_is_kept(void **state) {
  (void)state;
  pfn_t f;
  begin(&large, NULL);
  fill_to_low();
  for (unsigned i = 0; i < 200 && page_alloc(3, ALLOC_UNMOVABLE | ALLOC_ATOMIC, &f) == ERR_OK; i++)
    assert_true(zone().highatomic <= F(256) / 100);
  assert_int_equal(zone().highatomic, 512);
  end();
}

/* Everybody else gets what was kept when nothing else is left, but an atomic request first. */
static void what_was_kept_is_given_up_last(void **state) {
  (void)state;
  pfn_t f;
  begin(&large, NULL);
  fill_to_low();
  assert_int_equal(page_alloc(3, ALLOC_UNMOVABLE | ALLOC_ATOMIC, &f), ERR_OK);
  assert_int_equal(page_block_type(f), MIGRATE_HIGHATOMIC);
  uint64_t min = zone().min;
  while (page_alloc(0, ALLOC_UNMOVABLE, &f) == ERR_OK)
    continue;
  assert_int_equal(zone().highatomic, 0);
  assert_int_equal(page_free_frames(), min); /* down to the min watermark, no further */
  end();
}

/* --- boost ------------------------------------------------------------------------------------------------------------------------- */

static void sharing_a_pageblock_raises_the_mark(void **state) {
  (void)state;
  pfn_t f;
  begin(&small, &all_hooks);
  scatter(2);
  assert_int_equal(zone().boost, 0);
  assert_int_equal(page_alloc(0, ALLOC_UNMOVABLE, &f), ERR_OK); /* no pageblock of its own type, none wholly free */
  struct zoneinfo z = zone();
  assert_true(z.boost > 0 && z.events[ZONE_STEALS] == 1);
  wakes = 0;
  while (page_free_frames() >= z.low + z.boost)
    assert_int_equal(page_alloc(1, ALLOC_UNMOVABLE | ALLOC_MAY_COMPACT, &f), ERR_OK);
  wakes = 0;
  assert_int_equal(page_alloc(3, ALLOC_UNMOVABLE | ALLOC_MAY_COMPACT, &f), ERR_OK); /* below the raised mark: the background is woken */
  assert_true(wakes > 0);
  assert_true(page_free_frames() > z.low);
  uint64_t boost = zone().boost;
  for (unsigned i = 0; i < 100 && page_reclaim_step() == ERR_AGAIN; i++) {
    assert_true(zone().boost < boost);
    boost = zone().boost;
  }
  assert_int_equal(boost, 0);
  end();
}

/* --- stalls, from many CPUs -------------------------------------------------------------------------------------------------------- */

#define THREADS 4u
#define STALLS 2000u

static void *stall(void *arg) {
  pfn_t f;
  port_host_cpu = (unsigned)(uintptr_t)arg;
  for (unsigned i = 0; i < STALLS; i++)
    assert_int_equal(page_alloc(10, ALLOC_MOVABLE | ALLOC_MAY_RECLAIM, &f), ERR_NOMEM);
  return NULL;
}

static void every_stall_is_counted(void **state) {
  (void)state;
  pthread_t t[THREADS];
  begin(&small, NULL);
  scatter(2);
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&t[i], NULL, stall, (void *)(uintptr_t)i), 0);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join(t[i], NULL);
  assert_int_equal(zone().events[ZONE_RECLAIM_STALLS], THREADS * STALLS);
  end();
}

/* --- slabs ------------------------------------------------------------------------------------------------------------------------- */

static void slabs_go_as_far_as_their_caller_may(void **state) {
  (void)state;
  struct slab_cache *c;
  pfn_t f;
  begin(&small, &all_hooks);
  assert_int_equal(slab_create("c", 4096, 0, &c), ERR_OK);
  while (page_alloc(0, ALLOC_MOVABLE, &f) == ERR_OK)
    held[count++] = f;
  uint64_t min = zone().min;
  while (slab_alloc(c))
    continue;
  assert_int_equal(page_free_frames(), min); /* not a frame of the reserve */
  assert_null(slab_alloc(c));
  while (slab_alloc_with(c, ALLOC_HIGH))
    continue;
  assert_int_equal(page_free_frames(), min / 2);
  while (slab_alloc_with(c, ALLOC_ATOMIC))
    continue;
  assert_int_equal(page_free_frames(), 0);
  assert_int_equal(reclaims, 0);
  give = 300;
  assert_non_null(slab_alloc_with(c, ALLOC_ATOMIC | ALLOC_MAY_RECLAIM));
  assert_int_equal(reclaims, 1);
  if (PORT_EXPECT_CHECK()) {
    (void)!slab_alloc_with(c, ALLOC_MOVABLE);
    port_expect_none();
    fail();
  }
  end();
}

/* A round through the slabs is bounded, goes on where it stopped, and gets everything in the end. */
static void slabs_shrink_in_bounded_steps(void **state) {
  (void)state;
  struct slab_cache *c[8];
  void *o[256];
  begin(&large, NULL);
  uint64_t before = page_free_frames();
  for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
    assert_int_equal(slab_create("c", 128, 0, &c[i]), ERR_OK);
    for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++) {
      port_host_cpu = cpu;
      for (unsigned k = 0; k < ARRAY_SIZE(o); k++)
        assert_non_null(o[k] = slab_alloc(c[i]));
      for (unsigned k = 0; k < ARRAY_SIZE(o); k++)
        slab_free(c[i], o[k]);
    }
  }
  port_host_cpu = 0;
  unsigned steps = 0;
  uint64_t got = 0, step;
  struct slab_info info;
  do {
    step = slab_shrink_some(~(uint64_t)0);
    got += step;
    steps++;
  } while (step != 0 && steps < 100);
  assert_true(steps >= 3); /* 8 caches of some 600 objects in magazines, 1,024 a step */
  for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
    slab_describe(c[i], &info);
    assert_true(info.slabs == 0 && info.cached_objects == 0);
    slab_destroy(c[i]);
  }
  assert_true(got >= 8);
  slab_shrink_all(~(uint64_t)0);
  assert_int_equal(page_free_frames(), before);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(compaction_is_for_those_who_may),
      cmocka_unit_test(reclaim_is_asked_and_ends),
      cmocka_unit_test(reclaim_that_comes_late_still_helps),
      cmocka_unit_test(small_orders_are_compacted_too),
      cmocka_unit_test(atomic_requests_keep_pageblocks),
      cmocka_unit_test(no_more_than_a_part_is_kept),
      cmocka_unit_test(what_was_kept_is_given_up_last),
      cmocka_unit_test(sharing_a_pageblock_raises_the_mark),
      cmocka_unit_test(every_stall_is_counted),
      cmocka_unit_test(slabs_go_as_far_as_their_caller_may),
      cmocka_unit_test(slabs_shrink_in_bounded_steps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
