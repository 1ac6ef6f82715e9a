/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The entropy device: fills what the driver offers, a piece at a time, from a ChaCha20 stream (RFC 8439, 2.3) that is its own: the nonce
 * is the VM's id and how many such devices there were before.
 *
 * Lock: the device's. The key is constant after boot.
 */
#include "hyp/dev/virtio/rng.h"
#include "abi/virtio.h"
#include "core/atomic.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/dev/virtio/virtio.h"
#include "mm/slab.h"

#define PIECE 1024u

struct virtio_rng {
  struct virtio_device device;
  uint32_t state[16]; /* constants, key, counter, nonce */
};

static uint32_t key[8];
static uint32_t streams; /* devices made so far; atomic */

void virtio_rng_seed(const void *seed, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; i++) /* a seed longer than a key is folded */
    ((uint8_t *)key)[i % sizeof(key)] ^= ((const uint8_t *)seed)[i];
}

static uint32_t rotate_left(uint32_t x, unsigned n) {
  return x << n | x >> (32 - n);
}

static void quarter_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d) {
  *a += *b, *d = rotate_left(*d ^ *a, 16);
  *c += *d, *b = rotate_left(*b ^ *c, 12);
  *a += *b, *d = rotate_left(*d ^ *a, 8);
  *c += *d, *b = rotate_left(*b ^ *c, 7);
}

static void next_block(uint32_t state[16], uint32_t out[16]) {
  memcpy(out, state, 64);
  for (unsigned round = 0; round < 10; round++) {
    for (unsigned i = 0; i < 4; i++)
      quarter_round(&out[i], &out[4 + i], &out[8 + i], &out[12 + i]);
    for (unsigned i = 0; i < 4; i++)
      quarter_round(&out[i], &out[4 + (i + 1) % 4], &out[8 + (i + 2) % 4], &out[12 + (i + 3) % 4]);
  }
  for (unsigned i = 0; i < 16; i++)
    out[i] += state[i];
  if (++state[12] == 0)
    state[13]++; /* the nonce proper is the two words after */
}

/* A driver that asks for more than a piece gets less: the used length says how much (5.4.6). */
static enum virtio_work run(struct virtio_device *d, unsigned number) {
  struct virtio_rng *r = container_of(d, struct virtio_rng, device);
  struct virtqueue *q = &d->queue[number];
  uint32_t bytes[PIECE / 4];
  struct vq_chain chain;
  err_t err = vq_pop(q, &chain);
  if (err != ERR_OK)
    return virtio_no_chain(err);
  uint32_t n = (uint32_t)min_u64(chain.writable, PIECE);
  if (n == 0)
    return VIRTIO_BROKEN; /* 5.4.6.1: the driver offers buffers to be written */
  for (uint32_t done = 0; done < n; done += 64)
    next_block(r->state, bytes + done / 4);
  err = vq_write(q, &chain, 0, bytes, n);
  if (err == ERR_OK)
    err = vq_push(q, chain.head, n);
  return virtio_chain_done(q, err);
}

static const struct virtio_ops ops = {.name = "virtio-rng", .device_id = VIRTIO_ID_RNG, .queues = 1, .run = run};

err_t virtio_rng_create(struct vm *vm, unsigned slot) {
  static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  struct virtio_rng *r = mem_alloc(sizeof(*r));
  if (!r)
    return ERR_NOMEM;
  memcpy(r->state, constants, sizeof(constants));
  memcpy(r->state + 4, key, sizeof(key));
  r->state[14] = vm->id;
  r->state[15] = atomic_fetch_add_relaxed(&streams, 1);
  virtio_init(&r->device, &ops, vm, slot);
  return ERR_OK;
}

void virtio_rng_destroy(struct virtio_device *d) {
  mem_free(container_of(d, struct virtio_rng, device));
}
