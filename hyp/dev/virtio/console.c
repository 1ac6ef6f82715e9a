/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest writes to its virtio console goes the way of what it writes to its UART: line by line, under its name. A chain of any
 * length is taken in pieces of TX_PIECE bytes, since a byte costs EL2 some hundred instructions; where it stands is kept between them
 * (virtqueue.progress).
 *
 * What is typed for the guest waits in a small ring until the driver has buffers: each piece fills one of them as far as it goes. The
 * ring is filled in EL2's interrupt handler, which may come in the middle of the device's own work, since that populates guest RAM and
 * looks for interrupts meanwhile. So a key only goes into the ring, and a vCPU of the VM is asked to do the rest.
 *
 * Lock: the device's for its queues; typed_lock, a leaf with which nothing is called, for the ring.
 */
#include "hyp/dev/virtio/console.h"
#include "abi/virtio.h"
#include "core/atomic.h"
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/dev/virtio/virtio.h"
#include "mm/slab.h"

#define TX_PIECE 128u
#define TYPED_MAX 64u

struct virtio_console {
  struct virtio_device device;
  struct spinlock typed_lock;
  uint32_t typed_in, typed_out; /* free-running; typed_lock, as typed[] */
  uint8_t typed[TYPED_MAX];
};

static struct virtio_console *console_of(struct virtio_device *d) {
  return container_of(d, struct virtio_console, device);
}

static enum virtio_work transmit(struct virtio_console *c, struct virtqueue *q) {
  uint8_t piece[TX_PIECE];
  struct vq_chain chain;
  err_t err = vq_pop(q, &chain);
  if (err != ERR_OK)
    return virtio_no_chain(err);
  uint64_t n = vq_read(q, &chain, q->progress, piece, sizeof(piece));
  for (uint64_t i = 0; i < n; i++)
    console_guest_byte(c->device.vm, piece[i]);
  q->progress += n;
  if (q->progress < chain.readable && n > 0) {
    vq_unpop(q);
    return VIRTIO_MORE;
  }
  return virtio_chain_done(q, vq_push(q, chain.head, 0));
}

/* What waits is looked at first, and forgotten when the driver has it. */
static uint32_t look_at_typed(struct virtio_console *c, uint8_t *to, uint64_t room) {
  uint32_t n = 0;
  spin_lock(&c->typed_lock);
  for (; n < room && c->typed_out + n != c->typed_in; n++)
    to[n] = c->typed[(c->typed_out + n) % TYPED_MAX];
  spin_unlock(&c->typed_lock);
  return n;
}

static void forget_typed(struct virtio_console *c, uint32_t n) {
  spin_lock(&c->typed_lock);
  c->typed_out += n;
  spin_unlock(&c->typed_lock);
}

static bool keep_typed(struct virtio_console *c, uint8_t byte) {
  spin_lock(&c->typed_lock);
  bool room = c->typed_in - c->typed_out < TYPED_MAX;
  if (room)
    c->typed[c->typed_in++ % TYPED_MAX] = byte;
  spin_unlock(&c->typed_lock);
  return room;
}

static bool has_typed(struct virtio_console *c) {
  return atomic_load_relaxed(&c->typed_in) != atomic_load_relaxed(&c->typed_out);
}

static enum virtio_work receive(struct virtio_console *c, struct virtqueue *q) {
  uint8_t bytes[TYPED_MAX];
  struct vq_chain chain;
  if (!has_typed(c))
    return VIRTIO_IDLE;
  err_t err = vq_pop(q, &chain);
  if (err != ERR_OK)
    return virtio_no_chain(err);
  uint32_t n = look_at_typed(c, bytes, chain.writable);
  if (n == 0)
    return VIRTIO_BROKEN; /* a buffer for input that cannot be written */
  err = vq_write(q, &chain, 0, bytes, n);
  if (err == ERR_OK)
    err = vq_push(q, chain.head, n);
  if (err == ERR_OK)
    forget_typed(c, n);
  return virtio_chain_done(q, err);
}

static enum virtio_work run(struct virtio_device *d, unsigned q) {
  return q == VIRTIO_CONSOLE_QUEUE_TX ? transmit(console_of(d), &d->queue[q]) : receive(console_of(d), &d->queue[q]);
}

static void reset(struct virtio_device *d) {
  struct virtio_console *c = console_of(d);
  spin_lock(&c->typed_lock);
  c->typed_out = c->typed_in;
  spin_unlock(&c->typed_lock);
}

static const struct virtio_ops ops = {.name = "virtio-console", .device_id = VIRTIO_ID_CONSOLE, .queues = 2, .run = run, .reset = reset};

err_t virtio_console_create(struct vm *vm, unsigned slot) {
  struct virtio_console *c = mem_alloc(sizeof(*c));
  if (!c)
    return ERR_NOMEM;
  virtio_init(&c->device, &ops, vm, slot);
  return ERR_OK;
}

void virtio_console_destroy(struct virtio_device *d) {
  mem_free(console_of(d));
}

/* The status is looked at without the device's lock: a reset that comes at the same time may leave a key behind, for the next driver. */
bool virtio_console_receive(struct vm *vm, uint8_t byte) {
  struct virtio_device *d = virtio_find(vm, &ops);
  if (!d || !virtio_is_live(d) || !keep_typed(console_of(d), byte))
    return false;
  virtio_ask(d, VIRTIO_CONSOLE_QUEUE_RX);
  return true;
}
