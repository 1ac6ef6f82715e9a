/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOSTILE_HOSTILE_BALLOON_H
#define HOSTILE_HOSTILE_BALLOON_H

/* The balloon of the hostile guest: what the attacks and the driver below them share. */

#include "abi/virtio.h"
#include "arch/mmio.h"
#include "hostile.h"

/*
 * Scratch: 2 MiB of rings, messages and what is kept, then the playground up to the end of RAM, whose pages may be given and lost.
 * Nothing that a device may ever read, however two CPUs mix it up, is the number of a page or the start of a range that lies elsewhere
 * in RAM.
 */
#define BALLOON_NUM 16u
#define BALLOON_RING_BYTES 0x1000u
#define BALLOON_MESSAGES (machine.scratch + BALLOON_QUEUES * BALLOON_RING_BYTES)
#define BALLOON_MESSAGE_BYTES 0x4000u
#define BALLOON_STATS_AREA (machine.scratch + SZ_1M)
#define BALLOON_STATS_BYTES 0x4000u
#define BALLOON_PLAYGROUND (machine.scratch + SZ_2M)
#define BALLOON_KEPT (machine.scratch + 3 * SZ_1M / 2)
#define BALLOON_KEPT_PAGES 8u /* never named, never lost */

#define BALLOON_ALL (BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_REPORTING) | BIT(VIRTIO_F_INDIRECT_DESC))
#define BALLOON_RANGES BIT(VIRTIO_BALLOON_F_SLUICE_RANGES)
#define BALLOON_POISON BIT(VIRTIO_BALLOON_F_PAGE_POISON)

struct balloon_rings {
  struct virtq_desc desc[BALLOON_NUM];
  uint16_t avail[4 + BALLOON_NUM];
  uint32_t used[4 + 2 * BALLOON_NUM];
};

/* --- balloon_device.c */
bool balloon_find(void);
volatile void *balloon_window(void);
void balloon_put(uint64_t reg, uint32_t value);
bool balloon_needs_reset(void);
bool balloon_is_live(void);
/* Reset, negotiate, all queues empty, DRIVER_OK. */
void balloon_begin(uint64_t features);
struct balloon_rings *balloon_rings_of(unsigned q);
/* One buffer, by descriptor 0; the device has dealt with it when this returns, unless another CPU interferes. */
void balloon_offer(unsigned q, uint64_t at, uint32_t bytes, bool writable);
void balloon_offer_range(unsigned q, uint64_t at, uint64_t bytes);
/* Each queue, each rule of the rings broken once. */
void balloon_break_rules(void);

/* --- balloon_judged.c: what must happen to a page, whatever the guest says of it */
void balloon_judge(void);

#endif
