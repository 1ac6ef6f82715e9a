/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_VIRTIO_BALLOON_PRIV_H
#define GUEST_DRIVERS_VIRTIO_BALLOON_PRIV_H

/* What the files of the balloon's driver share: balloon.c (device and thread), balloon_resize.c, balloon_pages.c, balloon_stats.c, balloon_reporting.c. */

#include "abi/virtio.h"
#include "guest/arch/vlock.h"
#include "guest/drivers/virtio/balloon.h"
#include "guest/drivers/virtio/mmio.h"
#include "mm/page_alloc.h"

#define BALLOON_RETRY_MS 200u /* what could not be done is tried again */
#define BALLOON_BLOCK_FRAMES (1u << PAGEBLOCK_ORDER)
#define BALLOON_PAGES_PER_CHAIN 256u
#define BALLOON_RANGES_PER_CHAIN 32u

/* What the device reads: page numbers, or ranges. */
union balloon_message {
  uint32_t pfn[BALLOON_PAGES_PER_CHAIN];
  struct balloon_range range[BALLOON_RANGES_PER_CHAIN];
};

/* A stack of frames, or of blocks, through frame->next. */
struct balloon_stack {
  uint32_t top; /* FRAME_LINK_NONE: empty */
  uint64_t count;
};

/*
 * Lock: `lock` covers lists, counts and queues; no allocation is made under it. `due` and `report_at` are covered by sched_lock; who polls
 * glances at the latter without.
 */
struct balloon {
  struct vlock lock;
  struct virtio_device *device;                            /* NULL: none, or lost */
  struct virtqueue *inflate, *deflate, *stats, *reporting; /* the last two NULL: not agreed on */
  struct balloon_stack pages, blocks;
  union balloon_message *message;
  struct balloon_stat *stat;
  struct task *thread;
  bool due;             /* something for the thread to look at */
  bool asked, declined; /* atomic; balloon_resize.c */
  bool resize;          /* the thread's own */
  bool orphaned;        /* the device was reset: what is inside is ours again */
  bool reports;         /* free memory is to be reported */
  uint64_t report_at;   /* when, in ticks; 0: nobody has seen any */
};
extern struct balloon balloon;

/* Frames inside. */
static inline uint64_t balloon_inside(void) {
  return balloon.pages.count + balloon.blocks.count * BALLOON_BLOCK_FRAMES;
}

/* --- balloon.c: the thread is to look; sched_lock held, or not. */
void balloon_wake_locked(void);
void balloon_wake(void);

/* --- balloon_resize.c. The device's target has changed: any context. */
void balloon_ask(void);
/* By the thread: one step to the target, and the device is told how far it is; true if it got on. No lock held. */
bool balloon_resize_step(void);
/* By the thread: the target is not met, and is to be tried again. */
bool balloon_has_to_resize(void);
/* Memory was short: nothing more goes in until the device asks. Any CPU. */
void balloon_decline(void);
/* Write `actual`; `lock` held, there is a device. */
void balloon_tell_actual(void);

/* --- balloon_pages.c; no lock held. Some of `want` frames in or out; true if it got on. */
bool balloon_inflate_some(uint64_t want);
bool balloon_deflate_some(uint64_t want);
/* The device is gone: all is ours again, and nobody need be told. */
void balloon_take_all_back(void);

/* --- balloon_stats.c: answer if the device has asked; and the first buffer, `lock` held. */
void balloon_answer_stats(void);
void balloon_send_stats(void);

/* --- balloon_reporting.c: the thread's part, when report_at has passed. */
void balloon_report_free(void);

#endif
