/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policies. The division against what fairness means, checked claim by claim, not computed again; hysteresis by its own words; and every
 * policy in a machine on paper (policy_world.h): quotas are kept, memory is never promised twice when it is tight, constant load means
 * constant targets, what fits is there within a few periods, and no lie of a guest changes what is asked of another. The example of
 * docs/policy.md is one of them.
 */
// sources: hyp/mem/policy_kit.c hyp/mem/policy_none.c hyp/mem/policy_proportional.c hyp/mem/policy_wss.c
// sources: tests/host/policy_equal.c tests/host/policy_world.c
#include "policy_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FEW 6u
#define SETTLED 24u /* periods after which nothing may move any more */

static const char *const dividing[] = {"proportional", "wss"};

static uint64_t seed = 5;

static uint64_t any(uint64_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (seed >> 33) % below;
}

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

/* ---- which there are ---- */

static void test_all_are_known(void **state) {
  static const char *const names[] = {"none", "proportional", "wss", "equal"};
  unsigned count = 0;
  (void)state;
  for (unsigned i = 0; i < 4; i++) {
    assert_non_null(policy_find(names[i]));
    assert_string_equal(policy_find(names[i])->name, names[i]);
  }
  for (const struct policy *p; (p = policy_number(count)) != NULL; count++)
    assert_true(p->tick || p->pressure);
  assert_int_equal(count, 4);
  assert_null(policy_find("ws"));
}

/* ---- division: layer by layer, by what must hold ---- */

/* How much of a claim lies below the top of layer `n`: min, low, high, max as far as it is wanted; then all of high, and max. */
static uint64_t part(const struct policy_claim *c, unsigned n) {
  uint64_t want = most(c->want, c->quota.min);
  switch (n) {
  case 0:
    return c->quota.min;
  case 1:
    return least(want, c->quota.low);
  case 2:
    return least(want, c->quota.high);
  case 3:
    return least(want, c->quota.max);
  case 4:
    return most(part(c, 3), c->quota.high);
  default:
    return c->quota.max;
  }
}

/*
 * Who has less than it could has as much for its weight as anybody who got something in this layer; a frame or two are left over by
 * rounding.
 */
static void judge_level(const struct policy_claim *c, unsigned count, unsigned n) {
  for (unsigned i = 0; i < count; i++)
    for (unsigned j = 0; j < count; j++) {
      uint64_t floor = n ? part(&c[j], n - 1) : 0;
      if (c[i].share < part(&c[i], n) && c[j].share > floor)
        assert_true(c[j].share * c[i].weight <= (c[i].share + 2) * c[j].weight);
    }
}

static void judge(const struct policy_claim *c, unsigned count, uint64_t frames, bool all) {
  uint64_t sum = 0, layer, below = 0;
  unsigned n = 0, layers = all ? 6 : 4;
  for (unsigned i = 0; i < count; i++)
    sum += c[i].share;
  assert_true(sum <= frames);
  for (; n < layers; n++, below = layer) {
    layer = 0;
    for (unsigned i = 0; i < count; i++)
      layer += part(&c[i], n);
    if (layer > frames)
      break;
  }
  if (n == layers) {
    assert_int_equal(sum, below); /* all have all that they may have */
    return;
  }
  assert_true(sum + 2 * count >= frames);
  for (unsigned i = 0; i < count; i++) {
    assert_true(c[i].share >= (n ? part(&c[i], n - 1) : 0)); /* the layers below are whole, those above empty */
    assert_true(c[i].share <= part(&c[i], n));
  }
  judge_level(c, count, n);
}

static struct policy_claim any_claim(uint64_t scale) {
  uint64_t max = 1 + any(scale), high = any(max + 1), low = any(high + 1), min = any(2) ? any(low + 1) : 0;
  return (struct policy_claim){.quota = {min, low, high, max}, .want = any(2 * scale), .weight = (uint32_t)(any(3) ? 100 : 1 + any(1000))};
}

