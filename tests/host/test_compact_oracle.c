/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The oracle of compaction against the truth, in zones so small that every sequence of moves can be tried: Dijkstra's search over all
 * states that moves can reach gives the most pageblocks that can be free and the fewest frames moved for each count. The oracle's
 * bounds must never be on the wrong side of it, must be equal where all blocks are single frames, and otherwise equal nearly always:
 * a bound that nothing reaches would judge nothing.
 */
// sources: tests/host/compact_oracle.c
// libs: -lm
#include "compact_oracle.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
  FRAMES_MAX = 20,
  COST_MAX = 96,
  STATES_MAX = 1 << 18,
  SLOTS = 1 << 19,
  USE_UNMOVABLE = 7, /* 3 bits per frame: 0 free, 1 + order of the block that begins or goes on there */
};

struct tiny {
  unsigned pageblocks, order, frames;
  uint64_t start; /* state */
};

/* The truth. */
struct truth {
  unsigned most;
  unsigned least[FRAMES_MAX + 1]; /* frames moved, by free pageblocks; valid to `most` */
  bool complete;
};

static struct {
  uint64_t key[SLOTS];
  uint8_t cost[SLOTS];
  bool used[SLOTS], done[SLOTS];
  uint32_t bucket[COST_MAX][STATES_MAX];
  uint32_t bucket_count[COST_MAX];
  uint32_t states;
} s;

static unsigned use_at(uint64_t state, unsigned at) {
  return state >> (3 * at) & 7;
}

static uint64_t with_block(uint64_t state, unsigned at, unsigned order, unsigned use) {
  for (unsigned i = at; i < at + (1u << order); i++)
    state = (state & ~((uint64_t)7 << (3 * i))) | (uint64_t)use << (3 * i);
  return state;
}

static bool is_free_at(uint64_t state, unsigned at, unsigned order) {
  uint64_t mask = ((uint64_t)1 << (3 << order)) - 1;
  return (state >> (3 * at) & mask) == 0;
}

static unsigned free_pageblocks(const struct tiny *t, uint64_t state) {
  unsigned count = 0;
  for (unsigned i = 0; i < t->pageblocks; i++)
    count += is_free_at(state, i << t->order, t->order);
  return count;
}

/* --- the search ---------------------------------------------------------------------------------------------------------------- */

static uint32_t slot_of(uint64_t state) {
  uint32_t slot = (uint32_t)(state * 0x9e3779b97f4a7c15ull >> 45);
  while (s.used[slot] && s.key[slot] != state)
    slot = (slot + 1) % SLOTS;
  return slot;
}

/* False if there are too many states or they cost too much. */
static bool reach(uint64_t state, unsigned cost) {
  uint32_t slot = slot_of(state);
  if (s.used[slot] && s.cost[slot] <= cost)
    return true;
  s.states += !s.used[slot];
  if (cost >= COST_MAX || s.states > STATES_MAX / 2 || s.bucket_count[cost] == STATES_MAX)
    return false;
  s.used[slot] = true;
  s.key[slot] = state;
  s.cost[slot] = (uint8_t)cost;
  s.bucket[cost][s.bucket_count[cost]++] = slot;
  return true;
}

static bool move_from(const struct tiny *t, uint64_t state, unsigned at, unsigned order, unsigned cost) {
  uint64_t without = with_block(state, at, order, 0);
  for (unsigned to = 0; to < t->frames; to += 1u << order) {
    if (is_free_at(state, to, order) && !reach(with_block(without, to, order, 1 + order), cost + (1u << order)))
      return false;
  }
  return true;
}

static bool expand(const struct tiny *t, uint64_t state, unsigned cost) {
  for (unsigned at = 0; at < t->frames;) {
    unsigned use = use_at(state, at);
    if (use == 0 || use == USE_UNMOVABLE) {
      at++;
      continue;
    }
    if (!move_from(t, state, at, use - 1, cost))
      return false;
    at += 1u << (use - 1);
  }
  return true;
}

static void visit(const struct tiny *t, uint32_t slot, unsigned cost, struct truth *out) {
  unsigned now = free_pageblocks(t, s.key[slot]);
  s.done[slot] = true;
  for (unsigned k = out->most + 1; k <= now; k++)
    out->least[k] = cost;
  out->most = now > out->most ? now : out->most;
  out->complete &= expand(t, s.key[slot], cost);
}

static void search(const struct tiny *t, struct truth *out) {
  memset(&s.used, 0, sizeof(s.used));
  memset(&s.done, 0, sizeof(s.done));
  memset(&s.bucket_count, 0, sizeof(s.bucket_count));
  s.states = 0;
  *out = (struct truth){.complete = true};
  reach(t->start, 0);
  for (unsigned cost = 0; cost < COST_MAX && out->complete; cost++) {
    for (uint32_t i = 0; i < s.bucket_count[cost] && out->complete; i++) {
      uint32_t slot = s.bucket[cost][i];
      if (!s.done[slot] && s.cost[slot] == cost)
        visit(t, slot, cost, out);
    }
  }
}

