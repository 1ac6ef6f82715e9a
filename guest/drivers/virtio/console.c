/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Driver of the virtio console. Owns TX_BUFFERS buffers for what goes out and RX_BUFFERS that lie with the device, and the ring of what
 * came in.
 *
 * Output copies into buffers and kicks once per call; buffers are taken back when the next call wants them, so the transmit queue needs
 * no interrupts. A call waits only when all buffers are out. Input comes by interrupt into a ring; bytes that find it full are dropped.
 *
 * Locks: tx_lock covers the transmit queue and its buffers, rx_lock the ring and the receive queue. Both are leaves: under them nothing
 * is printed and nobody is woken.
 */
#include "guest/drivers/virtio/console.h"

#include "abi/virtio.h"
#include "core/bits.h"
#include "core/string.h"
#include "guest/arch/mmu.h"
#include "guest/arch/vlock.h"
#include "guest/drivers/virtio/mmio.h"
#include "guest/kernel/sched.h"
#include "mm/slab.h"

#define TX_BUFFERS 8u
#define RX_BUFFERS 4u
#define BUFFER_BYTES 256u
#define RING_BYTES 256u

struct buffer {
  char bytes[BUFFER_BYTES];
};

static struct vlock tx_lock, rx_lock;
static struct virtqueue *tx, *rx;          /* NULL: the device is not there */
static struct buffer *buffers;             /* TX_BUFFERS, then RX_BUFFERS: in the linear map, kept for good */
static struct buffer *free_tx[TX_BUFFERS]; /* tx_lock; a stack */
static unsigned free_tx_count;
static char ring[RING_BYTES];      /* rx_lock; likewise the next two */
static uint32_t ring_in, ring_out; /* free-running */

/* --- output ----------------------------------------------------------------------------------------------------------------- */

static void take_back(void) {
  struct buffer *b;
  while ((b = vq_get_used(tx, NULL)) != NULL)
    free_tx[free_tx_count++] = b;
}

static struct buffer *find_buffer(void) {
  if (free_tx_count == 0)
    take_back();
  if (free_tx_count > 0)
    return free_tx[--free_tx_count];
  vq_kick(tx);
  return vq_wait_used(tx, NULL);
}

static bool send(const char *s, uint64_t bytes) {
  while (bytes > 0) {
    struct buffer *b = find_buffer();
    if (b == NULL)
      return false;
    uint64_t n = min_u64(bytes, BUFFER_BYTES);
    memcpy(b->bytes, s, n);
    const struct vq_segment segment = {linear_pa(b->bytes), (uint32_t)n};
    if (vq_add(tx, &segment, 1, 0, b) != ERR_OK) {
      free_tx[free_tx_count++] = b;
      return false;
    }
    s += n;
    bytes -= n;
  }
  vq_kick(tx);
  return true;
}

bool hvc_write(const char *s, uint64_t bytes) {
  vlock_acquire(&tx_lock);
  bool sent = tx != NULL && tx->device->live && send(s, bytes);
  vlock_release(&tx_lock);
  return sent;
}

/* --- input ------------------------------------------------------------------------------------------------------------------ */

static err_t offer(struct virtqueue *q, struct buffer *b) {
  const struct vq_segment segment = {linear_pa(b->bytes), BUFFER_BYTES};
  return vq_add(q, &segment, 0, 1, b);
}

static void keep(const struct buffer *b, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes && i < BUFFER_BYTES; i++)
    if (ring_in - ring_out < RING_BYTES)
      ring[ring_in++ % RING_BYTES] = b->bytes[i];
}

static void receive(void) {
  struct buffer *b;
  uint32_t bytes;
  while ((b = vq_get_used(rx, &bytes)) != NULL) {
    keep(b, bytes);
    err_t e = offer(rx, b);
    (void)e; /* its descriptor has just become free; a queue that broke is the transport's to mend */
  }
  vq_kick(rx);
}

static void used(struct virtio_device *d) {
  (void)d;
  vlock_acquire(&rx_lock);
  receive();
  bool ready = ring_in != ring_out;
  vlock_release(&rx_lock);
  if (!ready)
    return;
  vlock_acquire(&sched_lock);
  sched_wake_all(WAIT_CONSOLE);
  vlock_release(&sched_lock);
}

uint64_t hvc_read(char *to, uint64_t cap) {
  uint64_t n = 0;
  vlock_acquire(&rx_lock);
  while (n < cap && ring_in != ring_out)
    to[n++] = ring[ring_out++ % RING_BYTES];
  vlock_release(&rx_lock);
  return n;
}

/* --- life ------------------------------------------------------------------------------------------------------------------- */

static err_t offer_all(struct virtqueue *q) {
  err_t e = ERR_OK;
  for (unsigned i = 0; i < RX_BUFFERS && e == ERR_OK; i++)
    e = offer(q, &buffers[TX_BUFFERS + i]);
  return e;
}

static void publish(struct virtqueue *transmit, struct virtqueue *receive_queue) {
  vlock_acquire(&tx_lock);
  tx = transmit;
  for (free_tx_count = 0; free_tx_count < TX_BUFFERS; free_tx_count++)
    free_tx[free_tx_count] = &buffers[free_tx_count];
  vlock_release(&tx_lock);
  vlock_acquire(&rx_lock);
  rx = receive_queue;
  vlock_release(&rx_lock);
}

static err_t probe(struct virtio_device *d) {
  struct virtqueue *transmit, *receive_queue;
  if (buffers == NULL && (buffers = mem_alloc((TX_BUFFERS + RX_BUFFERS) * sizeof(*buffers))) == NULL)
    return ERR_NOMEM;
  err_t e = virtio_queue_setup(d, VIRTIO_CONSOLE_QUEUE_RX, RX_BUFFERS, &receive_queue);
  if (e == ERR_OK)
    e = virtio_queue_setup(d, VIRTIO_CONSOLE_QUEUE_TX, TX_BUFFERS, &transmit);
  if (e == ERR_OK)
    e = offer_all(receive_queue);
  if (e != ERR_OK)
    return e;
  vq_disable_interrupts(transmit);
  publish(transmit, receive_queue);
  return ERR_OK;
}

static void start(struct virtio_device *d) {
  vlock_acquire(&rx_lock);
  vq_kick(d->queue[VIRTIO_CONSOLE_QUEUE_RX]);
  vlock_release(&rx_lock);
}

/* All buffers are ours again: publish() counts them anew. */
static void lost(struct virtio_device *d) {
  (void)d;
  vlock_acquire(&tx_lock);
  tx = NULL;
  vlock_release(&tx_lock);
  vlock_acquire(&rx_lock);
  rx = NULL;
  vlock_release(&rx_lock);
}

const struct virtio_driver virtio_console_driver = {
    .name = "virtio-console", .device_id = VIRTIO_ID_CONSOLE, .probe = probe, .start = start, .used = used, .lost = lost};
