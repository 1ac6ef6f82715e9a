/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_VIRTIO_VIRTQUEUE_H
#define GUEST_DRIVERS_VIRTIO_VIRTQUEUE_H

/*
 * The driver's side of a split virtqueue (virtio 1.2, 2.7): descriptor table, available and used ring in one frame, indirect descriptors
 * and the event index where they were negotiated.
 *
 *   vq_add()       a chain of buffers, with a token that names it; the device sees it, but is not told yet
 *   vq_kick()      tell the device of all that was added, if it wants to be told
 *   vq_get_used()  the token of a chain that the device has done with, and how many bytes it wrote
 *
 * Lock: the driver's own; every function is called with it held. The kernel runs with interrupts masked, so one lock serves tasks and
 * interrupts.
 */

#include "core/err.h"
#include "core/types.h"

struct virtio_device;

#define VQ_NUM 128u      /* entries at most: then all three parts fit one frame */
#define VQ_CHAIN_MAX 32u /* segments of a chain: what devices here take */

/* A physically contiguous buffer; it may cross pages, as blocks do. */
struct vq_segment {
  pa_t at;
  uint32_t bytes; /* not 0 */
};

struct virtqueue {
  struct virtio_device *device; /* NULL: not set up */
  uint16_t index, num;
  bool event_idx, indirect, broken, quiet;
  uint16_t free_head, free_count; /* descriptors, linked by `next` */
  uint16_t avail_idx;             /* free-running, likewise the next two: what was added */
  uint16_t kicked_idx;            /* avail_idx at the last kick */
  uint16_t used_idx;              /* what was got */
  struct virtq_desc *desc;
  uint16_t *avail; /* flags, idx, ring[num], used_event */
  uint16_t *used;  /* flags, idx, ring[num] of struct virtq_used_elem, avail_event */
  void *token[VQ_NUM];
  struct virtq_desc *table[VQ_NUM]; /* indirect table of the chain that starts here; NULL: none */
};

/*
 * Add a chain: `out` segments that the device reads, then `in` that it writes. More than one go into an indirect table if that can be
 * had. `token` is not NULL (CHECK). ERR_NOSPC: no descriptors free; ERR_INVAL: none or too many segments; ERR_IO: the queue is broken.
 */
MUST_CHECK err_t vq_add(struct virtqueue *q, const struct vq_segment *segments, unsigned out, unsigned in, void *token);

/* One notification for everything added since the last call, unless the device does not want one (2.7.10, 2.7.13.4). */
void vq_kick(struct virtqueue *q);

/*
 * The next used chain: its token; `*bytes` (may be NULL) is what the device says it wrote. NULL: there is none. A device that names a
 * chain that is not out breaks the queue: NULL from then on, and vq_add() fails, until the device is reset.
 */
void *vq_get_used(struct virtqueue *q, uint32_t *bytes);

/* The same, waited for; NULL if the device is lost, or silent for a second. */
void *vq_wait_used(struct virtqueue *q, uint32_t *bytes);

/*
 * Ask not to be interrupted (a hint), and to be again from the next used chain on. vq_enable_interrupts() returns true if there is a used
 * chain already: then get it, no interrupt may come for it. A new queue has them on.
 */
void vq_disable_interrupts(struct virtqueue *q);
MUST_CHECK bool vq_enable_interrupts(struct virtqueue *q);

/*
 * After the device was reset: one token after the other of chains that never came back; NULL at the end. The queue cannot be used any
 * more.
 */
void *vq_detach(struct virtqueue *q);

/*
 * For the transport: rings of `num` entries (a power of two, at most VQ_NUM) in a frame of their own. ERR_NOMEM. And their end; chains
 * out are forgotten.
 */
MUST_CHECK err_t vq_init(struct virtqueue *q, struct virtio_device *d, uint16_t index, uint16_t num);
void vq_fini(struct virtqueue *q);

#endif
