/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2's own work on CPU 0: a list of work items, each run a step at a time. While guests keep CPU 0 busy a step runs at least every
 * WORK_PERIOD_US, so that the monitor answers; when it idles, steps run back to back with interrupts looked at in between.
 *
 * Lock: work_lock covers the list and every item's links, due and queued, and writes of the hints. A step runs without it, its item out of
 * the list; if it is in the list when the step ends, it was woken meanwhile.
 */
#include "hyp/core/work.h"
#include "arch/lock.h"
#include "arch/sysreg.h"
#include "core/bits.h"
#include "hyp/arch/gic.h"
#include "hyp/arch/timer.h"
#include "hyp/core/cost.h"
#include "hyp/core/cpu.h"
#include "hyp/core/sched.h"

#define WORK_PERIOD_US 100u

static struct spinlock work_lock;
static struct list_node items;
static uint64_t earliest = TIMER_NEVER; /* least due of all items; read without the lock as a hint */
uint64_t work_next_at = TIMER_NEVER;    /* the same, but a period after the last step; likewise */
static uint64_t last_step;              /* CNTPCT; work_lock */

void work_init(void) {
  list_init(&items);
}

uint64_t time_now(void) {
  return timer_now();
}

uint64_t time_from_ms(uint64_t ms) {
  return ms * sysreg_read(cntfrq_el0) / 1000;
}

uint64_t time_to_us(uint64_t ticks) {
  uint64_t hz = sysreg_read(cntfrq_el0);
  return ticks / hz * 1000000 + ticks % hz * 1000000 / hz;
}

/* `at` is the least due. */
static void publish(uint64_t at) {
  atomic_store_relaxed(&earliest, at);
  atomic_store_relaxed(&work_next_at, at == TIMER_NEVER ? at : max_u64(at, last_step + time_from_ms(1) * WORK_PERIOD_US / 1000));
}

static void refresh_earliest(void) {
  uint64_t at = TIMER_NEVER;
  list_for_each (node, &items)
    at = min_u64(at, list_entry(node, struct work, node)->due);
  publish(at);
}

/* Behind the others, so that items take turns; or sooner than it was. */
static void enqueue(struct work *w, uint64_t due) {
  w->due = due;
  if (w->queued)
    return;
  w->queued = true;
  list_push_back(&items, &w->node);
}

void work_wake(struct work *w) {
  spin_lock(&work_lock);
  enqueue(w, 0);
  publish(0);
  spin_unlock(&work_lock);
  if (this_cpu()->id == 0)
    sched_alarm_by(work_next());
  else if (cpus[0].online)
    gic_send_sgi(&cpus[0], GIC_SGI_KICK);
}

void work_cancel(struct work *w) {
  spin_lock(&work_lock);
  if (w->queued)
    list_remove(&w->node);
  w->queued = false;
  refresh_earliest();
  spin_unlock(&work_lock);
}

static struct work *take_due(uint64_t now) {
  struct work *due = NULL;
  spin_lock(&work_lock);
  list_for_each (node, &items) {
    struct work *w = list_entry(node, struct work, node);
    if (w->due <= now) {
      due = w;
      break;
    }
  }
  if (due) {
    list_remove(&due->node);
    due->queued = false;
  }
  refresh_earliest();
  spin_unlock(&work_lock);
  return due;
}

bool work_run_step(void) {
  uint64_t now = timer_now();
  if (atomic_load_relaxed(&earliest) > now)
    return false;
  struct work *w = take_due(now);
  if (!w)
    return false;
  cost_pause(this_cpu());
  enum work_result result = w->step(w);
  cost_resume(this_cpu());
  spin_lock(&work_lock);
  last_step = timer_now();
  if (result != WORK_DONE && !w->queued) /* a finished item may be gone with its owner: not touched */
    enqueue(w, result == WORK_WAIT ? w->wake_at : 0);
  refresh_earliest();
  spin_unlock(&work_lock);
  return true;
}

bool work_is_due(uint64_t now) {
  return work_next() <= now;
}
