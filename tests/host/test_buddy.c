/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page allocator against a bitmap: set-up over odd maps, random work over many seeds, exhaustion, alignment, exact placement,
 * migrate types, watermarks, and what it must refuse.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
#include "mm_world.h"
#include <stdlib.h>
#include <string.h>

static const struct world_config maps[] = {
    {"plain", {R(0x40000, 0x40000 + F(64))}, {R(0x40000, 0x40000 + 37)}, 0x40400},
    {"odd edges", {R(0x40003, 0x40000 + F(21) + 5)}, {R(0x40080, 0x40081), R(0x40a00, 0x40a01), R(0x40bff, 0x40c01)}, 0},
    {"two banks", {R(0x100, 0x100 + F(9)), R(0x8000, 0x8000 + F(12) + 1)}, {R(0x8000, 0x8010)}, 0},
    {"banks in one chunk", {R(0x40000, 0x40100), R(0x40180, 0x40200), R(0x40280, 0x41000)}, {{{0}, {0}}}, 0},
    {"adjacent banks", {R(0x40000, 0x40123), R(0x40123, 0x40a00), R(0x40a00, 0x41000)}, {{{0}, {0}}}, 0},
    {"reserved in any order, overlapping",
     {R(0x40000, 0x42000)},
     {R(0x41800, 0x43000), R(0x30000, 0x40001), R(0x40ff0, 0x41010), R(0x41000, 0x41020), R(0x50000, 0x50001), R(0x40200, 0x40200)},
     0x40600},
    {"high", {R(0x100000000, 0x100000000 + F(8))}, {R(0x100000000, 0x100000001)}, 0},
    {"one frame", {R(0x41234, 0x41235)}, {{{0}, {0}}}, 0},
    {"less than a pageblock", {R(0x40010, 0x40020), R(0x40031, 0x4003f)}, {R(0x40018, 0x40019)}, 0},
};

/* --- set-up -------------------------------------------------------------------------------------------------------------------- */

static void take_all(struct world *w) {
  pfn_t f;
  for (unsigned order = MAX_ORDER + 1; order-- > 0;) {
    while (page_alloc(order, (order & 1 ? ALLOC_MOVABLE : ALLOC_UNMOVABLE) | ALLOC_ATOMIC, &f) == ERR_OK)
      world_note_alloc(w, f, order);
  }
}

static void give_all(struct world *w) {
  for (uint64_t f = w->base; f < w->base + w->frames; f++) {
    if (w->what[f - w->base] != WORLD_USED)
      continue;
    unsigned order = frame_of(pfn(f))->order;
    page_free(pfn(f), order);
    world_note_free(w, pfn(f), order);
  }
}

/* --- what is told --------------------------------------------------------------------------------------------------------------- */

static unsigned freed;

static void not_free_yet(unsigned event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
  (void)b, (void)c, (void)d, (void)e;
  if (event != MM_EVENT_FRAME_FREE)
    return;
  freed++;
  assert_int_not_equal(frame_state(pfn(a)), FRAME_FREE); /* where another CPU takes it from */
}

/* Who reads a trace of several CPUs must not see a frame taken before it was given. */
static void it_is_told_before_others_may_have_it(void **state) {
  struct world w;
  pfn_t f[600], block;
  (void)state;
  world_create(&w, &maps[0]);
  for (unsigned i = 0; i < ARRAY_SIZE(f); i++)
    assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &f[i]), ERR_OK);
  assert_int_equal(page_alloc(3, ALLOC_MOVABLE, &block), ERR_OK);
  port_host_event = not_free_yet;
  page_free(block, 3);    /* of an order that has no list */
  page_free_bulk(400, f); /* more than a list holds */
  for (unsigned i = 400; i < 600; i++)
    page_free(f[i], 0);
  port_host_event = NULL;
  assert_int_equal(freed, 601);
  page_drain_local();
  world_audit(&w, true);
  world_destroy(&w);
}

static void every_map_is_taken_whole_and_given_back(void **state) {
  (void)state;
  for (unsigned i = 0; i < ARRAY_SIZE(maps); i++) {
    struct world w;
    world_create(&w, &maps[i]);
    world_audit(&w, true);
    take_all(&w);
    assert_int_equal(w.free, 0);
    world_audit(&w, true);
    give_all(&w);
    page_drain_local();
    world_audit(&w, true);
    world_destroy(&w);
  }
}

