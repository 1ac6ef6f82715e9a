/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The work around policies, with a policy that does as the test says: what it is shown, that no target beyond a quota is asked for, that a
 * guest's word grows old, that pressure is answered soon but not all the time, and that VMs may go while they are being asked.
 */
// sources: hyp/mem/policyd.c hyp/mem/policy_kit.c hyp/mem/policy_none.c
// sources: tests/host/fakehw/hyp_fake.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "fakehw/vgic_fake.h" /* before any header that it replaces */

#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/mem/age.h"
#include "hyp/mem/balloon_target.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/policyd.h"
#include "mm/page_alloc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define VMS 9u
#define MEMORY (64 * SZ_1M)
#define FRAMES (MEMORY >> PAGE_SHIFT)
#define MS 1000u

static struct vm vms[VMS];
static bool gone[VMS];
static uint64_t now, keep[VMS], stats_at[VMS];
static unsigned set[VMS], asked[VMS], waiting;
static struct work *queued;
static uint32_t aged;

/* ---- the machine ---- */

struct vm *vm_by_id(unsigned id) {
  return id >= 1 && id <= VMS && !gone[id - 1] ? &vms[id - 1] : NULL;
}
uint64_t time_now(void) {
  return now;
}
uint64_t time_from_ms(uint64_t ms) {
  return ms * MS;
}
void work_wake(struct work *w) {
  queued = w;
}
void age_on(uint32_t period_ms) {
  aged = period_ms;
}
void age_off(void) {
  aged = 0;
}
bool age_working_set(const struct vm *vm, uint64_t *frames) {
  *frames = vm->id;
  return true;
}
struct memory_waiters exhaust_waiters(const struct vm *vm) {
  return (struct memory_waiters){.memory = vm->id == 1 ? waiting : 0};
}
uint64_t page_spare_frames(void) {
  return 10000;
}
bool page_buddyinfo(unsigned zone, struct buddyinfo *out) {
  *out = (struct buddyinfo){.min_frames = 100, .high_frames = 300};
  return zone < 2;
}
void balloon_read(const struct vm *vm, struct balloon_state *out) {
  *out = (struct balloon_state){.present = vm->id != 2,
                                .driven = vm->id != 2,
                                .keep = keep[vm->id - 1],
                                .actual = 512,
                                .stats_valid = true,
                                .stats_at = stats_at[vm->id - 1],
                                .avail_frames = 77};
}
bool balloon_set_target(struct vm *vm, uint64_t frames) {
  keep[vm->id - 1] = frames;
  set[vm->id - 1]++;
  return true;
}
bool balloon_ask_stats(struct vm *vm) {
  asked[vm->id - 1]++;
  return true;
}

/* ---- the policy ---- */

static struct policy_view seen;
static unsigned ticks, pressures;
static uint64_t wish, wanted;
static unsigned who_id;

static void follow(struct policy_view *view) {
  for (unsigned i = 0; i < view->count; i++)
    if (wish)
      view->vm[i].target = wish;
  seen = *view;
}
static void tick(struct policy_view *view) {
  ticks++;
  follow(view);
}
static void pressure(struct policy_view *view, struct policy_vm *who, uint64_t frames) {
  pressures++;
  who_id = who->id;
  wanted = frames;
  follow(view);
}
POLICY(obedient) = {.name = "obedient", .what = "as the test says", .period_ms = 10, .needs_wss = true, .tick = tick, .pressure = pressure};

/* Everything that is due until `until`; returns the steps it took. */
static unsigned run_until(uint64_t until) {
  unsigned steps = 0;
  while (queued) {
    enum work_result r = queued->step(queued);
    steps++;
    if (r == WORK_MORE)
      continue;
    if (queued->wake_at > until)
      break;
    now = now > queued->wake_at ? now : queued->wake_at;
  }
  now = until;
  return steps;
}

