/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every state that two guests can bring two pages of managed memory into, by every fault, eviction and unmapping under every policy, with
 * each location full or not, and with tables that cannot be had: a walk to the fixpoint, in which each step is judged by managed_world.c. A
 * second walk has one page, a clock, and thrashing; from each of its states an access goes through after a few naps at most.
 */
// sources: hyp/mem/managed_block.c hyp/mem/managed_policy.c
// sources: tests/host/managed_world.c
#include "managed_world.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define GUESTS 2u
#define PLACES (GUESTS + 1)
#define PAGE_BITS (PLACES + 2 * GUESTS)
#define BOTH 6u /* guests 1 and 2, as a mask */

static struct world w;

/* ---- Masks as numbers: resident, then mapped, then writable, page by page ---- */

static void put_bit(struct managed_mask *m, unsigned page, uint64_t set) {
  m->word[0] = (m->word[0] & ~((uint64_t)1 << page)) | (set & 1) << page;
}

static void unpack_page(uint64_t bits, unsigned page) {
  for (unsigned l = 0; l < PLACES; l++, bits >>= 1)
    put_bit(&w.block.resident[l], page, bits);
  for (unsigned m = 1; m <= GUESTS; m++, bits >>= 1)
    put_bit(&w.block.mapped[m], page, bits);
  for (unsigned m = 1; m <= GUESTS; m++, bits >>= 1)
    put_bit(&w.block.writable[m], page, bits);
}

static uint64_t pack_page(unsigned page) {
  uint64_t bits = 0;
  unsigned n = 0;
  for (unsigned l = 0; l < PLACES; l++)
    bits |= (uint64_t)managed_mask_has(&w.block.resident[l], page) << n++;
  for (unsigned m = 1; m <= GUESTS; m++)
    bits |= (uint64_t)managed_mask_has(&w.block.mapped[m], page) << n++;
  for (unsigned m = 1; m <= GUESTS; m++)
    bits |= (uint64_t)managed_mask_has(&w.block.writable[m], page) << n++;
  return bits;
}

/* ---- The walk over masks ---- */

#define PAGES 2u
#define STATES (1u << (PAGES * PAGE_BITS))

static uint8_t seen[STATES];
static uint32_t queue[STATES];
static unsigned queued;
static uint64_t steps;

static void visit(uint32_t state) {
  if (seen[state])
    return;
  seen[state] = 1;
  queue[queued++] = state;
}

static uint32_t pack(void) {
  return (uint32_t)(pack_page(0) | pack_page(1) << PAGE_BITS);
}

static void enter(uint32_t state) {
  unpack_page(state & ((1u << PAGE_BITS) - 1), 0);
  unpack_page(state >> PAGE_BITS, 1);
  for (unsigned page = 0; page < PAGES; page++) {
    w.block.page[page] = (struct managed_page){0};
    w.truth[page] = managed_mask_has(&w.block.resident[0], page) || managed_mask_has(&w.block.resident[1], page) ||
                            managed_mask_has(&w.block.resident[2], page)
                        ? 100 + page
                        : 0;
  }
  world_follow_masks(&w, PAGES);
  w.fail_tables = 0;
}

/* A guest that is not there has nothing. */
static bool may_be_absent(unsigned guest) {
  return (w.block.resident[guest].word[0] | w.block.mapped[guest].word[0]) == 0;
}

static void leave(void) {
  steps++;
  visit(pack());
}

/* A location that is full has just the frames it has. */
static void set_full(unsigned full) {
  for (unsigned l = 0; l < PLACES; l++)
    w.quota[l] = full >> l & 1 ? w.frames[l] : WORLD_UNLIMITED;
}

