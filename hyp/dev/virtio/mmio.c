/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The register window of virtio-mmio, version 2 (virtio 1.2, 4.2.2), for all slots of a VM.
 *
 * Registers are 32 bits wide and are accessed so; the configuration space also by byte, half-word and double word. Anything else reads as
 * zero and is ignored, as are writes at the wrong moment (4.2.2.2 leaves them to the driver's good sense): queue addresses and sizes of a
 * queue that is ready, features after FEATURES_OK. Writing a status that drops bits is refused, except 0, which resets.
 *
 * Lock: the device's, for each access; QueueNotify runs the queue outside of it (virtio_run()).
 */
#include "abi/virtio.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/dev/virtio/virtio.h"
#include "hyp/mem/stage2.h"

static uint64_t offered(struct virtio_device *d) {
  return (d->ops->features ? d->ops->features(d) : 0) | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX);
}

/* The queue that QueueSel names; NULL if the device has none of that number. */
static struct virtqueue *selected(struct virtio_device *d) {
  return d->queue_sel < d->ops->queues ? &d->queue[d->queue_sel] : NULL;
}

static uint32_t half(uint64_t value, uint32_t sel) {
  return sel > 1 ? 0 : (uint32_t)(value >> 32 * sel);
}

/* --- reads ------------------------------------------------------------------------------------------------------------------ */

static uint32_t read_register(struct virtio_device *d, uint64_t offset) {
  const struct virtqueue *q = selected(d);
  switch (offset) {
  case VIRTIO_MMIO_DEVICE_ID:
    return d->ops->device_id;
  case VIRTIO_MMIO_DEVICE_FEATURES:
    return half(offered(d), d->device_features_sel);
  case VIRTIO_MMIO_QUEUE_NUM_MAX:
    return q ? VQ_NUM_MAX : 0;
  case VIRTIO_MMIO_QUEUE_READY:
    return q && q->ready;
  case VIRTIO_MMIO_INTERRUPT_STATUS:
    return d->interrupt_status;
  case VIRTIO_MMIO_STATUS:
    return d->status;
  case VIRTIO_MMIO_CONFIG_GENERATION:
    return d->generation;
  case VIRTIO_MMIO_SHM_LEN_LOW:
  case VIRTIO_MMIO_SHM_LEN_HIGH:
  case VIRTIO_MMIO_SHM_BASE_LOW:
  case VIRTIO_MMIO_SHM_BASE_HIGH:
    return UINT32_MAX; /* there is no shared memory region */
  }
  return 0;
}

static uint64_t read_config(const struct virtio_device *d, uint64_t offset, unsigned bytes) {
  uint64_t value = 0;
  if (offset + bytes <= d->ops->config_bytes)
    memcpy(&value, d->config + offset, bytes);
  return value;
}

static uint32_t read_identity(uint64_t offset) {
  switch (offset) {
  case VIRTIO_MMIO_MAGIC:
    return VIRTIO_MMIO_MAGIC_VALUE;
  case VIRTIO_MMIO_VERSION:
    return VIRTIO_MMIO_VERSION_VALUE;
  case VIRTIO_MMIO_VENDOR_ID:
    return VIRTIO_VENDOR_ID;
  }
  return 0;
}

static uint64_t read_device(struct virtio_device *d, uint64_t offset, unsigned bytes) {
  spin_lock(&d->lock);
  uint64_t value = 0;
  if (offset >= VIRTIO_MMIO_CONFIG)
    value = read_config(d, offset - VIRTIO_MMIO_CONFIG, bytes);
  else if (bytes == 4)
    value = read_register(d, offset);
  spin_unlock(&d->lock);
  return value;
}

uint64_t virtio_mmio_read(struct vcpu *v, uint64_t offset, unsigned bytes) {
  struct virtio_device *d = v->vm->virtio[offset / GUEST_VIRTIO_STRIDE];
  offset %= GUEST_VIRTIO_STRIDE;
  if (bytes == 4 && (offset <= VIRTIO_MMIO_VERSION || offset == VIRTIO_MMIO_VENDOR_ID))
    return read_identity(offset); /* an empty slot is a device of id 0 (4.2.2.1) */
  return d ? read_device(d, offset, bytes) : 0;
}

/* --- writes ----------------------------------------------------------------------------------------------------------------- */

