/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VIRTIO_VIRTIO_H
#define HYP_DEV_VIRTIO_VIRTIO_H

/*
 * Virtio over MMIO (virtio 1.2, 4.2): one transport, and devices that ride on it. A VM has VIRTIO_SLOTS pages' worth of register windows
 * where QEMU's virt board has them; a slot without a device reads as device id 0.
 *
 * What the guest does wrong costs the guest that device only: it gets DEVICE_NEEDS_RESET and a configuration interrupt (2.1.2), and
 * nothing more happens on its queues until it resets it. What it does right, and what finds no frame for a page of a ring or of a buffer,
 * waits until there is one (exhaust.h): nothing is lost by that, and the VM's vCPUs run on.
 *
 * Lock: device->lock covers the device and its queues. Order: device->lock -> stage2.lock, device->lock -> vgic.lock. A device's
 * functions are called with it held.
 */

#include "abi/virtio.h"
#include "arch/lock.h"
#include "core/atomic.h"
#include "core/err.h"
#include "core/types.h"
#include "hyp/dev/virtio/virtqueue.h"

struct vm;
struct vcpu;
struct virtio_device;

#define GUEST_VIRTIO_BASE 0x0a000000ull
#define GUEST_VIRTIO_STRIDE 0x200ull
#define VIRTIO_SLOTS 8u
#define VIRTIO_INTID 48u /* of slot 0: SPI 16, as on QEMU's virt board; level-sensitive */
#define VIRTIO_QUEUES_MAX 5u
#define VIRTIO_CONFIG_MAX 64u

/* What a queue's work came to. */
enum virtio_work {
  VIRTIO_IDLE = 0, /* nothing is available any more */
  VIRTIO_MORE,     /* something was done, and there is more: interrupts may be looked at first */
  VIRTIO_STARVED,  /* no frame: nothing was taken, and it is called again when there may be one */
  VIRTIO_BROKEN    /* the driver broke the rules: the device needs a reset */
};

/* What it means for a queue's work that vq_pop() gave no chain. */
static inline enum virtio_work virtio_no_chain(err_t err) {
  return err == ERR_NOENT ? VIRTIO_IDLE : vq_is_starved(err) ? VIRTIO_STARVED : VIRTIO_BROKEN;
}

/*
 * What became of the chain popped last, of which vq_write() or vq_push() said `err`. If a frame was missing, it goes back to be popped
 * again.
 */
static inline enum virtio_work virtio_chain_done(struct virtqueue *q, err_t err) {
  if (vq_is_starved(err))
    vq_unpop(q);
  return err == ERR_OK ? VIRTIO_MORE : virtio_no_chain(err);
}

struct virtio_ops {
  const char *name;
  uint16_t device_id;    /* VIRTIO_ID_* */
  uint8_t queues;        /* at most VIRTIO_QUEUES_MAX */
  uint16_t config_bytes; /* of the configuration space, at most VIRTIO_CONFIG_MAX */
  /* Features of its own that the device offers, VIRTIO_F_* of the transport left out. NULL: none. */
  uint64_t (*features)(struct virtio_device *d);
  /* Take at most one chain (about 50,000 instructions at most) from queue `q` and serve it. */
  enum virtio_work (*run)(struct virtio_device *d, unsigned q);
  /* The driver wrote `bytes` of the configuration space (already in d->config). NULL: it is read-only. */
  void (*config_written)(struct virtio_device *d, unsigned offset, unsigned bytes);
  /* DRIVER_OK was set; the device was reset (queues are gone already). NULL: nothing to do. */
  void (*driver_ok)(struct virtio_device *d);
  void (*reset)(struct virtio_device *d);
  /* The VM begins anew, after reset(): forget what outlives a reset of the device. NULL: there is nothing. */
  void (*power_on)(struct virtio_device *d);
};

struct virtio_device {
  struct spinlock lock;
  const struct virtio_ops *ops; /* constant */
  struct vm *vm;                /* constant */
  unsigned slot;                /* constant */
  uint64_t features;            /* negotiated; 0 before FEATURES_OK */
  uint32_t status, interrupt_status;
  uint32_t device_features_sel, driver_features_sel, queue_sel;
  uint64_t driver_features; /* as written so far */
  uint32_t generation;      /* of the configuration */
  bool line;                /* as last told to the vGIC */
  uint32_t breaks;          /* how often the driver broke the rules, resets or not */
  uint32_t starved;         /* a bit for each queue that wants a frame to go on; atomic: virtio_retry() */
  struct virtqueue queue[VIRTIO_QUEUES_MAX];
  uint8_t config[VIRTIO_CONFIG_MAX];
};

/* The driver is there, and has neither given up nor broken the rules. Without the lock it is a glance. */
static inline bool virtio_is_live(const struct virtio_device *d) {
  uint32_t bits = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_FAILED;
  return (atomic_load_relaxed(&d->status) & bits) == VIRTIO_STATUS_DRIVER_OK;
}

static inline bool virtio_has(const struct virtio_device *d, unsigned feature) {
  return d->features >> feature & 1;
}

/* A device embeds struct virtio_device; it is put into the VM's slot `slot` when the VM is made, before it runs. */
void virtio_init(struct virtio_device *d, const struct virtio_ops *ops, struct vm *vm, unsigned slot);
/* The device of `vm` that has these operations; NULL if it has none. Any CPU: a VM's slots are filled before it runs. */
struct virtio_device *virtio_find(const struct vm *vm, const struct virtio_ops *ops);
/* At a restart of the VM: as after power-on; no vCPU runs. */
void virtio_power_on(struct virtio_device *d);

/* Register accesses of 1, 2 or 4 (configuration: also 8) bytes at `offset` in the window of all slots; naturally aligned. */
uint64_t virtio_mmio_read(struct vcpu *v, uint64_t offset, unsigned bytes);
void virtio_mmio_write(struct vcpu *v, uint64_t offset, unsigned bytes, uint64_t value);

/*
 * QueueNotify by `v`: serves the queue, VIRTIO_CHAINS_PER_EXIT chains of it; and, on its way out of the exit (VCPU_REQ_DEVICE), what that
 * left to do. Interrupts are looked at between chains, and what was used is announced at the end. No lock held.
 */
#define VIRTIO_CHAINS_PER_EXIT 8u
void virtio_notify(struct vcpu *v, unsigned slot, uint64_t q);
void virtio_resume(struct vcpu *v);
/*
 * `v` has set DRIVER_OK: what was offered before is served on its way out. A driver need not notify of that again (Linux's balloon does
 * not).
 */
void virtio_begin(struct vcpu *v, unsigned slot);
/*
 * The device has something for queue `q`: one of the VM's vCPUs will serve it, on its own time; rather one that does not wait for memory.
 * From any CPU and any interrupt handler, no lock needed; nothing if all of them are off.
 */
void virtio_ask(struct virtio_device *d, unsigned q);
/* There may be a frame for the VM now: ask for each queue that wanted one. As virtio_ask(). */
void virtio_retry(struct vm *vm);

/* Held lock: the configuration changed (generation and interrupt); used buffers are to be announced; the driver broke the rules. */
void virtio_config_changed(struct virtio_device *d);
void virtio_signal_used(struct virtio_device *d, unsigned q);
void virtio_needs_reset(struct virtio_device *d, const char *why);
/* Held lock: the driver wrote 0 to the status; the interrupt line follows from interrupt_status. */
void virtio_reset(struct virtio_device *d);
void virtio_update_line(struct virtio_device *d);

#endif
