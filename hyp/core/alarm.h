/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_ALARM_H
#define HYP_CORE_ALARM_H

/* When a CPU must look again: its alarm (CNTHP) and the slice of the vCPU that runs on it. For the files of the scheduler; see alarm.c. */

#include "core/atomic.h"
#include "core/bits.h"
#include "core/compiler.h"
#include "hyp/arch/timer.h"
#include "hyp/core/runqueue.h"

/* The alarm may be early, never late: what came to matter just now can only bring it forward. This CPU only. */
static inline void alarm_by(struct cpu *c, uint64_t at) {
  if (unlikely(at < c->timer_at)) {
    c->timer_at = at;
    timer_arm(at);
  }
}

/* The least deadline that `c` must watch for vCPUs that sleep here, for itself, and until `until` at the latest. */
void alarm_update(struct cpu *c, uint64_t until);

/* Wake the sleepers of `c` whose time has come. No lock held. */
void alarm_expire_sleepers(struct cpu *c, uint64_t now);

/*
 * The end of a slice that begins at `now`: early by up to an eighth of it, scattered by a multiplicative hash of the time, the same in every
 * run. Were all slices of one length, the alarms of all CPUs would keep their distances, and a machine that runs one CPU after the other,
 * each up to the next alarm (QEMU with icount), may pass over the same CPU every time.
 */
static inline uint64_t slice_from(uint64_t now) {
  return now + sched_shared.slice_ticks - ((uint32_t)now * 0x9e3779b1u >> sched_shared.slice_shift);
}

/* A vCPU begins to run on `c`: a whole slice, unless `c` runs without (then nobody waits, or a kick that says so is on its way). */
static inline void slice_begin(struct cpu *c, uint64_t now) {
  if (c->slice_end != TIMER_NEVER)
    c->slice_end = slice_from(now);
}

/* The slice is over: true if nobody waits, and `c` goes on without one. */
bool slice_drop(struct cpu *c);

/* A kick came: if it was because somebody waits now, begin to count. */
static inline void slice_restore(struct cpu *c) {
  if (c->slice_end == TIMER_NEVER && !(atomic_load_relaxed(&sched_shared.tickless) & BIT(c->id)))
    c->slice_end = slice_from(timer_now());
}

/* Somebody waits: CPUs that run without a slice must begin to count. No lock held. */
void slice_restore_all(void);
static inline void slice_somebody_waits(void) {
  if (unlikely(atomic_load_relaxed(&sched_shared.tickless) != 0))
    slice_restore_all();
}

#endif