static void test_division(void **state) {
  (void)state;
  for (unsigned round = 0; round < 60000; round++) {
    struct policy_claim c[8];
    unsigned count = 1 + (unsigned)any(8);
    uint64_t scale = round % 3 ? 4000 : 1u << 24;
    for (unsigned i = 0; i < count; i++)
      c[i] = any_claim(scale);
    uint64_t frames = any(scale * count + 1);
    bool all = any(2);
    policy_divide(c, count, frames, all);
    judge(c, count, frames, all);
  }
}

/* ---- hysteresis ---- */

static uint64_t settled(uint64_t keep, uint64_t goal, uint64_t *patience, bool tight) {
  struct policy_vm v = {.keep = keep, .quota = {16 * MIB, 16 * MIB, 256 * MIB, 256 * MIB}};
  return policy_settle(&v, goal, patience, tight);
}

static void test_settling(void **state) {
  uint64_t p = 0;
  (void)state;
  assert_int_equal(settled(64 * MIB, 100 * MIB + 300, &p, false), 100 * MIB); /* up at once, in blocks */
  assert_int_equal(settled(64 * MIB, 60 * MIB, &p, false), 64 * MIB);         /* not worth it */
  assert_int_equal(settled(128 * MIB, 121 * MIB, &p, false), 128 * MIB);      /* nor a sixteenth */
  assert_int_equal(settled(128 * MIB, 121 * MIB, &p, true), 120 * MIB);       /* but if it is tight */
  assert_int_equal(settled(64 * MIB, 60 * MIB, &p, true), 64 * MIB);
  assert_int_equal(settled(128 * MIB, 20 * MIB, &p, false), 128 * MIB); /* once is not yet twice */
  assert_int_equal(settled(128 * MIB, 120 * MIB, &p, false), 128 * MIB);
  assert_int_equal(settled(128 * MIB, 20 * MIB, &p, false), 128 * MIB); /* what lay between counts anew */
  assert_int_equal(settled(128 * MIB, 20 * MIB, &p, false), 96 * MIB);  /* a quarter */
  assert_int_equal(settled(96 * MIB, 20 * MIB, &p, false), 64 * MIB);   /* or 32 MiB */
  assert_int_equal(settled(96 * MIB, 20 * MIB, &p, true), 20 * MIB);
  p = 5;
  assert_int_equal(settled(30 * MIB, 0, &p, false), 16 * MIB); /* min, and no lower */
  assert_int_equal(settled(200 * MIB, 900 * MIB, &p, false), 256 * MIB);
}

/* ---- in the world ---- */

static struct world w;

static void for_dividing(void (*test)(const struct policy *p)) {
  for (unsigned i = 0; i < 2; i++)
    test(policy_find(dividing[i]));
}

static void use(unsigned i, uint64_t used_mib, uint64_t busy_mib) {
  w.guest[i].used = used_mib * MIB;
  w.guest[i].busy = busy_mib * MIB;
}

/* Three guests of 256 MiB on 512; their sets rise and fall in turn, and always fit. */
static void turns(const struct policy *p) {
  world_make(&w, 512, 3, 256);
  for (unsigned turn = 0; turn < 30; turn++) {
    for (unsigned i = 0; i < 3; i++)
      use(i, turn % 3 == i ? 220 : 40, turn % 3 == i ? 220 : 40);
    unsigned waited[3];
    world_run(&w, p, 8);
    for (unsigned i = 0; i < 3; i++)
      waited[i] = w.guest[i].waited;
    world_run(&w, p, SETTLED);
    for (unsigned i = 0; i < 3; i++) {
      assert_int_equal(w.guest[i].waited, waited[i]); /* whatever it took is over within eight periods */
      assert_true(w.guest[i].resident >= w.guest[i].used);
    }
  }
}

static void test_turns(void **state) {
  (void)state;
  for_dividing(turns);
}

