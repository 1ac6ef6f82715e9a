/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The register side of virtio-mmio, and the life of a device (virtio 1.2, 3.1.1 and 4.2.3.1). Owns `devices`, filled at boot and never
 * shortened.
 *
 * A window that is no virtio device of version 2, or has no device (id 0), or no driver, is passed over. A device that does not take its
 * features, or whose driver cannot start, is left FAILED and never touched again. Interrupts of all devices go to the boot CPU, and so
 * all changes of a device's state are made there.
 */
#include "guest/drivers/virtio/mmio.h"

#include "abi/virtio.h"
#include "arch/mmio.h"
#include "core/atomic.h"
#include "core/bits.h"
#include "core/string.h"
#include "guest/arch/machine.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/gic.h"
#include "guest/drivers/virtio/drivers.h"
#include "guest/kernel/bootargs.h"
#include "guest/kernel/console.h"
#include "mm/slab.h"

#define TRANSPORT_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX))

static struct virtio_device devices[VIRTIO_DEVICES_MAX];
static unsigned device_count;

static uint32_t get(const struct virtio_device *d, uint64_t offset) {
  return mmio_read32(d->base, offset);
}

static void put(struct virtio_device *d, uint64_t offset, uint32_t value) {
  mmio_write32(d->base, offset, value);
}

/* --- status and features ---------------------------------------------------------------------------------------------------- */

static void add_status(struct virtio_device *d, uint32_t bit) {
  put(d, VIRTIO_MMIO_STATUS, get(d, VIRTIO_MMIO_STATUS) | bit);
}

/* The device is at rest when the status reads 0 (4.2.3.1.1). */
static void reset(struct virtio_device *d) {
  put(d, VIRTIO_MMIO_STATUS, 0);
  while (get(d, VIRTIO_MMIO_STATUS) != 0)
    cpu_relax();
}