static void write_driver_features(struct virtio_device *d, uint32_t value) {
  unsigned shift = 32 * d->driver_features_sel;
  if (d->driver_features_sel <= 1 && !(d->status & VIRTIO_STATUS_FEATURES_OK))
    d->driver_features = (d->driver_features & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

/* 3.1.1: what the driver accepted must be a part of what is offered, and VERSION_1 among it; else FEATURES_OK does not stay set. */
static bool accept_features(struct virtio_device *d) {
  if ((d->driver_features & ~offered(d)) || !(d->driver_features & BIT(VIRTIO_F_VERSION_1)))
    return false;
  d->features = d->driver_features;
  return true;
}

static void write_status(struct virtio_device *d, uint32_t value) {
  uint32_t added = value & ~d->status;
  if (value == 0) {
    virtio_reset(d);
    return;
  }
  if ((d->status & ~VIRTIO_STATUS_NEEDS_RESET) & ~value)
    return; /* 2.1.1: the driver must not clear a bit */
  if ((added & VIRTIO_STATUS_FEATURES_OK) && !accept_features(d))
    value &= ~VIRTIO_STATUS_FEATURES_OK;
  if ((added & VIRTIO_STATUS_DRIVER_OK) && !(value & VIRTIO_STATUS_FEATURES_OK))
    value &= ~VIRTIO_STATUS_DRIVER_OK;
  d->status = (value & 0xff & ~VIRTIO_STATUS_NEEDS_RESET) | (d->status & VIRTIO_STATUS_NEEDS_RESET);
  if ((added & value & VIRTIO_STATUS_DRIVER_OK) && d->ops->driver_ok)
    d->ops->driver_ok(d);
}

static void set_half(ipa_t *address, uint32_t value, bool high) {
  *address = ipa(high ? (address->v & UINT32_MAX) | (uint64_t)value << 32 : (address->v & ~(uint64_t)UINT32_MAX) | value);
}

static bool rings_fit(const struct virtio_device *d, const struct virtqueue *q) {
  struct stage2 *s2 = &d->vm->s2;
  return is_aligned(q->desc.v, 16) && is_aligned(q->avail.v, 2) && is_aligned(q->used.v, 4) &&
         stage2_is_ram_range(s2, q->desc, VIRTQ_DESC_BYTES(q->num)) && stage2_is_ram_range(s2, q->avail, VIRTQ_AVAIL_BYTES(q->num)) &&
         stage2_is_ram_range(s2, q->used, VIRTQ_USED_BYTES(q->num));
}

static void start_queue(struct virtio_device *d, struct virtqueue *q) {
  if (!(d->status & VIRTIO_STATUS_FEATURES_OK) || q->num == 0 || !rings_fit(d, q)) {
    virtio_needs_reset(d, "a queue whose rings are not in RAM");
    return;
  }
  q->s2 = &d->vm->s2;
  q->event_idx = virtio_has(d, VIRTIO_F_EVENT_IDX);
  q->indirect = virtio_has(d, VIRTIO_F_INDIRECT_DESC);
  q->next_avail = q->next_used = q->signalled_used = 0;
  q->progress = 0;
  memset(q->out, 0, sizeof(q->out));
  q->ready = true;
}

static void write_queue(struct virtio_device *d, struct virtqueue *q, uint64_t offset, uint32_t value) {
  if (offset == VIRTIO_MMIO_QUEUE_READY && value == 0)
    q->ready = false;
  if (q->ready)
    return;
  switch (offset) {
  case VIRTIO_MMIO_QUEUE_NUM:
    q->num = value <= VQ_NUM_MAX && is_pow2(value) ? (uint16_t)value : 0;
    break;
  case VIRTIO_MMIO_QUEUE_READY:
    if (value == 1)
      start_queue(d, q);
    break;
  case VIRTIO_MMIO_QUEUE_DESC_LOW:
  case VIRTIO_MMIO_QUEUE_DESC_HIGH:
    set_half(&q->desc, value, offset & 4);
    break;
  case VIRTIO_MMIO_QUEUE_DRIVER_LOW:
  case VIRTIO_MMIO_QUEUE_DRIVER_HIGH:
    set_half(&q->avail, value, offset & 4);
    break;
  case VIRTIO_MMIO_QUEUE_DEVICE_LOW:
  case VIRTIO_MMIO_QUEUE_DEVICE_HIGH:
    set_half(&q->used, value, offset & 4);
    break;
  }
}

static void write_register(struct virtio_device *d, uint64_t offset, uint32_t value) {
  struct virtqueue *q = selected(d);
  switch (offset) {
  case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
    d->device_features_sel = value;
    break;
  case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
    d->driver_features_sel = value;
    break;
  case VIRTIO_MMIO_DRIVER_FEATURES:
    write_driver_features(d, value);
    break;
  case VIRTIO_MMIO_QUEUE_SEL:
    d->queue_sel = value;
    break;
  case VIRTIO_MMIO_INTERRUPT_ACK:
    d->interrupt_status &= ~value;
    virtio_update_line(d);
    break;
  case VIRTIO_MMIO_STATUS:
    write_status(d, value);
    break;
  default:
    if (q)
      write_queue(d, q, offset, value);
  }
}

static void write_config(struct virtio_device *d, uint64_t offset, unsigned bytes, uint64_t value) {
  if (!d->ops->config_written || offset + bytes > d->ops->config_bytes)
    return;
  memcpy(d->config + offset, &value, bytes);
  d->ops->config_written(d, (unsigned)offset, bytes);
}

void virtio_mmio_write(struct vcpu *v, uint64_t offset, unsigned bytes, uint64_t value) {
  unsigned slot = (unsigned)(offset / GUEST_VIRTIO_STRIDE);
  struct virtio_device *d = v->vm->virtio[slot];
  offset %= GUEST_VIRTIO_STRIDE;
  if (!d)
    return;
  if (offset == VIRTIO_MMIO_QUEUE_NOTIFY && bytes == 4) {
    virtio_notify(v, slot, value);
    return;
  }
  spin_lock(&d->lock);
  bool live = virtio_is_live(d);
  if (offset >= VIRTIO_MMIO_CONFIG)
    write_config(d, offset - VIRTIO_MMIO_CONFIG, bytes, value);
  else if (bytes == 4)
    write_register(d, offset, (uint32_t)value);
  bool begins = !live && virtio_is_live(d);
  spin_unlock(&d->lock);
  if (begins)
    virtio_begin(v, slot);
}
