/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_VIRTIO_MMIO_H
#define GUEST_DRIVERS_VIRTIO_MMIO_H

/*
 * Virtio devices behind virtio-mmio registers, version 2 (virtio 1.2, 4.2), and what binds drivers to them.
 *
 * Life of a device (3.1.1): reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK, driver->probe() sets up queues, DRIVER_OK,
 * driver->start(). A device that asks for a reset (DEVICE_NEEDS_RESET, 2.1.2) is reset by the transport: driver->lost() gives up what was
 * in flight, then the same life begins again, VIRTIO_RECOVERIES_MAX times at most.
 *
 * All calls into a driver come from one CPU at a time: at boot, then from the interrupt of the device. No lock is held; interrupts are
 * masked, as always in this kernel.
 */

#include "core/err.h"
#include "core/types.h"
#include "guest/drivers/virtio/virtqueue.h"

#define VIRTIO_DEVICES_MAX 8u
#define VIRTIO_QUEUES_MAX 5u
#define VIRTIO_RECOVERIES_MAX 4u

struct virtio_device;

struct virtio_driver {
  const char *name;
  uint32_t device_id; /* VIRTIO_ID_* */
  uint64_t features;  /* what it can use of its device's own */
  /* Which of the features that both have it wants now. NULL: all. */
  uint64_t (*choose)(uint64_t features);
  /*
   * Features are agreed on (virtio_has()): set up the queues, add buffers if it likes; nothing is served before DRIVER_OK. An error
   * leaves the device FAILED.
   */
  err_t (*probe)(struct virtio_device *d);
  /* The device is live: kick. NULL: nothing to do. */
  void (*start)(struct virtio_device *d);
  /* Some queue has used chains. It may come without any. */
  void (*used)(struct virtio_device *d);
  /* The configuration space changed. NULL: it does not matter. */
  void (*config_changed)(struct virtio_device *d);
  /* The device was reset and its queues are dead: vq_detach() says what was out. They go after this. */
  void (*lost)(struct virtio_device *d);
};

struct virtio_device {
  volatile void *base;
  uint32_t intid, device_id;
  uint64_t features;                  /* agreed on */
  const struct virtio_driver *driver; /* NULL: nobody's */
  void *private;                      /* the driver's */
  bool live;                          /* DRIVER_OK is set and no reset was asked for */
  unsigned recoveries;
  struct virtqueue *queue[VIRTIO_QUEUES_MAX];
};

/* Find the devices of the machine, bind the drivers there are. Once, on the boot CPU, with interrupt controller and allocator up. */
void virtio_init(void);

static inline bool virtio_has(const struct virtio_device *d, unsigned feature) {
  return d->features >> feature & 1;
}

/*
 * In probe(): queue `index` with at most `num` entries (rounded down to a power of two the device allows). ERR_NOENT if the device has
 * none; ERR_NOMEM.
 */
MUST_CHECK err_t virtio_queue_setup(struct virtio_device *d, unsigned index, unsigned num, struct virtqueue **out);

/* `bytes` of the configuration space, all of one generation (2.5.3.1). `offset` and `bytes` are multiples of 4. */
void virtio_config_read(struct virtio_device *d, unsigned offset, void *to, unsigned bytes);
void virtio_config_write32(struct virtio_device *d, unsigned offset, uint32_t value);

/* In the dispatch of interrupts: serve what devices ask for by `intid`; false if it is none of theirs. */
bool virtio_interrupt(uint32_t intid);

/* For who polls a queue: does the device ask for a reset, or is it gone? */
bool virtio_is_lost(const struct virtio_device *d);

/* QueueNotify (4.2.3.3); vq_kick() is what drivers call. */
void virtio_notify(struct virtio_device *d, uint16_t queue);

#endif