static void bad_maps_are_refused(void **state) {
  (void)state;
  static uint8_t table[1 << 20] ALIGNED(4096);
  struct mem_range unsorted[] = {R(0x2000, 0x3000), R(0x1000, 0x2000)}, overlap[] = {R(0x1000, 0x2000), R(0x1fff, 0x3000)};
  struct mem_range empty[] = {R(0x1000, 0x1000)}, good[] = {R(0x1000, 0x1010)}, wide[] = {R(0, 1), R(0x100000000, 0x100000001)};
  struct mem_range many[RESERVED_RANGES_MAX + 1] = {R(0, 1)};
  assert_int_equal(page_alloc_init(unsorted, 2, NULL, 0, table), ERR_INVAL);
  assert_int_equal(page_alloc_init(overlap, 2, NULL, 0, table), ERR_INVAL);
  assert_int_equal(page_alloc_init(empty, 1, NULL, 0, table), ERR_INVAL);
  assert_int_equal(page_alloc_init(good, 0, NULL, 0, table), ERR_INVAL);
  assert_int_equal(page_alloc_init(good, 1, NULL, 0, NULL), ERR_INVAL);
  assert_int_equal(page_alloc_init(good, 1, NULL, 0, table + 8), ERR_INVAL);
  assert_int_equal(page_alloc_init(wide, 2, NULL, 0, table), ERR_NOSPC);
  assert_int_equal(page_alloc_init(good, 1, many, RESERVED_RANGES_MAX + 1, table), ERR_NOSPC);
  assert_int_equal(page_alloc_init(good, RAM_RANGES_MAX + 1, NULL, 0, table), ERR_NOSPC);
  assert_int_equal(frame_table_bytes(overlap, 2), 0);
}

static void big_ram_is_not_touched_at_boot(void **state) {
  (void)state;
  /* 64 GiB whose table, 512 MiB, would be seen in the time and memory this takes */
  struct world_config big = {"big", {R(0x40000, 0x40000 + F(65536))}, {R(0x40000, 0x40010)}, 0x40400};
  uint64_t table_bytes = frame_table_bytes(big.ram, 1);
  struct mem_range reserved[] = {big.reserved[0], R(0x40400, 0x40400 + (table_bytes >> PAGE_SHIFT))};
  struct buddyinfo info;
  pfn_t f;
  port_host_ram_create(0x40000, F(65536));
  assert_int_equal(page_alloc_init(big.ram, 1, reserved, 2, port_frame_ptr(pfn(0x40400))), ERR_OK);
  assert_int_equal(ledger_total(), F(65536));
  assert_true(page_buddyinfo(0, &info));
  assert_true(info.unopened_frames > F(65536) - F(520));
  assert_int_equal(frame_state(pfn(0x40000 + F(40000))), FRAME_FREE);
  assert_int_equal(page_alloc(9, ALLOC_MOVABLE, &f), ERR_OK);
  assert_true(page_buddyinfo(0, &info));
  assert_true(info.unopened_frames > F(65536) - F(524));
  page_free(f, 9);
  port_host_ram_destroy();
}

static void metadata_is_32_bytes_a_frame(void **state) {
  (void)state;
  const uint64_t gib[] = {1, 4, 64};
  for (unsigned i = 0; i < ARRAY_SIZE(gib); i++) {
    struct mem_range ram = R(0x40000, 0x40000 + F(1024 * gib[i]));
    assert_true(frame_table_bytes(&ram, 1) <= 32 * F(1024 * gib[i]));
  }
}

/* Where the pageblocks lie inside the table, whatever its alignment: the frames of the table stay reserved, all others are to be had. */
static void a_table_holds_its_pageblocks(void **state) {
  (void)state;
  const uint64_t at[] = {0x40000, 0x40001, 0x401ff, 0x40000 + F(508) - 3};
  for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
    struct world_config big = {"512 MiB", {R(0x40000, 0x40000 + F(512))}, {{{0}, {0}}}, at[i]};
    struct world w;
    world_create(&w, &big);
    assert_int_equal(w.reserved, F(4));
    world_audit(&w, true);
    take_all(&w);
    assert_int_equal(w.free, 0);
    give_all(&w);
    page_drain_local();
    world_audit(&w, true);
    world_destroy(&w);
  }
}

static void a_big_table_outside_ram_is_refused(void **state) {
  (void)state;
  struct mem_range ram[] = {R(0x40000, 0x40000 + F(256)), R(0x60000, 0x60000 + F(256))};
  port_host_ram_create(0x40000, F(1024));
  assert_int_equal(page_alloc_init(ram, 2, NULL, 0, port_frame_ptr(pfn(0x50000))), ERR_INVAL);
  assert_int_equal(page_alloc_init(ram, 2, NULL, 0, port_frame_ptr(pfn(0x40000 + F(254)))), ERR_INVAL);
  port_host_ram_destroy();
}

/* --- random work --------------------------------------------------------------------------------------------------------------- */

#define HELD_MAX 3000u

struct held {
  pfn_t f;
  unsigned order;
};

struct work {
  struct world w;
  struct held held[HELD_MAX];
  unsigned count;
  uint64_t seed;
  unsigned cpus;
};

static unsigned pick_order(uint64_t r) {
  return r % 4 ? 0 : (unsigned)(r >> 8) % (MAX_ORDER + 1);
}

static void hold(struct work *k, pfn_t f, unsigned order) {
  world_note_alloc(&k->w, f, order);
  k->held[k->count++] = (struct held){f, order};
}

