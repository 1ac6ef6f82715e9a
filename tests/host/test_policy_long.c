/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policies over ten minutes of a machine on paper (policy_world.h): 1 to 16 VMs that come and go, want more and less, some of which say
 * nothing, or do nothing that they are asked for. After each change of load the world is left alone for a while, and must come to rest:
 *
 *     change                                        SETTLED
 *       |--- memory goes where it is needed ----------|----- nothing moves any more -----|  next change
 *             no target turns more than TURNS times     who fits has what it uses
 *
 * All the time: targets keep to quotas (policy_world.c), and while somebody waits memory is promised once only.
 */
// sources: hyp/mem/policy_kit.c hyp/mem/policy_none.c hyp/mem/policy_proportional.c hyp/mem/policy_wss.c
// sources: tests/host/policy_equal.c tests/host/policy_world.c
#include "policy_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define MINUTES 10u
#define PERIOD_MS 20u
#define STEPS (MINUTES * 60000u / PERIOD_MS)
#define SETTLED 60u
#define REST 30u
#define TURNS 4u /* up and down by what others do meanwhile; then no more */
#define TIGHT_FOR 3u
#define WORLDS 25u  /* others are on it every 24 seconds */
#define MACHINES 4u /* each for ten minutes, with every policy */

/* What is promised beyond rest and quotas. */
static const struct promise {
  const char *name;
  bool by_need; /* who fits has what it uses */
  bool ages;    /* ... and what is idle is found, whether or not the guest says so */
} promises[] = {{"proportional", true, false}, {"wss", true, true}, {"equal", false, false}};

static const struct promise *judged;
static struct world w;
static uint64_t seed;
static unsigned tight;

static uint64_t any(uint64_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (seed >> 33) % below;
}

/* ---- what happens ---- */

static void any_guest(struct guest *g) {
  uint64_t min = any(20), low = min + any(40), high = low + 40 + any(150);
  if (any(2))
    g->quota = (struct vm_quota){min * MIB, low * MIB, (high < 256 ? high : 256) * MIB, 256 * MIB};
  g->weight = any(3) ? 100 : 1 + (uint32_t)any(1000);
  g->silent = any(3) == 0;
  g->greedy = any(8) == 0;
  g->no_balloon = any(8) == 0;
  g->noise = any(2) ? any(MIB / 2) : 0;
}

static void any_load(struct guest *g) {
  g->used = (4 + any(any(4) ? 60 : 240)) * MIB;
  g->busy = any(2) ? g->used : any(g->used + 1);
}

static void any_world(void) {
  unsigned count = 1 + (unsigned)any(GUESTS_MAX);
  world_make(&w, 128 + 2 * any(40 * count + 100), count, 256);
  w.seed = any(1u << 30);
  w.rate = (4 + any(100)) * MIB;
  for (unsigned i = 0; i < count; i++) {
    any_guest(&w.guest[i]);
    if (any(4) == 0)
      world_stop(&w, i);
    else
      any_load(&w.guest[i]);
  }
}

static void change(void) {
  unsigned i = (unsigned)any(w.count);
  struct guest *g = &w.guest[i];
  if (g->off)
    world_start(&w, i, 5 + (unsigned)any(20));
  else if (any(5) == 0)
    world_stop(&w, i);
  if (!g->off)
    any_load(g);
}

/* ---- what must hold ---- */

/* What nobody can take from them, and what must be left to those that are asked. */
static uint64_t fixed_frames(void) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < w.count; i++) {
    const struct guest *g = &w.guest[i];
    if (!g->off)
      sum += !world_is_asked(g) ? g->resident : g->quota.min;
  }
  return sum;
}

/* What a guest must have: what it uses; and what a policy cannot know, or not get, to be idle. */
static uint64_t must_have(const struct guest *g) {
  bool idle_is_seen = judged->ages || !g->silent, gives = world_is_asked(g) && !g->greedy;
  return (idle_is_seen && gives) || g->resident < g->used ? g->used : g->resident;
}

/* Everybody, with room, and below its high mark: then nobody needs to wait. */
static bool all_fits(void) {
  uint64_t sum = w.cushion;
  for (unsigned i = 0; i < w.count; i++) {
    const struct guest *g = &w.guest[i];
    uint64_t room = must_have(g) + policy_headroom(must_have(g)) + 8 * MIB;
    if (!g->off && room > g->quota.high)
      return false;
    sum += g->off ? 0 : room;
  }
  return judged->by_need && sum <= w.ram;
}

static void step(const struct policy *p) {
  world_step(&w, p);
  tight = w.view.waiting ? tight + 1 : 0;
  if (tight >= TIGHT_FOR && p->tick && fixed_frames() + w.cushion <= w.ram)
    assert_true(world_promised(&w) + w.cushion <= w.ram + w.count * POLICY_SLACK);
}

static void begin_to_count(void) {
  for (unsigned i = 0; i < w.count; i++)
    w.guest[i].turns = w.guest[i].changes = 0;
}

static bool is_noisy(void) {
  for (unsigned i = 0; i < w.count; i++)
    if (!w.guest[i].off && w.guest[i].noise)
      return true;
  return false;
}

/*
 * A working set with noise may be lower, twice in a row, and then higher than ever before, and others' shares with it: so much, however
 * long one looks.
 */
static void judge_rest(const struct guest *g) {
  assert_true(g->changes <= (is_noisy() ? 2u : 0u));
  if (all_fits())
    assert_int_equal(g->waiting, 0);
}

static void come_to_rest(const struct policy *p, unsigned rest) {
  begin_to_count();
  for (unsigned i = 0; i < SETTLED; i++)
    step(p);
  for (unsigned i = 0; i < w.count; i++)
    assert_true(w.guest[i].turns <= TURNS);
  begin_to_count();
  for (unsigned i = 0; i < rest; i++)
    step(p);
  for (unsigned i = 0; i < w.count; i++)
    if (!w.guest[i].off)
      judge_rest(&w.guest[i]);
}

/* Several changes in each world; the last one is left alone for long. */
static void ten_minutes(const struct promise *of) {
  const struct policy *p = policy_find(of->name);
  judged = of;
  for (unsigned i = 0; i < WORLDS; i++) {
    any_world();
    for (unsigned left = STEPS / WORLDS, next; left > 0; left -= next) {
      next = left < 4 * (SETTLED + REST) ? left : SETTLED + REST;
      tight = 0;
      come_to_rest(p, next - SETTLED);
      change();
    }
  }
}

static void test_ten_minutes(void **state) {
  (void)state;
  for (unsigned i = 0; i < 3; i++)
    for (unsigned machine = 1; machine <= MACHINES; machine++) {
      seed = machine;
      ten_minutes(&promises[i]);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_ten_minutes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
