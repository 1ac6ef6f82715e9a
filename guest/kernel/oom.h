/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_OOM_H
#define GUEST_KERNEL_OOM_H

/* What happens when a process needs memory and there is none: guest/kernel/oom.c. */

#include "core/types.h"

struct task;

/*
 * The current process needs a frame, and the allocator has found none after all it tries. Sees to it that there is more, by the end of a
 * process if need be, and waits for it. True: try again. False: the current process is itself to end, on its way back to EL0, so what it
 * was about is to be given up. No lock held; may block. Source: out_of_memory() of Linux, mm/oom_kill.c.
 */
bool out_of_memory(void);

/* Around mm_put() of a task that ends: whoever waits for memory knows that some is coming, and is woken. sched_lock held. */
void oom_leave_begin(struct task *t);
void oom_leave_end(void);

#endif
