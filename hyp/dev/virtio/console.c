/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest writes to its virtio console goes the way of what it writes to its UART: line by line, under its name. A chain of any length is taken
 * in pieces of TX_PIECE bytes, since a byte costs EL2 some hundred instructions; where it stands is kept between them.
 *
 * What is typed for the guest waits in a small ring until the driver has buffers: each piece fills one of them as far as it goes.
 *
 * Lock: the device's, for everything here.
 */
#include "hyp/dev/virtio/console.h"
#include "abi/virtio.h"
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/dev/virtio/virtio.h"
#include "mm/slab.h"

#define TX_PIECE 128u
#define TYPED_MAX 64u

struct virtio_console {
  struct virtio_device device;
  uint64_t sent;                /* bytes of the chain at the head of the transmit queue that are out */
  uint32_t typed_in, typed_out; /* free-running */
  uint8_t typed[TYPED_MAX];
};

static struct virtio_console *console_of(struct virtio_device *d) {
  return container_of(d, struct virtio_console, device);
}

static uint64_t features(struct virtio_device *d) {
  (void)d;
  return 0;
}

static enum virtio_work transmit(struct virtio_console *c, struct virtqueue *q) {
  uint8_t piece[TX_PIECE];
  struct vq_chain chain;
  err_t err = vq_pop(q, &chain);
  if (err != ERR_OK)
    return err == ERR_NOENT ? VIRTIO_IDLE : VIRTIO_BROKEN;
  uint64_t n = vq_read(q, &chain, c->sent, piece, sizeof(piece));
  for (uint64_t i = 0; i < n; i++)
    console_guest_byte(c->device.vm, piece[i]);
  c->sent += n;
  if (n == sizeof(piece)) {
    vq_unpop(q); /* there may be more of it */
    return VIRTIO_MORE;
  }
  c->sent = 0;
  return vq_push(q, chain.head, 0) == ERR_OK ? VIRTIO_MORE : VIRTIO_BROKEN;
}

static uint32_t take_typed(struct virtio_console *c, uint8_t *to, uint64_t room) {
  uint32_t n = 0;
  while (n < room && c->typed_out != c->typed_in)
    to[n++] = c->typed[c->typed_out++ % TYPED_MAX];
  return n;
}

static enum virtio_work receive(struct virtio_console *c, struct virtqueue *q) {
  uint8_t bytes[TYPED_MAX];
  struct vq_chain chain;
  if (c->typed_in == c->typed_out)
    return VIRTIO_IDLE;
  err_t err = vq_pop(q, &chain);
  if (err != ERR_OK)
    return err == ERR_NOENT ? VIRTIO_IDLE : VIRTIO_BROKEN;
  uint32_t n = take_typed(c, bytes, chain.writable);
  if (n == 0 || vq_write(q, &chain, 0, bytes, n) != n)
    return VIRTIO_BROKEN; /* a buffer for input that cannot be written */
  return vq_push(q, chain.head, n) == ERR_OK ? VIRTIO_MORE : VIRTIO_BROKEN;
}

static enum virtio_work run(struct virtio_device *d, unsigned q) {
  return q == VIRTIO_CONSOLE_QUEUE_TX ? transmit(console_of(d), &d->queue[q]) : receive(console_of(d), &d->queue[q]);
}

static void reset(struct virtio_device *d) {
  struct virtio_console *c = console_of(d);
  c->sent = 0;
  c->typed_in = c->typed_out = 0;
}

static const struct virtio_ops ops = {
    .name = "virtio-console", .device_id = VIRTIO_ID_CONSOLE, .queues = 2, .features = features, .run = run, .reset = reset};

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

static struct virtio_device *find(struct vm *vm) {
  for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
    if (vm->virtio[i] && vm->virtio[i]->ops == &ops)
      return vm->virtio[i];
  return NULL;
}

static bool keep_typed(struct virtio_console *c, uint8_t byte) {
  if (!(c->device.status & VIRTIO_STATUS_DRIVER_OK) || c->typed_in - c->typed_out == TYPED_MAX)
    return false;
  c->typed[c->typed_in++ % TYPED_MAX] = byte;
  return true;
}

bool virtio_console_receive(struct vm *vm, uint8_t byte) {
  struct virtio_device *d = find(vm);
  if (!d)
    return false;
  spin_lock(&d->lock);
  bool kept = keep_typed(console_of(d), byte);
  spin_unlock(&d->lock);
  if (kept)
    (void)virtio_run(
        d, VIRTIO_CONSOLE_QUEUE_RX); /* at most TYPED_MAX bytes in as many buffers; what is left waits for the next key or notification */
  return kept;
}
