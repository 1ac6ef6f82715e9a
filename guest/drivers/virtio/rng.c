/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Driver of the entropy device. Owns one buffer, which is handed to the device when it has been used up, and awaited at once: randomness
 * is asked for rarely, and the device is quick. No byte is handed out twice, and none stays in the buffer after it was.
 *
 * Lock: `lock` covers all of it; a leaf.
 */
#include "guest/drivers/virtio/rng.h"

#include "abi/virtio.h"
#include "core/bits.h"
#include "core/string.h"
#include "guest/arch/mmu.h"
#include "guest/arch/vlock.h"
#include "guest/drivers/virtio/mmio.h"
#include "mm/slab.h"

#define BUFFER_BYTES 256u

static struct vlock lock;
static struct virtqueue *queue;     /* NULL: the device is not there */
static uint8_t *buffer;             /* in the linear map, kept for good */
static uint32_t next_byte, holding; /* bytes [next_byte, holding) of the buffer are fresh */

static bool refill(void) {
  const struct vq_segment segment = {linear_pa(buffer), BUFFER_BYTES};
  uint32_t bytes;
  if (queue == NULL || !queue->device->live || vq_add(queue, &segment, 0, 1, buffer) != ERR_OK)
    return false;
  vq_kick(queue);
  if (vq_wait_used(queue, &bytes) == NULL)
    return false;
  next_byte = 0;
  holding = (uint32_t)min_u64(bytes, BUFFER_BYTES);
  return holding > 0;
}

static bool take(uint8_t *to, uint64_t bytes) {
  for (; bytes > 0; bytes--) {
    if (next_byte == holding && !refill())
      return false;
    *to++ = buffer[next_byte];
    buffer[next_byte++] = 0;
  }
  return true;
}

bool virtio_rng_read(void *to, uint64_t bytes) {
  vlock_acquire(&lock);
  bool taken = take(to, bytes);
  vlock_release(&lock);
  return taken;
}

static err_t probe(struct virtio_device *d) {
  struct virtqueue *q;
  if (buffer == NULL && (buffer = mem_alloc(BUFFER_BYTES)) == NULL)
    return ERR_NOMEM;
  err_t e = virtio_queue_setup(d, 0, 1, &q);
  if (e != ERR_OK)
    return e;
  vq_disable_interrupts(q);
  vlock_acquire(&lock);
  queue = q;
  vlock_release(&lock);
  return ERR_OK;
}

static void lost(struct virtio_device *d) {
  (void)d;
  vlock_acquire(&lock);
  queue = NULL;
  vlock_release(&lock);
}

const struct virtio_driver virtio_rng_driver = {.name = "virtio-rng", .device_id = VIRTIO_ID_RNG, .probe = probe, .lost = lost};
