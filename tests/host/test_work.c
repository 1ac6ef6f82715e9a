/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2's work queue against a model: for each item, the moment from which its step is to run. Items are woken from any CPU at any time, from
 * within their own steps, too, before and after those write down when they want to run again; a step may say "done" although it was woken,
 * and what is woken is never forgotten.
 */
// sources: hyp/core/work.c
// cflags: -include tests/host/fakehw/work_fake.h
#include "hyp/arch/timer.h"
#include "hyp/core/sched.h"
#include "hyp/core/work.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ITEMS 5u
#define STEPS 400000u
#define HZ 62500000u
#define PERIOD (HZ / 10000)

struct item {
  struct work work;
  uint64_t due;  /* the model's: its step runs from then on; TIMER_NEVER: not by itself */
  unsigned late; /* steps of others while it was due */
  bool in_step, woken;
};

static struct item items[ITEMS];
static uint64_t now, alarm_at, last_step, seed;
static unsigned current_cpu, kicks;
static struct item *ran;

/* ---- the machine ---- */

struct cpu cpus[CPUS_MAX];

struct cpu *this_cpu(void) {
  return &cpus[current_cpu];
}

uint64_t fake_sysreg(const char *name) {
  return strcmp(name, "cntfrq_el0") == 0 ? HZ : now;
}

void fake_sysreg_write(const char *name, uint64_t value) {
  (void)name, (void)value;
  fail_msg("work.c arms no timer itself");
}

void gic_send_sgi(const struct cpu *to, unsigned intid) {
  assert_ptr_equal(to, &cpus[0]);
  assert_int_equal(intid, GIC_SGI_KICK);
  kicks++;
}

void sched_alarm_by(uint64_t at) {
  assert_int_equal(current_cpu, 0);
  alarm_at = at;
}

static unsigned any(unsigned below) {
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return (unsigned)(seed >> 33) % below;
}

/* ---- what is done, and what the model makes of it ---- */

static uint64_t least_due(void) {
  uint64_t least = TIMER_NEVER;
  for (unsigned i = 0; i < ITEMS; i++)
    least = items[i].due < least ? items[i].due : least;
  return least;
}

static void check_next(void) {
  uint64_t least = least_due(), period_over = last_step + PERIOD;
  assert_int_equal(work_next(), least == TIMER_NEVER || least > period_over ? least : period_over);
  assert_int_equal(work_is_due(now), work_next() <= now);
}

static void wake(struct item *i) {
  unsigned was = kicks;
  current_cpu = any(3);
  alarm_at = 0;
  work_wake(&i->work);
  i->due = 0;
  i->woken = true;
  check_next();
  assert_int_equal(kicks - was, current_cpu != 0);
  if (current_cpu == 0)
    assert_int_equal(alarm_at, work_next());
  current_cpu = 0;
}

static void wake_some(void) {
  while (any(4) == 0)
    wake(&items[any(ITEMS)]);
}

static uint64_t some_time(void) {
  return any(4) == 0 ? TIMER_NEVER : now + any(3 * PERIOD);
}

static enum work_result step(struct work *w) {
  struct item *i = (struct item *)w;
  assert_null(ran);
  assert_true(i->due <= now);
  ran = i;
  i->due = TIMER_NEVER;
  i->woken = false;
  wake_some();
  enum work_result result = (enum work_result)any(3);
  if (result == WORK_WAIT || any(2))
    w->wake_at = some_time();
  wake_some();
  now += any(100);
  if (any(16) == 0) { /* its owner goes away; it may be used again */
    work_cancel(w);
    i->due = TIMER_NEVER;
    return WORK_DONE;
  }
  if (!i->woken)
    i->due = result == WORK_DONE ? TIMER_NEVER : result == WORK_MORE ? 0 : w->wake_at;
  return result;
}

static int reset(void **state) {
  (void)state;
  memset(items, 0, sizeof items);
  for (unsigned i = 0; i < ITEMS; i++) {
    items[i].work.step = step;
    items[i].due = TIMER_NEVER;
  }
  for (unsigned i = 0; i < CPUS_MAX; i++)
    cpus[i] = (struct cpu){.id = i, .online = true};
  work_init();
  return 0;
}

/* They take turns: while one is due, no other has two steps more than it. */
static void count_late(void) {
  for (unsigned i = 0; i < ITEMS; i++) {
    items[i].late = &items[i] != ran && items[i].due <= now ? items[i].late + 1 : 0;
    assert_in_range(items[i].late, 0, 2 * ITEMS);
  }
}

static void nobody_is_forgotten(void **state) {
  (void)state;
  for (seed = 1; seed <= 3; seed++) {
    reset(state);
    for (unsigned n = 0; n < STEPS; n++) {
      wake_some();
      bool due = least_due() <= now;
      ran = NULL;
      assert_int_equal(work_run_step(), due);
      assert_int_equal(ran != NULL, due);
      if (due) {
        last_step = now;
        count_late();
      }
      check_next();
      if (!due)
        now = least_due() != TIMER_NEVER && any(2) ? least_due() : now + any(PERIOD);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup(nobody_is_forgotten, reset)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
