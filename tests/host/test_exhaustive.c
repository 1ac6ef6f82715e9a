/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every state of a small zone: all that sequences of allocations and frees can lead to, whatever their length, and in every one of them
 * what the buddy promises:
 *
 *   - each frame is in exactly one block, handed out or free, or is reserved: none in two, none lost;
 *   - free blocks are merged as far as alignment and the zone's edges allow, so they are the only ones that the set of used frames permits;
 *   - the counts (free frames, free blocks by order, ledger, pageblock) are what the blocks say;
 *   - what is allocated was free before, is aligned, of the order that was asked for, and taken from the smallest free block that has it;
 *     an allocation fails only if no free block is large enough.
 *
 * A state is the set of blocks in use, with their orders. The free blocks follow from it (second promise); the order of the lists does not,
 * so the allocator may answer a request from any block of the smallest order that serves, and each of these answers is a state of its own.
 * They are all reached, by page_alloc_at() of each block that page_alloc() might have given: what is searched holds every state of every
 * list order. From each state every block in use is freed, every order allocated by page_alloc() (whose own answer must be one of those)
 * and every block by page_alloc_at(). The search ends when no state is new, so the promises hold after any sequence of these calls.
 *
 * The zone is one pageblock of which all is reserved but RUN frames at a place that is chosen so that merging meets an edge: see zones[].
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -O2
#include "mm_world.h"
#include <stdlib.h>
#include <string.h>

enum {
  RUN_MAX = 12,
  HASH_SLOTS = 1 << 20,
  NO_BLOCK = 0,
};

/* 3 bits per frame: 0 free, 1 + order in the first frame of a block in use, TAIL in its others. */
#define TAIL 7u
typedef uint64_t blocks_t;

static const struct {
  const char *name;
  unsigned offset, run; /* frames, from the start of the pageblock */
} zones_tried[] = {
    {"aligned, 8 frames", 64, 8},
    {"across an edge of 8, 8 frames", 68, 8},
    {"ragged, 11 frames", 67, 11},
    {"aligned, 12 frames", 128, 12},
};

static unsigned run;
static uint64_t first; /* frame number of the run's start */
static struct world world;

static struct {
  blocks_t key[HASH_SLOTS];
  bool used[HASH_SLOTS];
  blocks_t queue[HASH_SLOTS];
  uint32_t head, tail;
} seen;

static unsigned at(blocks_t s, unsigned i) {
  return s >> (3 * i) & 7;
}

static blocks_t with(blocks_t s, unsigned i, unsigned order, bool used) {
  for (unsigned k = 0; k < 1u << order; k++) {
    s &= ~((blocks_t)7 << (3 * (i + k)));
    s |= (blocks_t)(!used ? 0 : k == 0 ? 1 + order : TAIL) << (3 * (i + k));
  }
  return s;
}

static bool fits(blocks_t s, unsigned i, unsigned order) {
  if (((first + i) & (((uint64_t)1 << order) - 1)) != 0 || i + (1u << order) > run)
    return false;
  for (unsigned k = i; k < i + (1u << order); k++) {
    if (at(s, k) != 0)
      return false;
  }
  return true;
}

/* Order of the merged free block that holds frame `i`, and where it starts. */
static unsigned merged(blocks_t s, unsigned i, unsigned *start) {
  unsigned order = 0;
  *start = i;
  for (;;) {
    uint64_t wider = (first + *start) & ~(((uint64_t)2 << order) - 1);
    if (wider < first || !fits(s, (unsigned)(wider - first), order + 1))
      return order;
    *start = (unsigned)(wider - first);
    order++;
  }
}

static void note(blocks_t s) {
  uint32_t slot = (uint32_t)(s * 0x9e3779b97f4a7c15ull >> 44);
  while (seen.used[slot] && seen.key[slot] != s)
    slot = (slot + 1) % HASH_SLOTS;
  if (seen.used[slot])
    return;
  assert_true(seen.tail < HASH_SLOTS / 2);
  seen.used[slot] = true;
  seen.key[slot] = s;
  seen.queue[seen.tail++] = s;
}

/* --- one state ----------------------------------------------------------------------------------------------------------------- */

static void check_used(blocks_t s, unsigned i) {
  struct frame_info info;
  unsigned start = i;
  while (at(s, start) == TAIL)
    start--;
  frame_describe(pfn(first + i), &info);
  assert_int_equal(info.state, FRAME_CACHED);
  assert_int_equal(info.head.v, first + start);
  assert_int_equal(info.order, at(s, start) - 1);
}

static void check_free(blocks_t s, unsigned i, uint64_t blocks[MAX_ORDER + 1]) {
  struct frame_info info;
  unsigned start, order = merged(s, i, &start);
  frame_describe(pfn(first + i), &info);
  assert_int_equal(info.state, FRAME_FREE);
  assert_int_equal(info.head.v, first + start);
  assert_int_equal(info.order, order);
  blocks[order] += start == i;
}

