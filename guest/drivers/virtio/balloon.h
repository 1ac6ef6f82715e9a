/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_VIRTIO_BALLOON_H
#define GUEST_DRIVERS_VIRTIO_BALLOON_H

/* The memory balloon (virtio 1.2, 5.5), a kernel thread that does what the device asks as far as it can. */

#include "core/err.h"
#include "core/types.h"

/* Start the thread if the machine has a balloon; after sched_cpu_init(). ERR_NOMEM. */
MUST_CHECK err_t balloon_start(void);
/* There is a device, which may take any frame. */
bool balloon_is_there(void);

/*
 * The last resort of the allocator's slow path, where DEFLATE_ON_OOM was agreed on: take back at least `frames` if the balloon has them.
 * Returns how many it were. Any CPU; no lock held that the balloon's thread holds across an allocation (it holds none).
 */
uint64_t balloon_reclaim(uint64_t frames);
/* The same before a process is ended for lack of memory: waits for whoever is at the balloon. No lock held at all. */
uint64_t balloon_reclaim_waiting(uint64_t frames);

/* By the timer's interrupt and an idle CPU: is there free memory to report? Quick; takes sched_lock if there is. */
void balloon_poll(void);

#endif
