/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all virtio devices share behind their registers: life, interrupts, and running queues in pieces.
 *
 * Who pays: a vCPU that notifies a queue serves it itself, chain by chain. Interrupts are looked at between chains; after
 * VIRTIO_CHAINS_PER_EXIT of them the rest becomes VCPU_REQ_DEVICE, which the way out of the exit answers together with everything else
 * that may take the CPU from this vCPU. So a guest that keeps a queue full spends its own slices on it, and nobody else's. What EL2
 * itself has for a VM (a key that was typed) it does not do on its own time either: it asks one of the VM's vCPUs to serve the queue.
 *
 * Populating guest RAM looks for interrupts with the device's lock held: so what an interrupt handler calls (virtio_ask()) takes no
 * device's lock.
 */
#include "abi/virtio.h"
#include "core/atomic.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/core/cpu.h"
#include "hyp/core/exit.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/dev/vgic.h"
#include "hyp/dev/virtio/virtio.h"
#include "hyp/mem/exhaust.h"

/* Bit in vcpu->device_work of a queue; VIRTIO_SLOTS * 8 = 64 bits. */
#define QUEUE_BITS 8u
#define BREAKS_SHOWN_ALL 4u /* of a device */
_Static_assert(VIRTIO_QUEUES_MAX <= QUEUE_BITS && VIRTIO_SLOTS * QUEUE_BITS <= 64, "one bit for each queue of a VM");

void virtio_init(struct virtio_device *d, const struct virtio_ops *ops, struct vm *vm, unsigned slot) {
  d->ops = ops;
  d->vm = vm;
  d->slot = slot;
  vm->virtio[slot] = d;
}

struct virtio_device *virtio_find(const struct vm *vm, const struct virtio_ops *ops) {
  for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
    if (vm->virtio[i] && vm->virtio[i]->ops == ops)
      return vm->virtio[i];
  return NULL;
}

void virtio_update_line(struct virtio_device *d) {
  bool line = d->interrupt_status != 0;
  if (line == d->line)
    return;
  d->line = line;
  vgic_set_spi(d->vm, VIRTIO_INTID + d->slot, line);
}

/* Everything the driver told us is forgotten; the configuration stays (2.4.1). */
void virtio_reset(struct virtio_device *d) {
  memset(d->queue, 0, sizeof(d->queue));
  d->features = d->driver_features = 0;
  d->status = d->interrupt_status = 0;
  atomic_store_relaxed(&d->starved, 0u);
  d->device_features_sel = d->driver_features_sel = d->queue_sel = 0;
  virtio_update_line(d);
  if (d->ops->reset)
    d->ops->reset(d);
}

void virtio_power_on(struct virtio_device *d) {
  spin_lock(&d->lock);
  d->line = false; /* the vGIC is at reset, too */
  d->interrupt_status = 0;
  virtio_reset(d);
  if (d->ops->power_on)
    d->ops->power_on(d);
  spin_unlock(&d->lock);
}

static void interrupt(struct virtio_device *d, uint32_t cause) {
  d->interrupt_status |= cause;
  virtio_update_line(d);
}

void virtio_config_changed(struct virtio_device *d) {
  d->generation++;
  if (d->status & VIRTIO_STATUS_DRIVER_OK)
    interrupt(d, VIRTIO_INTERRUPT_CONFIG);
}

void virtio_signal_used(struct virtio_device *d, unsigned q) {
  if (vq_must_signal(&d->queue[q]))
    interrupt(d, VIRTIO_INTERRUPT_USED);
}

/* The first few, then those whose number is a power of two: a guest may do this all day. */
static bool deserves_a_line(uint32_t n) {
  return n <= BREAKS_SHOWN_ALL || is_pow2(n);
}