static void try_fault(uint32_t state, unsigned guest, unsigned page, bool write, unsigned present, unsigned full, bool no_table) {
  uint32_t until = 0;
  enter(state);
  unsigned absent = BOTH & ~present;
  if (absent != 0 && !may_be_absent(absent == 2 ? 1 : 2))
    return;
  w.present = (uint8_t)present;
  set_full(full);
  w.fail_tables = no_table ? 2 : 0;
  enum managed_verdict verdict = world_fault(&w, guest, page, write, &until);
  if (verdict == MANAGED_SERVE && !no_table) /* the access goes through now */
    assert_true(w.pte[guest][page].valid && (w.pte[guest][page].writable || !write));
  if (verdict == MANAGED_THROTTLE) /* no frame, not even at home: nothing has changed */
    assert_true((full & 1) && pack() == state);
  leave();
}

static void try_faults(uint32_t state) {
  for (unsigned guest = 1; guest <= GUESTS; guest++)
    for (unsigned page = 0; page < PAGES; page++)
      for (unsigned write = 0; write < 2; write++) {
        for (unsigned full = 0; full < 1u << PLACES; full++)
          try_fault(state, guest, page, write, BOTH, full, false);
        try_fault(state, guest, page, write, BOTH, 0, true);
        try_fault(state, guest, page, write, BOTH, 1u << guest, true);
        try_fault(state, guest, page, write, 1u << guest, 0, false);
        try_fault(state, guest, page, write, 1u << guest, 1u << guest, false);
      }
}

static void try_the_rest(uint32_t state) {
  for (unsigned pages = 1; pages < 1u << PAGES; pages++) {
    for (unsigned guest = 1; guest <= GUESTS; guest++)
      for (unsigned all = 0; all < 2; all++) {
        enter(state);
        w.present = BOTH;
        set_full(0);
        (void)world_evict(&w, guest, 0, pages, all);
        leave();
      }
    enter(state);
    world_unmap(&w, 0, pages);
    leave();
  }
}

static void use_policy(unsigned n) {
  static const uint8_t percents[] = {100, 50};
  w.policy = (struct managed_policy){
      .prefetch_percent = percents[n & 1],
      .read_dup = n >> 1 & 1,
      .no_migrate = n >> 2 & 1,
      .accessed_by = (uint8_t)((n >> 3 & 3) << 1),
      .preferred = n / 32 == 0 ? LOCATION_NONE : (uint8_t)(n / 32),
  };
}

static void test_every_state_of_two_pages(void **state) {
  (void)state;
  static const struct managed_policy none;
  world_init(&w, GUESTS, &none);
  visit(0);
  for (unsigned next = 0; next < queued; next++) {
    for (unsigned policy = 0; policy < 32 * 3; policy++) {
      use_policy(policy);
      try_faults(queue[next]);
    }
    try_the_rest(queue[next]);
  }
  print_message("two pages: %u states, %lu steps\n", queued, steps);
  assert_in_range(queued, 100, 1000);
  /* each page alone can be in each state that the two together can */
  for (unsigned i = 0; i < queued; i++)
    assert_true(seen[queue[i] & ((1u << PAGE_BITS) - 1)] && seen[queue[i] >> PAGE_BITS << PAGE_BITS]);
}

/* ---- The walk with a clock ---- */

#define LAPSE 4u
#define NAP 2u
#define PIN 6u
#define AGE_MAX 8 /* what is older is as old as this */
#define CLOCK_STATES 200000u

struct clock_state {
  uint8_t masks; /* of the page */
  uint8_t events, throttles, page_state, location;
  int8_t age;
};

static struct clock_state clock_queue[CLOCK_STATES];
static unsigned clock_queued;
static uint8_t clock_seen[1u << 28 >> 3];

static int clamp(int v) {
  return v > AGE_MAX ? AGE_MAX : v < -AGE_MAX ? -AGE_MAX : v;
}

static struct clock_state clock_pack(void) {
  const struct managed_page *g = &w.block.page[0];
  return (struct clock_state){.masks = (uint8_t)pack_page(0),
                              .events = g->events,
                              .throttles = g->throttles,
                              .page_state = g->state,
                              .location = g->location,
                              .age = (int8_t)clamp((int32_t)(w.now_us - g->at_us))};
}