static int reset(void **state) {
  (void)state;
  memset(vms, 0, sizeof(vms));
  memset(gone, 0, sizeof(gone));
  memset(set, 0, sizeof(set));
  memset(asked, 0, sizeof(asked));
  now += 100 * MS;
  ticks = pressures = waiting = who_id = 0;
  wish = 0;
  for (unsigned i = 0; i < VMS; i++) {
    vms[i].id = (uint16_t)(i + 1);
    vms[i].state = VM_RUNNING;
    vms[i].config.memory_bytes = MEMORY;
    vms[i].config.memory_weight = 100 + i;
    vms[i].quota = (struct vm_quota){1024, 2048, FRAMES, FRAMES};
    vms[i].s2.populated_frames = 1000;
    keep[i] = FRAMES;
    stats_at[i] = now;
  }
  policyd_init(policy_find("obedient"), 0);
  return 0;
}

static void test_what_it_shows(void **state) {
  (void)state;
  stats_at[2] = now - 201 * MS;
  (void)run_until(now + 11 * MS);
  assert_int_equal(ticks, 1);
  assert_int_equal(seen.count, VMS);
  assert_int_equal(seen.spare, 10000);
  assert_int_equal(seen.cushion, 400 + VMS * POLICY_SLACK);
  assert_int_equal(seen.frames, 10000 + VMS * 1000 - seen.cushion);
  assert_true(seen.vm[0].asked && !seen.vm[1].asked);
  assert_int_equal(seen.vm[3].held, FRAMES - 512);
  assert_int_equal(seen.vm[3].working_set, 4);
  assert_int_equal(seen.vm[3].weight, 103);
  assert_true(seen.vm[3].says && !seen.vm[2].says); /* its word is old */
  assert_int_equal(aged, 10);
}

static void test_quotas_bind_the_policy(void **state) {
  struct policyd_stats before, after;
  (void)state;
  policyd_read(&before);
  for (unsigned i = 0; i < 3; i++) {
    static const uint64_t wishes[] = {1023, FRAMES + 1, 1024};
    wish = wishes[i];
    (void)run_until(now + 11 * MS);
  }
  policyd_read(&after);
  assert_int_equal(after.refused - before.refused, 2 * (VMS - 1));
  for (unsigned i = 0; i < VMS; i++) {
    assert_int_equal(set[i], i != 1);
    assert_int_equal(keep[i], i != 1 ? 1024 : FRAMES); /* VM 2 has no balloon */
  }
}

static void test_asking_goes_in_steps(void **state) {
  (void)state;
  wish = 2048;
  now += 11 * MS;
  assert_int_equal(queued->step(queued), WORK_MORE); /* decides, and asks nobody yet */
  assert_int_equal(set[0], 0);
  assert_int_equal(queued->step(queued), WORK_MORE);
  assert_int_equal(set[0], 1);
  assert_int_equal(set[4], 0);
  gone[5] = true;
  assert_int_equal(queued->step(queued), WORK_MORE);
  assert_int_equal(queued->step(queued), WORK_WAIT);
  assert_int_equal(set[8], 1);
  assert_int_equal(set[5] + asked[5], 0);
}

static void test_a_change_drops_what_was_not_asked(void **state) {
  (void)state;
  wish = 2048;
  now += 11 * MS;
  assert_int_equal(queued->step(queued), WORK_MORE);
  policyd_set(policy_find("none"), 0);
  assert_int_equal(aged, 0);
  (void)run_until(now + 100 * MS);
  assert_int_equal(set[0], 0);
  assert_int_equal(ticks, 1);
}

/* Asked as often as one likes: answered at once, and then every 2 ms. */
static void test_pressure(void **state) {
  (void)state;
  (void)run_until(now + 11 * MS);
  waiting = 1;
  for (unsigned i = 0; i < 100; i++) {
    policyd_pressure(&vms[3], 512);
    (void)run_until(now + MS / 10);
  }
  assert_in_range(pressures, 4, 6);
  assert_int_equal(who_id, 4);
  assert_int_equal(wanted, 512);
  assert_true(seen.waiting);
  (void)run_until(now + 3 * MS); /* the last one is answered */
  unsigned before = ticks;
  policyd_hint();
  (void)run_until(now + 3 * MS);
  assert_int_equal(ticks, before + 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_what_it_shows, reset),
      cmocka_unit_test_setup(test_quotas_bind_the_policy, reset),
      cmocka_unit_test_setup(test_asking_goes_in_steps, reset),
      cmocka_unit_test_setup(test_a_change_drops_what_was_not_asked, reset),
      cmocka_unit_test_setup(test_pressure, reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