static uint64_t offered_features(struct virtio_device *d) {
  put(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
  uint64_t low = get(d, VIRTIO_MMIO_DEVICE_FEATURES);
  put(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
  return (uint64_t)get(d, VIRTIO_MMIO_DEVICE_FEATURES) << 32 | low;
}

static void accept_features(struct virtio_device *d, uint64_t features) {
  for (unsigned half = 0; half < 2; half++) {
    put(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
    put(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * half));
  }
}

static err_t negotiate(struct virtio_device *d) {
  d->features = offered_features(d) & (d->driver->features | TRANSPORT_FEATURES);
  if (d->driver->choose != NULL)
    d->features = d->driver->choose(d->features);
  if (!virtio_has(d, VIRTIO_F_VERSION_1))
    return ERR_UNSUPPORTED;
  accept_features(d, d->features);
  add_status(d, VIRTIO_STATUS_FEATURES_OK);
  return get(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_FEATURES_OK ? ERR_OK : ERR_UNSUPPORTED;
}

/* --- queues ----------------------------------------------------------------------------------------------------------------- */

static void put_address(struct virtio_device *d, uint64_t low_register, const void *part) {
  uint64_t a = linear_pa(part).v;
  put(d, low_register, (uint32_t)a);
  put(d, low_register + 4, (uint32_t)(a >> 32));
}

/* 4.2.3.2 */
static void register_queue(struct virtio_device *d, const struct virtqueue *q) {
  put(d, VIRTIO_MMIO_QUEUE_NUM, q->num);
  put_address(d, VIRTIO_MMIO_QUEUE_DESC_LOW, q->desc);
  put_address(d, VIRTIO_MMIO_QUEUE_DRIVER_LOW, q->avail);
  put_address(d, VIRTIO_MMIO_QUEUE_DEVICE_LOW, q->used);
  dmb(oshst); /* the rings are empty before the device looks at them */
  put(d, VIRTIO_MMIO_QUEUE_READY, 1);
}

static uint16_t pow2_at_most(uint64_t n) {
  while (!is_pow2(n))
    n &= n - 1;
  return (uint16_t)n;
}

err_t virtio_queue_setup(struct virtio_device *d, unsigned index, unsigned num, struct virtqueue **out) {
  put(d, VIRTIO_MMIO_QUEUE_SEL, index);
  uint64_t max = get(d, VIRTIO_MMIO_QUEUE_NUM_MAX);
  if (index >= VIRTIO_QUEUES_MAX || max == 0 || get(d, VIRTIO_MMIO_QUEUE_READY) != 0)
    return ERR_NOENT;
  struct virtqueue *q = mem_alloc(sizeof(*q));
  if (q == NULL)
    return ERR_NOMEM;
  err_t e = vq_init(q, d, (uint16_t)index, pow2_at_most(min_u64(min_u64(num, max), VQ_NUM)));
  if (e != ERR_OK) {
    mem_free(q);
    return e;
  }
  d->queue[index] = *out = q;
  register_queue(d, q);
  return ERR_OK;
}

static void free_queues(struct virtio_device *d) {
  for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
    if (d->queue[i] == NULL)
      continue;
    vq_fini(d->queue[i]);
    mem_free(d->queue[i]);
    d->queue[i] = NULL;
  }
}

void virtio_notify(struct virtio_device *d, uint16_t queue) {
  dmb(oshst); /* what was added before the device is told */
  put(d, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

/* --- life ------------------------------------------------------------------------------------------------------------------- */

static void give_up(struct virtio_device *d, err_t why) {
  kprintf("virtio: %s at %lx: %s\n", d->driver->name, linear_pa((const void *)(uintptr_t)d->base).v, err_name(why));
  reset(d); /* before the rings go */
  free_queues(d);
  add_status(d, VIRTIO_STATUS_FAILED);
}

static void bring_up(struct virtio_device *d) {
  reset(d);
  add_status(d, VIRTIO_STATUS_ACKNOWLEDGE);
  add_status(d, VIRTIO_STATUS_DRIVER);
  err_t e = negotiate(d);
  if (e == ERR_OK)
    e = d->driver->probe(d);
  if (e != ERR_OK) {
    give_up(d, e);
    return;
  }
  add_status(d, VIRTIO_STATUS_DRIVER_OK);
  atomic_store_release(&d->live, true);
  if (!bootargs.quiet)
    kprintf("virtio: %s, interrupt %u, features %lx\n", d->driver->name, d->intid, d->features);
  if (d->driver->start != NULL)
    d->driver->start(d);
}

/* 2.1.2: nothing that is in flight will come back. */
static void recover(struct virtio_device *d, const char *why) {
  if (!d->live)
    return;
  kprintf("virtio: %s %s: it is reset\n", d->driver->name, why);
  atomic_store_release(&d->live, false);
  reset(d);
  if (d->driver->lost != NULL)
    d->driver->lost(d);
  free_queues(d);
  if (d->recoveries++ < VIRTIO_RECOVERIES_MAX)
    bring_up(d);
  else
    give_up(d, ERR_IO);
}

static bool wants_reset(const struct virtio_device *d) {
  return get(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET;
}

static bool has_broken_queue(const struct virtio_device *d) {
  for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
    if (d->queue[i] != NULL && d->queue[i]->broken)
      return true;
  return false;
}

bool virtio_is_lost(const struct virtio_device *d) {
  return !atomic_load_acquire(&d->live) || wants_reset(d);
}

/* --- configuration ---------------------------------------------------------------------------------------------------------- */

void virtio_config_read(struct virtio_device *d, unsigned offset, void *to, unsigned bytes) {
  uint32_t before, after = get(d, VIRTIO_MMIO_CONFIG_GENERATION);
  do {
    before = after;
    for (unsigned i = 0; i < bytes; i += 4) {
      uint32_t word = get(d, VIRTIO_MMIO_CONFIG + offset + i);
      memcpy((char *)to + i, &word, sizeof(word));
    }
    after = get(d, VIRTIO_MMIO_CONFIG_GENERATION);
  } while (before != after);
}

void virtio_config_write32(struct virtio_device *d, unsigned offset, uint32_t value) {
  put(d, VIRTIO_MMIO_CONFIG + offset, value);
}

/* --- interrupts ------------------------------------------------------------------------------------------------------------- */

/* Acknowledged before the queues are looked at: what is used after that raises it anew. */
static void serve(struct virtio_device *d) {
  uint32_t causes = get(d, VIRTIO_MMIO_INTERRUPT_STATUS);
  put(d, VIRTIO_MMIO_INTERRUPT_ACK, causes);
  if ((causes & VIRTIO_INTERRUPT_CONFIG) && wants_reset(d)) {
    recover(d, "asks for a reset");
    return;
  }
  if (!d->live)
    return;
  if ((causes & VIRTIO_INTERRUPT_USED) && d->driver->used != NULL)
    d->driver->used(d);
  if ((causes & VIRTIO_INTERRUPT_CONFIG) && d->driver->config_changed != NULL)
    d->driver->config_changed(d);
  if (has_broken_queue(d))
    recover(d, "gave a buffer back that was not out");
}

bool virtio_interrupt(uint32_t intid) {
  bool ours = false;
  for (unsigned i = 0; i < device_count; i++) {
    if (devices[i].intid != intid)
      continue;
    serve(&devices[i]);
    ours = true;
  }
  return ours;
}

/* --- finding them ----------------------------------------------------------------------------------------------------------- */

static const struct virtio_driver *driver_of(uint32_t device_id) {
  for (unsigned i = 0; i < ARRAY_SIZE(virtio_drivers); i++)
    if (virtio_drivers[i]->device_id == device_id)
      return virtio_drivers[i];
  return NULL;
}

/* Several windows share a page. */
static err_t map_window(struct machine_virtio w) {
  err_t e = mmu_map_device(w.base, w.bytes);
  return e == ERR_EXIST ? ERR_OK : e;
}

static bool identify(struct virtio_device *d) {
  if (get(d, VIRTIO_MMIO_MAGIC) != VIRTIO_MMIO_MAGIC_VALUE || get(d, VIRTIO_MMIO_VERSION) != VIRTIO_MMIO_VERSION_VALUE)
    return false;
  d->device_id = get(d, VIRTIO_MMIO_DEVICE_ID);
  d->driver = d->device_id == 0 ? NULL : driver_of(d->device_id);
  return d->driver != NULL;
}

static void try_window(struct machine_virtio w) {
  struct virtio_device *d = &devices[device_count];
  if (device_count == VIRTIO_DEVICES_MAX || map_window(w) != ERR_OK)
    return;
  *d = (struct virtio_device){.base = linear_va(w.base), .intid = w.intid};
  if (!identify(d))
    return;
  device_count++;
  bring_up(d);
  gic_enable(d->intid);
}

void virtio_init(void) {
  for (unsigned i = 0; i < machine.virtio_count; i++)
    try_window(machine.virtio[i]);
}