static void check_state(blocks_t s) {
  uint64_t blocks[MAX_ORDER + 1] = {0}, free_frames = 0;
  struct buddyinfo info;
  struct ledger ledger;
  for (unsigned i = 0; i < run; i++) {
    free_frames += at(s, i) == 0;
    if (at(s, i) == 0)
      check_free(s, i, blocks);
    else
      check_used(s, i);
  }
  assert_true(page_buddyinfo(0, &info));
  assert_memory_equal(info.free_blocks, blocks, sizeof(blocks));
  assert_int_equal(info.free_frames, free_frames);
  assert_int_equal(info.cached_frames, 0);
  assert_int_equal(page_free_frames(), free_frames);
  assert_int_equal(page_block_free(pfn(first)), free_frames);
  ledger_read(&ledger);
  assert_int_equal(ledger.frames[FRAME_FREE], free_frames);
  assert_int_equal(ledger.frames[FRAME_CACHED], run - free_frames);
  assert_int_equal(ledger.frames[FRAME_RESERVED], world.reserved);
}

/* --- from state to state ------------------------------------------------------------------------------------------------------- */

/* The allocator in state `from` is brought to `to`: what differs is freed, what lacks is placed. */
static void go(blocks_t from, blocks_t to) {
  for (unsigned i = 0; i < run; i++) {
    if (at(from, i) != 0 && at(from, i) != TAIL)
      page_free(pfn(first + i), at(from, i) - 1);
  }
  page_drain_local();
  for (unsigned i = 0; i < run; i++) {
    if (at(to, i) != 0 && at(to, i) != TAIL)
      assert_int_equal(page_alloc_at(pfn(first + i), at(to, i) - 1, ALLOC_MOVABLE | ALLOC_ATOMIC), ERR_OK);
  }
}

/* The smallest order, `order` or more, of which there is a free block; MAX_ORDER + 1 if none. */
static unsigned smallest(blocks_t s, unsigned order) {
  unsigned best = MAX_ORDER + 1, start;
  for (unsigned i = 0; i < run; i++) {
    unsigned m = at(s, i) == 0 ? merged(s, i, &start) : 0;
    if (at(s, i) == 0 && m >= order && m < best)
      best = m;
  }
  return best;
}

static void try_alloc(blocks_t s, unsigned order) {
  unsigned source = smallest(s, order), start;
  pfn_t f;
  err_t err = page_alloc(order, ALLOC_MOVABLE | ALLOC_ATOMIC, &f);
  assert_int_equal(err, source > MAX_ORDER ? ERR_NOMEM : ERR_OK);
  if (err == ERR_OK) {
    unsigned i = (unsigned)(f.v - first);
    page_drain_local(); /* single frames come with others into this CPU's list */
    assert_true(f.v >= first && fits(s, i, order));
    assert_true(order == 0 || merged(s, i, &start) == source);
    check_state(with(s, i, order, true));
    page_free(f, order);
    page_drain_local();
  }
  check_state(s);
}

static void try_alloc_at(blocks_t s, unsigned i, unsigned order) {
  err_t err = page_alloc_at(pfn(first + i), order, ALLOC_MOVABLE | ALLOC_ATOMIC);
  if (((first + i) & (((uint64_t)1 << order) - 1)) != 0) {
    assert_int_equal(err, ERR_INVAL);
    return;
  }
  assert_int_equal(err, fits(s, i, order) ? ERR_OK : ERR_BUSY);
  if (err != ERR_OK)
    return;
  note(with(s, i, order, true));
  check_state(with(s, i, order, true));
  page_free(pfn(first + i), order);
  page_drain_local();
  check_state(s);
}

static void try_free(blocks_t s, unsigned i) {
  unsigned order = at(s, i) - 1;
  page_free(pfn(first + i), order);
  page_drain_local();
  note(with(s, i, order, false));
  check_state(with(s, i, order, false));
  assert_int_equal(page_alloc_at(pfn(first + i), order, ALLOC_MOVABLE | ALLOC_ATOMIC), ERR_OK);
  check_state(s);
}

static void try_everything(blocks_t s) {
  for (unsigned order = 0; order <= MAX_ORDER; order++)
    try_alloc(s, order);
  for (unsigned i = 0; i < run; i++) {
    for (unsigned order = 0; order <= 4; order++)
      try_alloc_at(s, i, order);
    if (at(s, i) != 0 && at(s, i) != TAIL)
      try_free(s, i);
  }
}

/* All ways to fill a run with blocks and single free frames, counted without any search: the states there should be. */
static uint64_t count_states(unsigned i) {
  uint64_t sum = 0;
  if (i == run)
    return 1;
  sum = count_states(i + 1); /* free */
  for (unsigned order = 0; order <= 4 && fits(0, i, order); order++)
    sum += count_states(i + (1u << order));
  return sum;
}

static void search(const char *name) {
  memset(&seen.used, 0, sizeof(seen.used));
  seen.head = seen.tail = 0;
  note(0);
  blocks_t now = 0;
  while (seen.head < seen.tail) {
    go(now, seen.queue[seen.head]);
    now = seen.queue[seen.head++];
    check_state(now);
    try_everything(now);
  }
  go(now, 0);
  check_state(0);
  print_message("%s: %u states\n", name, seen.tail);
  assert_int_equal(seen.tail, count_states(0));
}

static void every_state_keeps_the_promises(void **state) {
  (void)state;
  for (unsigned i = 0; i < ARRAY_SIZE(zones_tried); i++) {
    uint64_t base = 0x40000, start = base + zones_tried[i].offset, end = start + zones_tried[i].run;
    struct world_config c = {"small", {{{base}, {base + 1024}}}, {{{base}, {start}}, {{end}, {base + 1024}}}, base + 512};
    run = zones_tried[i].run;
    first = start;
    world_create(&world, &c);
    search(zones_tried[i].name);
    world_destroy(&world);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_state_keeps_the_promises)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
