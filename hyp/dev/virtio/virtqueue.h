/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VIRTIO_VIRTQUEUE_H
#define HYP_DEV_VIRTIO_VIRTQUEUE_H

/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7), over rings that lie in guest RAM and that the guest may change at any moment.
 *
 * Nothing read from a ring is trusted: every index, address and length is checked after it has been copied out, once, and what was copied
 * is what is used. Frames behind the rings may move or go meanwhile, so each access goes through stage 2 (stage2_read, stage2_write) and
 * none is kept.
 *
 * Lock: the device's; all functions but vq_init() are called with it held.
 */

#include "core/err.h"
#include "core/types.h"

struct stage2;

#define VQ_NUM_MAX 256u     /* largest queue; a power of two */
#define VQ_SEGMENTS_MAX 32u /* buffers of one chain that a device looks at: more is an error */

struct virtqueue {
  struct stage2 *s2;
  ipa_t desc, avail, used;
  uint16_t num; /* a power of two, at most VQ_NUM_MAX; 0: not set up */
  bool ready;
  bool event_idx, indirect;      /* negotiated */
  uint16_t next_avail;           /* free-running: the next entry to take */
  uint16_t next_used;            /* free-running: the next entry to write */
  uint16_t signalled_used;       /* `next_used` when the driver was last asked about an interrupt */
  uint16_t popped;               /* head of the chain that was taken last */
  uint64_t progress;             /* how far the device has come with the chain at `next_avail`; its own count, 0 for a new chain */
  uint64_t out[VQ_NUM_MAX / 64]; /* heads that were taken and not given back */
};

/* One buffer of a chain, wholly within the VM's RAM. */
struct vq_segment {
  ipa_t at;
  uint32_t bytes;
  bool writable; /* by the device */
};

struct vq_chain {
  uint16_t head; /* what vq_push() gives back */
  uint8_t count;
  uint32_t readable, writable; /* bytes in all; readable buffers come first (2.7.4.2) */
  struct vq_segment segment[VQ_SEGMENTS_MAX];
};

/*
 * The next chain the driver has made available. ERR_NOENT: there is none (with VIRTIO_F_EVENT_IDX the driver has then been told to notify
 * again). ERR_INVAL: the ring or a descriptor breaks the rules (more chains out than `num`, one that is out already, a loop, an address
 * outside RAM, a read-only buffer behind a writable one, indirect inside indirect, too many segments): the device needs a reset.
 * ERR_NOMEM, ERR_NOSPC: the used ring is not backed, and no frame can be had for it, or not within the VM's quota. On error nothing was
 * taken.
 */
MUST_CHECK err_t vq_pop(struct virtqueue *q, struct vq_chain *c);
/*
 * Put what vq_pop() took last back, to be popped again (q->progress stays): the device cannot serve all of it now. The driver may have
 * changed it by then.
 */
void vq_unpop(struct virtqueue *q);

/*
 * The chain with this head is used; `written` bytes of its writable buffers hold something. ERR_INVAL: it is not out, since the driver
 * stopped the queue in between; or the ring is in RAM no more. ERR_NOMEM, ERR_NOSPC: as above. On error nothing has changed.
 */
MUST_CHECK err_t vq_push(struct virtqueue *q, uint16_t head, uint32_t written);

/* Must the driver be interrupted for what was pushed since the last call (2.7.7, 2.7.10)? True when the ring cannot be read. */
bool vq_must_signal(struct virtqueue *q);

/* Copy out of the readable bytes of a chain, from `offset` of them on. Returns the bytes copied: less at their end, or if RAM is gone. */
uint64_t vq_read(struct virtqueue *q, const struct vq_chain *c, uint64_t offset, void *to, uint64_t bytes);

/*
 * Copy into the writable bytes of a chain, from `offset` of them on: all, or an error, and then any part of them may have been written.
 * ERR_INVAL: there are not so many, or RAM is gone. ERR_NOMEM, ERR_NOSPC: as above.
 */
MUST_CHECK err_t vq_write(struct virtqueue *q, const struct vq_chain *c, uint64_t offset, const void *from, uint64_t bytes);

/* Does this error mean that a frame was missing, and not that the driver broke a rule? */
static inline bool vq_is_starved(err_t err) {
  return err == ERR_NOMEM || err == ERR_NOSPC;
}

#endif