static bool fits(void) {
  uint64_t used = 0;
  for (unsigned i = 0; i < w.count; i++)
    used += w.guest[i].used + policy_headroom(w.guest[i].used) + 8 * MIB;
  return used + w.cushion <= w.ram;
}

static void any_world(void) {
  world_make(&w, 256 + 2 * any(400), 1 + (unsigned)any(FEW), 256);
  w.seed = any(1u << 30);
  w.rate = (4 + any(100)) * MIB;
  for (unsigned i = 0; i < w.count; i++) {
    struct guest *g = &w.guest[i];
    uint64_t min = any(20), low = min + any(40), high = low + 40 + any(150);
    if (any(2))
      g->quota = (struct vm_quota){min * MIB, low * MIB, least(high, 256) * MIB, 256 * MIB};
    g->weight = any(3) ? 100 : 1 + (uint32_t)any(1000);
    g->silent = any(3) == 0;
    g->no_balloon = any(6) == 0;
    g->noise = any(2) ? any(MIB / 2) : 0;
    use(i, 10 + any(150), 0);
    g->busy = any(2) ? g->used : any(g->used + 1);
  }
}

/* Constant load: after a while nothing moves; and if memory is tight it is promised once only. */
static void constant(const struct policy *p) {
  unsigned waiting = 0;
  for (unsigned round = 0; round < 1500; round++) {
    any_world();
    world_run(&w, p, 3 * SETTLED);
    waiting = 0;
    for (unsigned i = 0; i < w.count; i++)
      waiting += w.guest[i].waiting;
    if (fits())
      assert_int_equal(waiting, 0);
    unsigned changes = world_changes(&w);
    world_run(&w, p, 40);
    assert_int_equal(world_changes(&w), changes);
    uint64_t slack = w.count * POLICY_SLACK, fixed = 0;
    for (unsigned i = 0; i < w.count; i++)
      fixed += w.guest[i].no_balloon ? w.guest[i].resident : w.guest[i].quota.min;
    if (waiting > 0 && fixed <= w.ram - w.cushion)
      assert_true(world_promised(&w) <= w.ram - w.cushion + slack);
  }
}

static void test_constant_load(void **state) {
  (void)state;
  for_dividing(constant);
}

/* A twelfth of it is left alone for two periods of three: nobody is asked back and forth. */
static void test_now_and_then(void **state) {
  (void)state;
  world_make(&w, 512, 2, 256);
  for (unsigned i = 0; i < 2; i++)
    w.guest[i].silent = true;
  for (unsigned step = 0; step < 200; step++) {
    for (unsigned i = 0; i < 2; i++)
      use(i, 120, step % 3 ? 110 : 120);
    world_run(&w, policy_find("wss"), 1);
    if (step == SETTLED)
      w.guest[0].changes = w.guest[1].changes = 0;
  }
  assert_int_equal(world_changes(&w), 0);
}

/* From all of its memory to its working set, and back up: within so many periods. */
static void test_convergence(void **state) {
  (void)state;
  world_make(&w, 512, 1, 256);
  use(0, 32, 32);
  world_run(&w, policy_find("wss"), 12);
  assert_true(w.guest[0].keep <= 40 * MIB);
  assert_true(w.guest[0].keep >= 32 * MIB);
  use(0, 200, 200);
  world_run(&w, policy_find("wss"), 2);
  assert_true(w.guest[0].keep >= 200 * MIB);
}

/* ---- weights and quotas, when not all can have what they want ---- */

static void test_weights(void **state) {
  (void)state;
  world_make(&w, 512, 2, 512);
  w.guest[0].weight = 300;
  w.guest[0].greedy = w.guest[1].greedy = true; /* so that both want more than there is, and go on wanting it */
  use(0, 400, 400);
  use(1, 400, 400);
  world_run(&w, policy_find("proportional"), SETTLED);
  uint64_t a = w.guest[0].keep, b = w.guest[1].keep;
  assert_true(a >= 2 * b && a + b > 480 * MIB && a + b <= 512 * MIB);
}

