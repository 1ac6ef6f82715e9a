/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_WORK_H
#define HYP_CORE_WORK_H

/*
 * EL2's own work, in steps: destroying a VM, a monitor command that walks much memory, a timeline that waits. EL2 has no threads, so work
 * is a function that does a bounded piece (at most 50,000 instructions: design decision 5) and says whether there is more. Steps run on CPU
 * 0, between guests' slices; interrupts are looked at between steps.
 */

#include "core/atomic.h"
#include "core/list.h"
#include "core/types.h"

enum work_result {
  WORK_DONE = 0,
  WORK_MORE, /* call again soon */
  WORK_WAIT  /* call again at `wake_at` or when work_wake() is called */
};

struct work {
  struct list_node node;
  enum work_result (*step)(struct work *w);
  uint64_t wake_at; /* CNTPCT; ~0: only by work_wake(); its step's alone, who sets it before WORK_WAIT */
  uint64_t due;     /* in the list: when its step runs; the queue's, so that nothing a step writes outlives a work_wake() meanwhile */
  bool queued;      /* in the list */
};

extern uint64_t work_next_at; /* see work.c */

/* Boot CPU, once, before any of the below. */
void work_init(void);

/* From any CPU, at any time. A step of `w` begins after this, whatever one that is under way answers. */
void work_wake(struct work *w);

/* Its owner goes away: take `w` out of the list. CPU 0, perhaps from its own last step, which then returns WORK_DONE. */
void work_cancel(struct work *w);

/* CPU 0: run one step of what is due. False if nothing is. */
bool work_run_step(void);
/* CPU 0: CNTPCT of the next step that must run even if guests keep the CPU busy; ~0: none. */
static inline uint64_t work_next(void) {
  return atomic_load_relaxed(&work_next_at);
}
/* CPU 0: is a step due? */
bool work_is_due(uint64_t now);

/* Time now and conversions, in CNTPCT ticks. */
uint64_t time_now(void);
uint64_t time_from_ms(uint64_t ms);
uint64_t time_to_us(uint64_t ticks);

#endif