void virtio_needs_reset(struct virtio_device *d, const char *why) {
  if (d->status & VIRTIO_STATUS_NEEDS_RESET)
    return;
  d->status |= VIRTIO_STATUS_NEEDS_RESET;
  if (deserves_a_line(++d->breaks))
    hyp_printf("sluice: %s: %s: %s: the device needs a reset\n", d->vm->config.name, d->ops->name, why);
  if (d->status & VIRTIO_STATUS_DRIVER_OK)
    interrupt(d, VIRTIO_INTERRUPT_CONFIG);
}

static void starve(struct virtio_device *d, unsigned q) {
  atomic_fetch_or(&d->starved, 1u << q);
  exhaust_device_waits(d->vm);
}

static bool may_run(const struct virtio_device *d, unsigned q) {
  return q < d->ops->queues && d->queue[q].ready && virtio_is_live(d);
}

/* `last`: whatever comes after, the driver hears now of what was used. */
static enum virtio_work run_one(struct virtio_device *d, unsigned q, bool last) {
  enum virtio_work done = VIRTIO_IDLE;
  spin_lock(&d->lock);
  if (may_run(d, q)) {
    done = d->ops->run(d, q);
    if (done == VIRTIO_BROKEN)
      virtio_needs_reset(d, "a descriptor that breaks the rules");
    else if (done != VIRTIO_MORE || last)
      virtio_signal_used(d, q);
    if (done == VIRTIO_STARVED)
      starve(d, q);
  }
  spin_unlock(&d->lock);
  return done;
}

/* False: there may be more. */
static bool run_some(struct virtio_device *d, unsigned q) {
  for (unsigned i = 1; i <= VIRTIO_CHAINS_PER_EXIT; i++) {
    if (run_one(d, q, i == VIRTIO_CHAINS_PER_EXIT) != VIRTIO_MORE)
      return true;
    irq_poll(this_cpu());
  }
  return false;
}

static void leave_work(struct vcpu *v, unsigned slot, unsigned q) {
  atomic_fetch_or(&v->device_work, BIT(slot * QUEUE_BITS + q));
}

static void run_later(struct vcpu *v, unsigned slot, unsigned q) {
  leave_work(v, slot, q);
  atomic_fetch_or(&v->requests, VCPU_REQ_DEVICE);
}

static void run_for(struct vcpu *v, unsigned slot, unsigned q) {
  struct virtio_device *d = v->vm->virtio[slot];
  if (d && !run_some(d, q))
    run_later(v, slot, q);
}

void virtio_begin(struct vcpu *v, unsigned slot) {
  for (unsigned q = 0; q < v->vm->virtio[slot]->ops->queues; q++)
    run_later(v, slot, q);
}

void virtio_notify(struct vcpu *v, unsigned slot, uint64_t q) {
  if (q < VIRTIO_QUEUES_MAX)
    run_for(v, slot, (unsigned)q);
}

void virtio_resume(struct vcpu *v) {
  uint64_t work = atomic_exchange(&v->device_work, 0);
  for (; work != 0; work &= work - 1)
    run_for(v, bits_ffs(work) / QUEUE_BITS, bits_ffs(work) % QUEUE_BITS);
}

/* One that will soon be out of an exit, if there is one. */
static struct vcpu *pick_vcpu(const struct vm *vm) {
  struct vcpu *found = NULL;
  for (unsigned i = 0; i < vm->vcpu_count; i++) {
    struct vcpu *v = vm->vcpus[i];
    if (!atomic_load_relaxed(&v->powered))
      continue;
    if (atomic_load_relaxed(&v->state) != VCPU_MEMWAIT)
      return v;
    found = v;
  }
  return found;
}

void virtio_ask(struct virtio_device *d, unsigned q) {
  struct vcpu *v = pick_vcpu(d->vm);
  if (!v)
    return;
  leave_work(v, d->slot, q);
  vcpu_request(v, VCPU_REQ_DEVICE);
}

void virtio_retry(struct vm *vm) {
  for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
    if (vm->virtio[i])
      for (uint32_t queues = atomic_exchange(&vm->virtio[i]->starved, 0u); queues != 0; queues &= queues - 1)
        virtio_ask(vm->virtio[i], bits_ffs(queues));
}
