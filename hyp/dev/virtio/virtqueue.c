/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device's side of split virtqueues: taking chains, giving them back, and the two notification schemes.
 *
 * Every field of a ring is read once, through stage 2, into EL2's memory, and checked there. A chain is complete and checked before a
 * device sees any of it; a chain that breaks a rule leaves the queue as it was, and the device asks for a reset. Descriptor walks are
 * bounded by the size of the table, so a loop is found after that many steps.
 *
 * Order (virtio 1.2, 2.7.13; the driver's barriers pair with these): the available index is read before what it publishes; used elements
 * are written before the used index; and where one side's suppression word is read after an index was written, a full barrier stands
 * between.
 */
#include "hyp/dev/virtio/virtqueue.h"
#include "abi/virtio.h"
#include "arch/barrier.h"
#include "core/bits.h"
#include "hyp/mem/stage2.h"

#define RING_ENTRIES 4u /* offset of ring[] behind flags and idx, in both rings */

static ipa_t at(ipa_t base, uint64_t offset) {
  return ipa(base.v + offset);
}

static bool load16(const struct virtqueue *q, ipa_t from, uint16_t *out) {
  return stage2_load16(q->s2, from, out) == ERR_OK;
}

/* What is no RAM any more, or never was, is the driver's fault; a frame that cannot be had is not. */
static err_t blame(err_t err) {
  return err == ERR_OK || vq_is_starved(err) ? err : ERR_INVAL;
}

static err_t store16(const struct virtqueue *q, ipa_t to, uint16_t value) {
  return blame(stage2_store16(q->s2, to, value));
}

/* --- taking ----------------------------------------------------------------------------------------------------------------- */

/* A table of descriptors: the queue's own, or an indirect one. */
struct table {
  ipa_t base;
  uint32_t count;
  bool indirect;
};

static bool is_ram(const struct virtqueue *q, uint64_t address, uint64_t bytes) {
  return stage2_is_ram_range(q->s2, ipa(address), bytes);
}

static bool add_segment(const struct virtqueue *q, struct vq_chain *c, const struct virtq_desc *d) {
  bool writable = d->flags & VIRTQ_DESC_F_WRITE;
  uint32_t *sum = writable ? &c->writable : &c->readable;
  if (c->count == VQ_SEGMENTS_MAX || d->len == 0 || d->len > UINT32_MAX - *sum || !is_ram(q, d->addr, d->len))
    return false;
  if (!writable && c->writable != 0)
    return false; /* 2.7.4.2: readable ones come first */
  *sum += d->len;
  c->segment[c->count++] = (struct vq_segment){ipa(d->addr), d->len, writable};
  return true;
}

/* 2.7.5.3: the last of a chain may refer to a table of its own, which holds the rest. */
static bool enter_indirect(const struct virtqueue *q, struct table *t, const struct virtq_desc *d) {
  if (!q->indirect || t->indirect || (d->flags & VIRTQ_DESC_F_NEXT))
    return false;
  if (d->len == 0 || d->len % sizeof(*d) != 0 || !is_ram(q, d->addr, d->len))
    return false;
  *t = (struct table){ipa(d->addr), d->len / sizeof(*d), true};
  return true;
}

static bool read_desc(const struct virtqueue *q, const struct table *t, uint32_t index, struct virtq_desc *d) {
  return index < t->count && stage2_read(q->s2, d, at(t->base, (uint64_t)index * sizeof(*d)), sizeof(*d)) == ERR_OK;
}

/* False if the chain breaks a rule. VQ_SEGMENTS_MAX bounds the walk: each step adds a segment, or enters the one indirect table. */
static bool walk(const struct virtqueue *q, uint16_t head, struct vq_chain *c) {
  struct table t = {q->desc, q->num, false};
  struct virtq_desc d = {.next = head, .flags = VIRTQ_DESC_F_NEXT};
  *c = (struct vq_chain){.head = head};
  while (d.flags & VIRTQ_DESC_F_NEXT) {
    if (!read_desc(q, &t, d.next, &d))
      return false;
    if (!(d.flags & VIRTQ_DESC_F_INDIRECT)) {
      if (!add_segment(q, c, &d))
        return false;
    } else {
      if (!enter_indirect(q, &t, &d))
        return false;
      d = (struct virtq_desc){.next = 0, .flags = VIRTQ_DESC_F_NEXT};
    }
  }
  return true;
}

/* ERR_NOENT unless the driver has published more than was taken; ERR_INVAL if that is more than the ring holds. */
static err_t available(const struct virtqueue *q) {
  uint16_t idx;
  if (!load16(q, at(q->avail, 2), &idx))
    return ERR_INVAL;
  uint16_t ahead = (uint16_t)(idx - q->next_avail), held = (uint16_t)(q->next_avail - q->next_used);
  if (ahead > q->num - held)
    return ERR_INVAL; /* more than the driver has descriptors for */
  dmb(ishld);         /* what the index publishes is read after it */
  return ahead == 0 ? ERR_NOENT : ERR_OK;
}

/* Nothing is left: ask to be told of the next one, and look again, since it may have come in between. */
static err_t await(struct virtqueue *q) {
  if (!q->event_idx)
    return ERR_NOENT;
  err_t err = store16(q, at(q->used, RING_ENTRIES + 8u * q->num), q->next_avail);
  if (err != ERR_OK)
    return err;
  dmb(ish);
  return available(q);
}

static bool is_out(const struct virtqueue *q, uint16_t head) {
  return q->out[head / 64] >> head % 64 & 1;
}

static void set_out(struct virtqueue *q, uint16_t head) {
  q->out[head / 64] ^= BIT(head % 64);
}

static bool next_head(const struct virtqueue *q, uint16_t *head) {
  return load16(q, at(q->avail, RING_ENTRIES + 2u * (q->next_avail & (q->num - 1u))), head) && *head < q->num && !is_out(q, *head);
}

err_t vq_pop(struct virtqueue *q, struct vq_chain *c) {
  uint16_t head;
  err_t err = available(q);
  if (err == ERR_NOENT)
    err = await(q);
  if (err != ERR_OK)
    return err;
  if (!next_head(q, &head) || !walk(q, head, c))
    return ERR_INVAL;
  set_out(q, head);
  q->popped = head;
  q->next_avail++;
  return ERR_OK;
}

void vq_unpop(struct virtqueue *q) {
  set_out(q, q->popped);
  q->next_avail--;
}

/* --- giving back ------------------------------------------------------------------------------------------------------------ */

err_t vq_push(struct virtqueue *q, uint16_t head, uint32_t written) {
  struct virtq_used_elem elem = {head, written};
  ipa_t slot = at(q->used, RING_ENTRIES + 8u * (q->next_used & (q->num - 1u)));
  if (!is_out(q, head))
    return ERR_INVAL; /* the queue was stopped meanwhile */
  err_t err = blame(stage2_write(q->s2, slot, &elem, sizeof(elem)));
  if (err != ERR_OK)
    return err;
  dmb(ishst); /* the element, and what was written into the buffers, before the index */
  err = store16(q, at(q->used, 2), (uint16_t)(q->next_used + 1));
  if (err != ERR_OK)
    return err;
  q->next_used++;
  q->progress = 0;
  set_out(q, head);
  return ERR_OK;
}

/* 2.7.10: has the used index passed `event` since it was `before`? */
static bool passed(uint16_t event, uint16_t now, uint16_t before) {
  return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool vq_must_signal(struct virtqueue *q) {
  uint16_t word, before = q->signalled_used;
  if (q->next_used == before)
    return false;
  q->signalled_used = q->next_used;
  dmb(ish); /* the used index is written before the driver's wish is read */
  if (!load16(q, at(q->avail, q->event_idx ? RING_ENTRIES + 2u * q->num : 0), &word))
    return true;
  return q->event_idx ? passed(word, q->next_used, before) : !(word & VIRTQ_AVAIL_F_NO_INTERRUPT);
}

/* --- contents --------------------------------------------------------------------------------------------------------------- */

typedef err_t copy_fn(struct stage2 *s2, ipa_t guest, void *local, uint64_t bytes);

static err_t copy_in(struct stage2 *s2, ipa_t guest, void *local, uint64_t bytes) {
  return stage2_read(s2, local, guest, bytes);
}

static err_t copy_out(struct stage2 *s2, ipa_t guest, void *local, uint64_t bytes) {
  return stage2_write(s2, guest, local, bytes);
}

/* `done`: so many bytes, up to the chain's end or to the error. */
static err_t transfer(const struct virtqueue *q, const struct vq_chain *c, uint64_t offset, void *local, uint64_t bytes, bool writable,
                      copy_fn *copy, uint64_t *done) {
  *done = 0;
  for (unsigned i = 0; i < c->count && *done < bytes; i++) {
    const struct vq_segment *s = &c->segment[i];
    if (s->writable != writable)
      continue;
    if (offset >= s->bytes) {
      offset -= s->bytes;
      continue;
    }
    uint64_t n = min_u64(s->bytes - offset, bytes - *done);
    err_t err = copy(q->s2, at(s->at, offset), (char *)local + *done, n);
    if (err != ERR_OK)
      return blame(err);
    *done += n;
    offset = 0;
  }
  return ERR_OK;
}

uint64_t vq_read(struct virtqueue *q, const struct vq_chain *c, uint64_t offset, void *to, uint64_t bytes) {
  uint64_t done;
  err_t err = transfer(q, c, offset, to, bytes, false, copy_in, &done);
  (void)err; /* RAM that is gone ends the chain */
  return done;
}

err_t vq_write(struct virtqueue *q, const struct vq_chain *c, uint64_t offset, const void *from, uint64_t bytes) {
  uint64_t done;
  err_t err = transfer(q, c, offset, (void *)(uintptr_t)from, bytes, true, copy_out, &done);
  return err != ERR_OK || done == bytes ? err : ERR_INVAL;
}
