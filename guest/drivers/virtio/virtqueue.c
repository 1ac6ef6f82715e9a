/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver's side of split virtqueues: owns the rings' frame, the free descriptors and the tokens of chains that are out.
 *
 * Invariants: free_count descriptors hang on free_head, linked by `next`; every other one belongs to exactly one chain whose first
 * descriptor has a token. avail_idx - used_idx chains are out, so never more than `num`, and no ring overflows.
 *
 * Order (virtio 1.2, 2.7.13 and 2.7.14; the device's barriers pair with these): descriptors and ring entry before the available index;
 * the used index is read before the elements it publishes; between writing one side's index and reading the other's wish stands a full
 * barrier.
 *
 * Of the device nothing is believed that could break this kernel's memory: a used id must name a chain that is out.
 */
#include "guest/drivers/virtio/virtqueue.h"

#include "abi/virtio.h"
#include "arch/barrier.h"
#include "core/atomic.h"
#include "core/bits.h"
#include "core/check.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/timer.h"
#include "guest/drivers/virtio/mmio.h"
#include "guest/vm/gfp.h"
#include "mm/port.h"
#include "mm/slab.h"

/* Words of the rings, as 16-bit indices. */
#define RING_FLAGS 0u
#define RING_IDX 1u
#define AVAIL_ENTRY(i_) (2u + (i_))
#define USED_BYTES_ENTRY(i_) (4u + 8u * (i_))

#define USED_AT align_up(VIRTQ_DESC_BYTES(VQ_NUM) + VIRTQ_AVAIL_BYTES(VQ_NUM), 4)
_Static_assert(VIRTQ_DESC_BYTES(VQ_NUM) + VIRTQ_AVAIL_BYTES(VQ_NUM) + 4 + VIRTQ_USED_BYTES(VQ_NUM) <= PAGE_SIZE,
               "one frame holds them all");

/* --- life ------------------------------------------------------------------------------------------------------------------- */

static void link_all_free(struct virtqueue *q) {
  for (uint16_t i = 0; i < q->num; i++)
    q->desc[i].next = (uint16_t)(i + 1);
  q->free_head = 0;
  q->free_count = q->num;
}

err_t vq_init(struct virtqueue *q, struct virtio_device *d, uint16_t index, uint16_t num) {
  pfn_t frame;
  CHECK(is_pow2(num) && num <= VQ_NUM);
  err_t e = page_alloc(0, GFP_NOWAIT | ALLOC_ZERO | ALLOC_RETURN_CORE, &frame);
  if (e != ERR_OK)
    return e;
  char *rings = port_frame_ptr(frame);
  *q = (struct virtqueue){.device = d, .index = index, .num = num, .desc = (struct virtq_desc *)rings};
  q->event_idx = virtio_has(d, VIRTIO_F_EVENT_IDX);
  q->indirect = virtio_has(d, VIRTIO_F_INDIRECT_DESC);
  q->avail = (uint16_t *)(rings + VIRTQ_DESC_BYTES(VQ_NUM));
  q->used = (uint16_t *)(rings + USED_AT);
  link_all_free(q);
  return ERR_OK;
}

void vq_fini(struct virtqueue *q) {
  while (vq_detach(q) != NULL)
    ;
  page_free(port_ptr_frame(q->desc), 0);
  q->device = NULL;
}

/* --- adding ----------------------------------------------------------------------------------------------------------------- */

static struct virtq_desc descriptor(struct vq_segment s, bool writable, bool more, uint16_t next) {
  uint16_t flags = (uint16_t)((writable ? VIRTQ_DESC_F_WRITE : 0) | (more ? VIRTQ_DESC_F_NEXT : 0));
  return (struct virtq_desc){s.at.v, s.bytes, flags, next};
}

/* The chain as a table of its own: one descriptor of the ring for all of it. False if there is no memory for it. */
static bool add_indirect(struct virtqueue *q, const struct vq_segment *segments, unsigned out, unsigned count) {
  struct virtq_desc *table = mem_alloc(count * sizeof(*table));
  if (table == NULL)
    return false;
  for (unsigned i = 0; i < count; i++)
    table[i] = descriptor(segments[i], i >= out, i + 1 < count, (uint16_t)(i + 1));
  struct virtq_desc *d = &q->desc[q->free_head];
  d->addr = linear_pa(table).v;
  d->len = (uint32_t)(count * sizeof(*table));
  d->flags = VIRTQ_DESC_F_INDIRECT;
  q->table[q->free_head] = table;
  q->free_head = d->next;
  q->free_count--;
  return true;
}

/* `next` keeps the free list's order, so the rest of it begins where the chain ends. */
static void add_direct(struct virtqueue *q, const struct vq_segment *segments, unsigned out, unsigned count) {
  uint16_t at = q->free_head;
  for (unsigned i = 0; i < count; i++) {
    q->desc[at] = descriptor(segments[i], i >= out, i + 1 < count, q->desc[at].next);
    at = q->desc[at].next;
  }
  q->free_head = at;
  q->free_count = (uint16_t)(q->free_count - count);
}

static void publish(struct virtqueue *q, uint16_t head) {
  q->avail[AVAIL_ENTRY(q->avail_idx & (q->num - 1u))] = head;
  q->avail_idx++;
  dmb(ishst); /* table, descriptors, entry; and what the segments hold: before the index (2.7.13.3) */
  atomic_store_relaxed(&q->avail[RING_IDX], q->avail_idx);
}

err_t vq_add(struct virtqueue *q, const struct vq_segment *segments, unsigned out, unsigned in, void *token) {
  unsigned count = out + in;
  uint16_t head = q->free_head;
  CHECK(token != NULL);
  if (q->broken)
    return ERR_IO;
  if (count == 0 || count > VQ_CHAIN_MAX)
    return ERR_INVAL;
  if (q->free_count == 0)
    return ERR_NOSPC;
  if (count == 1 || !q->indirect || !add_indirect(q, segments, out, count)) {
    if (q->free_count < count)
      return ERR_NOSPC;
    add_direct(q, segments, out, count);
  }
  q->token[head] = token;
  publish(q, head);
  return ERR_OK;
}

/* --- notifications ---------------------------------------------------------------------------------------------------------- */

/* 2.7.10: has the index passed `event` since it was `before`? */
static bool passed(uint16_t event, uint16_t now, uint16_t before) {
  return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

static uint16_t *avail_event(const struct virtqueue *q) {
  return &q->used[2u + 4u * q->num];
}

static uint16_t *used_event(const struct virtqueue *q) {
  return &q->avail[AVAIL_ENTRY(q->num)];
}

void vq_kick(struct virtqueue *q) {
  uint16_t before = q->kicked_idx;
  if (q->broken || q->avail_idx == before)
    return;
  q->kicked_idx = q->avail_idx;
  dmb(ish); /* the available index is written before the device's wish is read (2.7.13.4.1) */
  bool wanted = q->event_idx ? passed(atomic_load_relaxed(avail_event(q)), q->avail_idx, before)
                             : !(atomic_load_relaxed(&q->used[RING_FLAGS]) & VIRTQ_USED_F_NO_NOTIFY);
  if (wanted)
    virtio_notify(q->device, q->index);
}

void vq_disable_interrupts(struct virtqueue *q) {
  q->quiet = true;
  if (q->event_idx)
    atomic_store_relaxed(used_event(q), (uint16_t)(q->used_idx - 1)); /* passed a whole round of 65,536 from now */
  else
    atomic_store_relaxed(&q->avail[RING_FLAGS], VIRTQ_AVAIL_F_NO_INTERRUPT);
}

bool vq_enable_interrupts(struct virtqueue *q) {
  q->quiet = false;
  if (q->event_idx)
    atomic_store_relaxed(used_event(q), q->used_idx);
  else
    atomic_store_relaxed(&q->avail[RING_FLAGS], 0);
  dmb(ish); /* the wish is written before the used index is read (2.7.7.1) */
  return !q->broken && atomic_load_relaxed(&q->used[RING_IDX]) != q->used_idx;
}

/* --- getting back ----------------------------------------------------------------------------------------------------------- */

static void free_chain(struct virtqueue *q, uint16_t head) {
  uint16_t last = head, count = 1;
  for (; q->desc[last].flags & VIRTQ_DESC_F_NEXT; last = q->desc[last].next)
    count++;
  q->desc[last].next = q->free_head;
  q->free_head = head;
  q->free_count = (uint16_t)(q->free_count + count);
  mem_free(q->table[head]);
  q->table[head] = NULL;
  q->token[head] = NULL;
}

/* The used element at used_idx, which the index has published. */
static struct virtq_used_elem used_element(const struct virtqueue *q) {
  const char *at = (const char *)q->used + USED_BYTES_ENTRY(q->used_idx & (q->num - 1u));
  return *(const struct virtq_used_elem *)(const void *)at;
}

void *vq_get_used(struct virtqueue *q, uint32_t *bytes) {
  if (q->broken || atomic_load_relaxed(&q->used[RING_IDX]) == q->used_idx)
    return NULL;
  dmb(ishld); /* the index before the element and what the device wrote into the segments */
  struct virtq_used_elem e = used_element(q);
  if (e.id >= q->num || q->token[e.id] == NULL) {
    q->broken = true; /* said and mended by the transport: a driver's lock is held here, the console's maybe */
    return NULL;
  }
  void *token = q->token[e.id];
  free_chain(q, (uint16_t)e.id);
  q->used_idx++;
  if (q->event_idx && !q->quiet) {
    atomic_store_relaxed(used_event(q), q->used_idx);
    dmb(ish); /* as in vq_enable_interrupts(): the index is read again by the next call */
  }
  if (bytes != NULL)
    *bytes = e.len;
  return token;
}

/* Each look at the status is an exit to EL2: it is asked only when nothing has come. */
void *vq_wait_used(struct virtqueue *q, uint32_t *bytes) {
  uint64_t deadline = timer_now() + timer_hz;
  void *token;
  while ((token = vq_get_used(q, bytes)) == NULL && !q->broken && !virtio_is_lost(q->device) && timer_now() < deadline)
    cpu_relax();
  return token;
}

void *vq_detach(struct virtqueue *q) {
  q->broken = true;
  for (uint16_t i = 0; i < q->num; i++) {
    void *token = q->token[i];
    if (token == NULL)
      continue;
    free_chain(q, i);
    return token;
  }
  return NULL;
}