/* What nobody wants goes to all: targets do not stand in anybody's way before it is tight. */
static void test_what_is_over(void **state) {
  (void)state;
  world_make(&w, 512, 2, 512);
  use(0, 20, 20);
  use(1, 120, 120);
  world_run(&w, policy_find("proportional"), 2 * SETTLED);
  assert_true(world_promised(&w) > 470 * MIB && world_promised(&w) <= 512 * MIB);
}

/* Nobody waits yet, but what should stay free is gone: idle memory is asked for, whatever its guest says. */
static void test_the_cushion(void **state) {
  (void)state;
  world_make(&w, 256, 2, 256);
  w.guest[0].lie = 1;
  use(0, 240, 20);
  use(1, 12, 12);
  world_run(&w, policy_find("wss"), 1);
  use(0, 100, 20);
  world_run(&w, policy_find("wss"), SETTLED);
  assert_int_equal(w.guest[1].waited, 0);
  assert_true(world_spare(&w) > w.cushion / 2);
}

static void protection(const struct policy *p) {
  world_make(&w, 300, 3, 256);
  w.guest[0].quota = (struct vm_quota){60 * MIB, 60 * MIB, 256 * MIB, 256 * MIB}; /* uses little: kept all the same */
  w.guest[1].quota = (struct vm_quota){0, 120 * MIB, 256 * MIB, 256 * MIB};       /* wants more than its low: has that */
  use(0, 8, 8);
  use(1, 200, 200);
  use(2, 250, 250);
  for (unsigned step = 0; step < 60; step++) {
    world_step(&w, p);
    assert_true(w.guest[0].keep >= 60 * MIB);
    assert_true(w.guest[1].keep >= 118 * MIB);
  }
  assert_true(w.guest[2].keep < 130 * MIB);
}

static void test_protection(void **state) {
  (void)state;
  for_dividing(protection);
}

/* Above high is taken first. */
static void test_high(void **state) {
  (void)state;
  world_make(&w, 300, 2, 256);
  w.guest[0].quota.high = 80 * MIB;
  use(0, 200, 200);
  use(1, 200, 200);
  world_run(&w, policy_find("wss"), SETTLED);
  assert_true(w.guest[0].keep < 92 * MIB);
  assert_true(w.guest[1].keep >= 200 * MIB);
}

/* ---- lies ---- */

/* Whatever one guest says, what is asked of the others is the same. */
static void lies(const struct policy *p) {
  for (unsigned round = 0; round < 3000; round++) {
    uint64_t honest[FEW] = {0}, memo[FEW][POLICY_MEMO_WORDS];
    any_world();
    world_run(&w, p, 1 + (unsigned)any(10));
    unsigned liar = (unsigned)any(w.count);
    uint64_t noise = w.seed;
    for (unsigned i = 0; i < w.count; i++)
      memcpy(memo[i], w.guest[i].memo, sizeof(memo[i]));
    world_show(&w);
    p->tick(&w.view);
    for (unsigned i = 0; i < w.count; i++) {
      honest[i] = w.view.vm[i].target;
      memcpy(w.guest[i].memo, memo[i], sizeof(memo[i]));
    }
    w.seed = noise;
    world_show(&w);
    w.view.vm[liar].says = any(4);
    w.view.vm[liar].available = any(2) ? any(300 * MIB) : any(2) ? 0 : ~0ull;
    p->tick(&w.view);
    for (unsigned i = 0; i < w.count; i++)
      if (i != liar)
        assert_int_equal(w.view.vm[i].target, honest[i]);
  }
}

static void test_lies(void **state) {
  (void)state;
  for_dividing(lies);
}

