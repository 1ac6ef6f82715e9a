/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What pageblock_describe() says of each pageblock, against a byte per frame that the test keeps: free, reserved, movable or not, and by
 * whom.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
#include "mm/pageblock.h"
#include "mm_world.h"
#include <string.h>

#define BASE 0x40000u
#define FRAMES F(32)
#define HELD_MAX 400u

static const struct world_config map = {"frayed", {{{BASE}, {BASE + FRAMES}}}, {{{BASE + 100}, {BASE + 900}}}, 0};
static struct world w;

static struct {
  pfn_t f;
  unsigned order;
} held[HELD_MAX];
static unsigned held_count;
static uint8_t kind[FRAMES]; /* 0: as the world says; else 1 + owner, and 0x80 if unmovable */

static int set_up(void **state) {
  (void)state;
  world_create(&w, &map);
  held_count = 0;
  memset(kind, 0, sizeof kind);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  while (held_count != 0) {
    held_count--;
    world_note_free(&w, held[held_count].f, held[held_count].order);
    page_free(held[held_count].f, held[held_count].order);
  }
  world_destroy(&w);
  return 0;
}

static void take(unsigned order, bool movable, owner_t owner) {
  pfn_t f;
  if (held_count == HELD_MAX || page_alloc(order, movable ? ALLOC_MOVABLE : ALLOC_UNMOVABLE, &f) != ERR_OK)
    return;
  world_note_alloc(&w, f, order);
  frame_set_state(f, order, movable ? FRAME_OWNED : FRAME_CORE, owner, 0);
  memset(&kind[f.v - BASE], (int)(1u + owner) | (movable ? 0 : 0x80), (size_t)1 << order);
  held[held_count].f = f;
  held[held_count++].order = order;
}

static void give(unsigned i) {
  pfn_t f = held[i].f;
  unsigned order = held[i].order;
  memset(&kind[f.v - BASE], 0, (size_t)1 << order);
  world_note_free(&w, f, order);
  page_free(f, order);
  held[i] = held[--held_count];
}

static void check_pageblock(uint64_t start) {
  struct pageblock_info info;
  unsigned idle = 0, movable = 0, unmovable = 0, reserved = 0, by[8] = {0};
  for (uint64_t f = start; f < start + PAGEBLOCK_FRAMES; f++) {
    uint8_t k = kind[f - BASE];
    movable += k != 0 && !(k & 0x80);
    unmovable += k >> 7;
    idle += k == 0 && w.what[f - w.base] == WORLD_FREE;
    reserved += k == 0 && w.what[f - w.base] != WORLD_FREE;
    by[k ? (k & 0x7f) - 1 : 7]++;
  }
  assert_true(pageblock_describe(pfn(start + start % 511), &info));
  assert_int_equal(info.start.v, start);
  assert_int_equal(info.movable, movable);
  assert_int_equal(info.unmovable, unmovable);
  assert_int_equal(info.reserved, reserved);
  assert_int_equal(info.free + info.cached, idle);
  for (unsigned owner = 0; owner < 4; owner++)
    assert_true(by[owner] <= by[info.owner]);
}

static void check_all(void) {
  for (uint64_t f = BASE; f < BASE + FRAMES; f += PAGEBLOCK_FRAMES)
    check_pageblock(f);
}

static void test_against_bytes(void **state) {
  uint64_t rng = 0x1234567;
  (void)state;
  check_all();
  for (unsigned i = 0; i < 4000; i++) {
    unsigned order = (unsigned)(world_random(&rng) % 14);
    if (world_random(&rng) % 2 && held_count != 0)
      give((unsigned)(world_random(&rng) % held_count));
    else
      take(order > MAX_ORDER ? 0 : order, world_random(&rng) % 4 != 0, (owner_t)(world_random(&rng) % 4));
    if (i % 50 == 0)
      check_all();
  }
}

static void test_pinned_is_unmovable(void **state) {
  struct pageblock_info info;
  (void)state;
  take(0, true, 1);
  frame_of(held[0].f)->pins = 1;
  assert_true(pageblock_describe(held[0].f, &info));
  assert_int_equal(info.movable, 0);
  assert_int_equal(info.unmovable, 1);
  frame_of(held[0].f)->pins = 0;
}

static void test_outside(void **state) {
  struct pageblock_info info;
  (void)state;
  assert_false(pageblock_describe(pfn(BASE - 1), &info));
  assert_false(pageblock_describe(PFN_NONE, &info));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_against_bytes, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_pinned_is_unmovable, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_outside, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