/* 7 bits of masks, 5 of events, 4 of throttles, 2, 2, 5. */
static uint32_t clock_hash(const struct clock_state *s) {
  assert_true(s->events < 32 && s->throttles < 16);
  return s->masks | (uint32_t)s->events << 7 | (uint32_t)s->throttles << 12 | (uint32_t)s->page_state << 16 | (uint32_t)s->location << 18 |
         (uint32_t)(s->age + AGE_MAX) << 20;
}

static void clock_visit(void) {
  struct clock_state s = clock_pack();
  uint32_t h = clock_hash(&s);
  if (clock_seen[h >> 3] >> (h & 7) & 1)
    return;
  clock_seen[h >> 3] |= (uint8_t)(1u << (h & 7));
  assert_true(clock_queued < CLOCK_STATES);
  clock_queue[clock_queued++] = s;
}

static void clock_enter(const struct clock_state *s) {
  unpack_page(s->masks, 0);
  w.now_us = 1000;
  w.block.page[0] = (struct managed_page){.at_us = w.now_us - (uint32_t)s->age,
                                          .events = s->events,
                                          .throttles = s->throttles,
                                          .state = s->page_state,
                                          .location = s->location};
  w.truth[0] = s->masks & ((1u << PLACES) - 1) ? 7 : 0;
  w.present = BOTH;
  world_follow_masks(&w, 1);
}

/* Waiting as long as it is told to, a guest gets through. */
static void must_get_through(const struct clock_state *s, unsigned guest, bool write) {
  uint32_t until;
  clock_enter(s);
  for (unsigned tries = 0; world_access(&w, guest, 0, write, 9, &until) == WORLD_NAP; tries++) {
    assert_true(tries < 3);
    assert_true(until - w.now_us <= NAP);
    w.now_us = until;
  }
}

static bool pinned_here(const struct clock_state *s) {
  return s->page_state == MANAGED_PAGE_PINNED && s->age < (int)PIN && managed_mask_has(&w.block.resident[s->location], 0);
}

static void clock_steps(const struct clock_state *s) {
  static const unsigned later[] = {0, 1, NAP, LAPSE + 1, PIN};
  for (unsigned guest = 1; guest <= GUESTS; guest++)
    for (unsigned write = 0; write < 2; write++) {
      for (unsigned t = 0; t < sizeof later / sizeof later[0]; t++) {
        uint32_t until;
        clock_enter(s);
        bool stays = later[t] == 0 && pinned_here(s);
        uint64_t moves = w.moves;
        w.now_us += later[t];
        (void)world_fault(&w, guest, 0, write, &until);
        assert_true(!stays || (w.moves == moves && w.copy[s->location][0].there));
        steps++;
        clock_visit();
      }
      must_get_through(s, guest, write);
    }
  for (unsigned guest = 1; guest <= GUESTS; guest++) {
    clock_enter(s);
    (void)world_evict(&w, guest, 0, 1, false);
    clock_visit();
    clock_enter(s);
    (void)world_evict(&w, guest, 0, 1, true);
    clock_visit();
  }
  clock_enter(s);
  world_unmap(&w, 0, 1);
  clock_visit();
}

static void walk_clock(unsigned policy) {
  static const struct managed_policy none;
  memset(clock_seen, 0, sizeof clock_seen);
  clock_queued = 0;
  world_init(&w, GUESTS, &none);
  use_policy(policy);
  w.policy.thrash_events = 2;
  w.policy.thrash_throttles = 2;
  w.policy.lapse_us = LAPSE;
  w.policy.nap_us = NAP;
  w.policy.pin_us = PIN;
  clock_visit();
  for (unsigned next = 0; next < clock_queued; next++) {
    struct clock_state s = clock_queue[next];
    clock_steps(&s);
  }
}

static void test_every_state_of_a_page_that_thrashes(void **state) {
  (void)state;
  unsigned states = 0;
  steps = 0;
  for (unsigned policy = 0; policy < 32 * 3; policy += 2) { /* prefetch does not matter */
    walk_clock(policy);
    states += clock_queued;
  }
  print_message("thrashing: %u states, %lu steps\n", states, steps);
  assert_true(states > 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_state_of_two_pages),
      cmocka_unit_test(test_every_state_of_a_page_that_thrashes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