/* --- comparing ----------------------------------------------------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252ull;

static unsigned below(unsigned bound) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (unsigned)(random_state >> 33) % bound;
}

static struct tiny random_tiny(unsigned pageblocks, unsigned order, unsigned top_order, bool unmovable) {
  struct tiny t = {.pageblocks = pageblocks, .order = order, .frames = pageblocks << order};
  unsigned holes_of_8 = 2 + below(5);
  for (unsigned at = 0; at < t.frames;) {
    unsigned block = below(top_order + 1);
    while (at & ((1u << block) - 1))
      block--;
    if (unmovable && below(8) == 0)
      t.start = with_block(t.start, at, block = 0, USE_UNMOVABLE);
    else if (below(8) >= holes_of_8)
      t.start = with_block(t.start, at, block, 1 + block);
    at += 1u << block;
  }
  return t;
}

static struct oracle *ask(const struct tiny *t) {
  struct oracle *o = oracle_create(t->pageblocks, t->order);
  for (unsigned at = 0; at < t->frames;) {
    unsigned use = use_at(t->start, at), order = use == 0 || use == USE_UNMOVABLE ? 0 : use - 1;
    if (use != 0)
      oracle_add(o, at, order, use != USE_UNMOVABLE);
    at += 1u << order;
  }
  return o;
}

struct tally {
  unsigned zones, counts, equal_most, equal_least, given_up;
};

static void compare_one(const struct tiny *t, struct tally *tally) {
  struct truth truth;
  search(t, &truth);
  if (!truth.complete) {
    tally->given_up++;
    return;
  }
  struct oracle *o = ask(t);
  unsigned most = oracle_most_free(o);
  assert_int_equal(oracle_free_now(o), free_pageblocks(t, t->start));
  assert_true(most >= truth.most);
  if (oracle_is_exact(o))
    assert_int_equal(most, truth.most);
  tally->zones++;
  tally->equal_most += most == truth.most;
  for (unsigned k = 1; k <= truth.most; k++) {
    uint64_t least = oracle_least_moves(o, k, 60);
    assert_true(least <= truth.least[k]);
    assert_true(least >= oracle_least_moves(o, k, 0));
    if (oracle_is_exact(o))
      assert_int_equal(least, truth.least[k]);
    tally->counts++;
    tally->equal_least += least == truth.least[k];
  }
  oracle_destroy(o);
}

static void compare(unsigned pageblocks, unsigned order, unsigned top_order, unsigned zones, struct tally *tally) {
  *tally = (struct tally){0};
  for (unsigned i = 0; i < zones; i++) {
    struct tiny t = random_tiny(pageblocks, order, top_order, i & 1);
    compare_one(&t, tally);
  }
  print_message("%u x %u frames, orders to %u: %u zones (%u too large), most equal in %u, least in %u of %u\n", pageblocks, 1u << order,
                top_order, tally->zones, tally->given_up, tally->equal_most, tally->equal_least, tally->counts);
  assert_true(tally->given_up * 4 < zones && tally->counts > zones / 4);
}

static void single_frames_are_exact(void **state) {
  (void)state;
  struct tally tally;
  compare(4, 2, 0, 60, &tally);
  assert_int_equal(tally.equal_least, tally.counts);
  assert_int_equal(tally.equal_most, tally.zones);
  compare(2, 3, 0, 60, &tally);
  assert_int_equal(tally.equal_least, tally.counts);
}

static void mixed_orders_are_bounded_and_nearly_always_reached(void **state) {
  (void)state;
  struct tally tally;
  compare(4, 2, 1, 120, &tally);
  assert_true(tally.equal_most * 10 >= tally.zones * 9 && tally.equal_least * 10 >= tally.counts * 9);
  compare(5, 2, 2, 80, &tally);
  assert_true(tally.equal_most * 10 >= tally.zones * 9 && tally.equal_least * 10 >= tally.counts * 8);
  compare(2, 3, 2, 120, &tally);
  assert_true(tally.equal_most * 10 >= tally.zones * 8);
}

/*
 * A pair has to go where two single frames lie apart: its pageblock can be freed only if one of them moves as well.
 *
 *     |A A . .|B . C .|  + a full one
 */
static void room_is_made_for_a_larger_block(void **state) {
  (void)state;
  struct oracle *o = oracle_create(3, 2);
  oracle_add(o, 0, 1, true);
  oracle_add(o, 4, 0, true);
  oracle_add(o, 6, 0, true);
  oracle_add(o, 8, 2, true);
  assert_int_equal(oracle_most_free(o), 1);
  assert_int_equal(oracle_least_moves(o, 1, 0), 2);
  assert_int_equal(oracle_least_moves(o, 1, 60), 2); /* B and C go to the free half of the first */
  oracle_add(o, 2, 0, false);
  assert_int_equal(oracle_most_free(o), 0);
  oracle_destroy(o);
}

/* Free frames are many, but no hole takes the block: the plain sum of used frames is not the truth. */
static void scattered_holes_are_no_room(void **state) {
  (void)state;
  struct oracle *o = oracle_create(3, 2);
  oracle_add(o, 0, 1, true);
  for (unsigned at = 4; at < 12; at += 2)
    oracle_add(o, at, 0, true);
  oracle_add(o, 2, 0, false); /* the first cannot be freed; the others hold two singles each */
  assert_int_equal(oracle_most_free(o), 1);
  assert_int_equal(oracle_least_moves(o, 1, 60), 2);
  oracle_destroy(o);
  o = oracle_create(3, 2);
  oracle_add(o, 0, 1, true);
  for (unsigned at = 4; at < 12; at++) {
    if (at != 5 && at != 10)
      oracle_add(o, at, 0, true);
  }
  assert_int_equal(oracle_most_free(o), 1);
  assert_int_equal(oracle_least_moves(o, 1, 0), 2);
  assert_int_equal(oracle_least_moves(o, 1, 60), 3); /* one of the singles beside a hole makes way */
  oracle_destroy(o);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(single_frames_are_exact),
      cmocka_unit_test(mixed_orders_are_bounded_and_nearly_always_reached),
      cmocka_unit_test(room_is_made_for_a_larger_block),
      cmocka_unit_test(scattered_holes_are_no_room),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
