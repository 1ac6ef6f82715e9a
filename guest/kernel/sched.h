/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_SCHED_H
#define GUEST_KERNEL_SCHED_H

/*
 * Round robin over one run queue for all CPUs, 10 ms slices, no preemption in the kernel.
 *
 * Lock order: sched_lock is taken alone, or before the UART's ring lock. It covers the run queue, the sleepers, every task's state and
 * family (task.h). It is held across a context switch: the task switched to releases it.
 */

#include "guest/arch/vlock.h"
#include "guest/kernel/task.h"

extern struct vlock sched_lock;

/* This CPU's boot or idle task takes part from now on. */
void sched_cpu_init(struct task *idle);
/* A new task, all filled in, may run. */
void sched_start(struct task *t);

/* Let others run, if any are ready. Takes sched_lock. */
void schedule(void);
/* Is anybody in the run queue? A glance without the lock: the answer may be old already. */
bool sched_others_ready(void);
/* First thing a new task does: release what the switch held. */
void schedule_tail(void);

/* sched_lock held: block the current task until sched_wake(); the lock is released meanwhile and held again on return. */
void sched_block(enum task_wait why);
/* sched_lock held: make a BLOCKED task ready. */
void sched_wake(struct task *t);
/* sched_lock held: the current task sleeps until `deadline` or a sched_wake(). True if the deadline passed. */
bool sched_sleep_until(uint64_t deadline);
/* sched_lock held: wake everybody who is blocked for that reason. */
void sched_wake_all(enum task_wait why);
/* sched_lock held: leave the CPU for good; the state is set already. */
NORETURN void sched_leave(void);

/* The timer interrupt and the resched SGI. */
void sched_tick(void);
void sched_kicked(void);
/* The life of an idle CPU: takes interrupts, runs what is ready, sleeps in WFI. */
NORETURN void sched_idle(void);

/* sched_lock held: the live task with this pid, or NULL. */
struct task *sched_find(uint32_t pid);
/* sched_lock held: all tasks that were started and not waited for yet, one after another; the first after NULL, NULL after the last. */
struct task *sched_next_task(struct task *t);

#endif