/* One that says it needs all, and gives nothing, cannot keep others from what they use as long as that fits. */
static void test_a_liar_keeps_its_own(void **state) {
  (void)state;
  world_make(&w, 512, 3, 256);
  w.guest[0].lie = 1; /* nothing to spare, it says */
  use(0, 240, 240);
  use(1, 100, 100);
  use(2, 100, 100);
  world_run(&w, policy_find("wss"), SETTLED);
  use(0, 60, 20);
  world_run(&w, policy_find("wss"), SETTLED);
  assert_true(w.guest[0].resident >= 240 * MIB); /* nobody needs it: it is believed */
  use(1, 200, 200);
  use(2, 180, 180);
  world_run(&w, policy_find("wss"), SETTLED);
  assert_int_equal(w.guest[1].waiting + w.guest[2].waiting, 0);
  assert_true(w.guest[0].keep < 120 * MIB); /* it is tight now: its word does not count */
}

/* ---- none: only who can spare some, by its own word, when somebody waits ---- */

static void test_none_asks_the_richest(void **state) {
  (void)state;
  const struct policy *none = policy_find("none");
  world_make(&w, 400, 3, 256);
  w.guest[1].quota.low = 100 * MIB;
  use(0, 40, 40);
  use(1, 250, 250);
  world_run(&w, none, 2);
  use(1, 90, 90); /* 160 MiB free, and resident */
  world_run(&w, none, 5);
  assert_int_equal(world_changes(&w), 0);
  use(2, 240, 240);
  world_run(&w, none, 60);
  assert_int_equal(w.guest[2].waiting, 0);
  assert_true(w.guest[1].changes > 0);
  assert_true(w.guest[1].keep >= 100 * MIB);
  assert_int_equal(w.guest[2].changes, 0);
  use(1, 30, 30);
  use(2, 256, 256);
  use(0, 60, 60); /* more than there is above low */
  world_run(&w, none, 60);
  assert_int_equal(w.guest[1].keep, 100 * MIB);
}

/* It claims to have most, and gives nothing: the next is asked before long. */
static void test_none_gets_past_a_liar(void **state) {
  (void)state;
  world_make(&w, 400, 3, 256);
  w.guest[0].lie = 250 * MIB;
  w.guest[0].greedy = true;
  use(0, 60, 60);
  use(1, 240, 240);
  world_run(&w, policy_find("none"), 2);
  use(1, 90, 90);
  use(2, 200, 200);
  world_run(&w, policy_find("none"), 80);
  assert_int_equal(w.guest[2].waiting, 0);
}

/* ---- the example ---- */

static void test_equal(void **state) {
  (void)state;
  world_make(&w, 400, 4, 256);
  w.guest[3].quota.min = w.guest[3].quota.low = 200 * MIB;
  for (unsigned i = 0; i < 4; i++)
    use(i, 20, 20);
  world_run(&w, policy_find("equal"), 2 * SETTLED);
  for (unsigned i = 0; i < 3; i++)
    assert_true(w.guest[i].keep >= 58 * MIB && w.guest[i].keep <= 66 * MIB);
  assert_true(w.guest[3].keep >= 200 * MIB && w.guest[3].keep <= 212 * MIB);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_are_known),
      cmocka_unit_test(test_division),
      cmocka_unit_test(test_settling),
      cmocka_unit_test(test_turns),
      cmocka_unit_test(test_constant_load),
      cmocka_unit_test(test_now_and_then),
      cmocka_unit_test(test_convergence),
      cmocka_unit_test(test_weights),
      cmocka_unit_test(test_what_is_over),
      cmocka_unit_test(test_the_cushion),
      cmocka_unit_test(test_protection),
      cmocka_unit_test(test_high),
      cmocka_unit_test(test_lies),
      cmocka_unit_test(test_a_liar_keeps_its_own),
      cmocka_unit_test(test_none_asks_the_richest),
      cmocka_unit_test(test_none_gets_past_a_liar),
      cmocka_unit_test(test_equal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