static void do_alloc(struct work *k, uint64_t r) {
  unsigned order = pick_order(r >> 8);
  alloc_flags_t flags = (alloc_flags_t)(r >> 32) % 3 | (r >> 40 & 1 ? ALLOC_RETURN_CORE : 0) | (r >> 41 & 1 ? ALLOC_ATOMIC : 0);
  uint64_t before = page_free_frames();
  pfn_t f;
  if (k->count == HELD_MAX)
    return;
  if (page_alloc(order, flags, &f) != ERR_OK) {
    assert_int_equal(page_free_frames(), before);
    return;
  }
  assert_int_equal(frame_state(f), flags & ALLOC_RETURN_CORE ? FRAME_CORE : FRAME_CACHED);
  assert_int_equal(frame_of(f)->order, order);
  hold(k, f, order);
}

static void do_alloc_at(struct work *k, uint64_t r) {
  unsigned order = pick_order(r >> 8);
  pfn_t f = pfn((k->w.base + (r >> 16) % k->w.frames) & ~(((uint64_t)1 << order) - 1));
  if (k->count == HELD_MAX)
    return;
  bool is_free = world_all_free(&k->w, f, order);
  err_t err = page_alloc_at(f, order, (alloc_flags_t)(r >> 12) % 3);
  assert_true(err == ERR_OK ? is_free : !is_free || k->cpus > 1); /* another CPU's list counts as in use */
  if (err == ERR_OK)
    hold(k, f, order);
}

static struct held drop(struct work *k, uint64_t r) {
  unsigned i = (unsigned)((r >> 8) % k->count);
  struct held h = k->held[i];
  k->held[i] = k->held[--k->count];
  return h;
}

static void do_free(struct work *k, uint64_t r) {
  if (k->count == 0)
    return;
  struct held h = drop(k, r);
  page_free(h.f, h.order);
  world_note_free(&k->w, h.f, h.order);
}

static void do_split(struct work *k, uint64_t r) {
  if (k->count == 0)
    return;
  struct held h = drop(k, r);
  unsigned to = (unsigned)(r >> 32) % (h.order + 1);
  if (h.order - to > 9 || k->count + (1u << (h.order - to)) > HELD_MAX)
    to = h.order;
  frame_split_block(h.f, h.order, to);
  for (uint64_t i = 0; i < (uint64_t)1 << h.order; i += (uint64_t)1 << to)
    k->held[k->count++] = (struct held){pfn_add(h.f, i), to};
}

static void do_claim(struct work *k, uint64_t r) {
  if (k->count == 0)
    return;
  struct held h = k->held[(r >> 8) % k->count];
  enum frame_state to = (enum frame_state)(FRAME_ZEROED + (r >> 32) % (FRAME_STATES - FRAME_ZEROED));
  enum frame_state from = frame_state(h.f);
  if (to == FRAME_BAD || to == FRAME_LENT || !frame_transition_legal(from, to))
    return;
  frame_set_state(h.f, h.order, to, (owner_t)(r >> 40) % OWNERS_MAX, r);
  assert_int_equal(frame_state(pfn_add(h.f, ((uint64_t)1 << h.order) - 1)), to);
}

static void step(struct work *k) {
  uint64_t r = world_random(&k->seed);
  switch (r % 16) {
  case 0:
    do_alloc_at(k, r);
    break;
  case 1:
    do_split(k, r);
    break;
  case 2:
  case 3:
    do_claim(k, r);
    break;
  case 4:
    if (r >> 8 & 1)
      page_drain_local();
    break;
  default:
    /* drifts between nearly empty and nearly full */
    if ((r >> 48) % 8 < (k->seed >> 60 & 1) + 3 + (k->count < HELD_MAX / 2))
      do_alloc(k, r);
    else
      do_free(k, r);
  }
}

static void random_work(const struct world_config *map, uint64_t seed, unsigned cpus, unsigned steps) {
  static struct work k;
  k = (struct work){.seed = seed, .cpus = cpus};
  world_create(&k.w, map);
  for (unsigned i = 0; i < steps; i++) {
    /* work on another CPU for a while: its lists hold frames that this one does not reach */
    port_host_cpu = i / 4096 % cpus;
    step(&k);
    if (i % (steps / 8) == 0)
      world_audit(&k.w, false);
  }
  while (k.count)
    do_free(&k, world_random(&k.seed));
  for (port_host_cpu = 0; port_host_cpu < cpus; port_host_cpu++)
    page_drain_local();
  port_host_cpu = 0;
  world_audit(&k.w, true);
  world_destroy(&k.w);
}

static void random_work_agrees_with_the_bitmap(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    for (unsigned i = 0; i < ARRAY_SIZE(maps); i++)
      random_work(&maps[i], seed * 0x9e3779b97f4a7c15ull, 1 + seed % 2, 40000);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_map_is_taken_whole_and_given_back),
      cmocka_unit_test(bad_maps_are_refused),
      cmocka_unit_test(metadata_is_32_bytes_a_frame),
      cmocka_unit_test(a_table_holds_its_pageblocks),
      cmocka_unit_test(a_big_table_outside_ram_is_refused),
      cmocka_unit_test(big_ram_is_not_touched_at_boot),
      cmocka_unit_test(it_is_told_before_others_may_have_it),
      cmocka_unit_test(random_work_agrees_with_the_bitmap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
