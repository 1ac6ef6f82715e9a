/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The balloon's memory: what comes in (inflate), what the guest takes back (deflate), and free memory that it reports (virtio 1.2, 5.5.6).
 *
 * Each call does a piece of the chain at the head of its queue: read out of guest RAM once, dealt with, and marked, page by page, in a bit
 * map of the VM's memory, so that `actual` is what is in the balloon however often the guest names a page. Where the chain stands is kept;
 * the chain itself is read anew for the next piece, since the guest may write it at any time.
 *
 * A page given up is taken out of stage 2 whether or not the guest may touch it: if it does, it gets a zeroed one. So it makes no
 * difference here whether the guest waits for an answer before it uses pages that it takes back (VIRTIO_BALLOON_F_MUST_TELL_HOST).
 *
 * Lock: the device's. Refused: nothing; a page that is no RAM of the guest is passed over and counted.
 */
#include "core/bits.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/dev/virtio/balloon_priv.h"

#define RANGES 32u
#define MARKED_PER_PIECE (SZ_2M * 128) /* 1,024 words of the map */

_Static_assert(sizeof(struct reclaim_range) == sizeof(struct balloon_range), "ranges are read as they stand in the queue");
_Static_assert(VQ_SEGMENTS_MAX <= RANGES, "a report fits");

/* --- the map ---------------------------------------------------------------------------------------------------------------- */

/* One page goes in or comes out. `page` counts from the foot of RAM. */
static ALWAYS_INLINE void mark_page(struct virtio_balloon *b, uint64_t page, bool in) {
  uint64_t bit = BIT(page % 64), *word = &b->inside[page / 64];
  if (!(*word & bit) == in) {
    atomic_store_relaxed(word, *word ^ bit);
    b->actual += in ? 1 : ~(uint64_t)0;
  }
}

static void mark_pages(struct virtio_balloon *b, unsigned count, const uint64_t *ipas, bool in) {
  for (unsigned i = 0; i < count; i++) {
    uint64_t page = (ipas[i] - VM_RAM_BASE) / PAGE_SIZE;
    if (likely(page < b->frames))
      mark_page(b, page, in);
  }
}

static unsigned ones(uint64_t w) {
  w -= w >> 1 & 0x5555555555555555;
  w = (w & 0x3333333333333333) + (w >> 2 & 0x3333333333333333);
  return (unsigned)(((w + (w >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56);
}

static void mark_word(struct virtio_balloon *b, uint64_t number, bool in) {
  uint64_t old = b->inside[number], becomes = in ? ~(uint64_t)0 : 0;
  atomic_store_relaxed(&b->inside[number], becomes);
  if (likely(old == ~becomes)) { /* as it should be */
    b->actual += in ? 64 : ~(uint64_t)63;
    return;
  }
  b->actual += (in ? 64u : 0u) - (uint64_t)ones(old);
}

static void mark_span(struct virtio_balloon *b, uint64_t page, uint64_t count, bool in) {
  while (count > 0) {
    uint64_t step = page % 64 == 0 && count >= 64 ? 64 : 1;
    if (step == 64)
      mark_word(b, page / 64, in);
    else
      mark_page(b, page, in);
    page += step;
    count -= step;
  }
}

/* Bytes [from, to) of all ranges. */
static void mark_ranges(struct virtio_balloon *b, const struct reclaim_range *r, uint64_t from, uint64_t to, bool in) {
  for (uint64_t start = 0; start < to; start += r->bytes, r++) {
    uint64_t first = max_u64(from, start), end = min_u64(to, start + r->bytes);
    if (first < end)
      mark_span(b, (r->at + (first - start) - VM_RAM_BASE) / PAGE_SIZE, (end - first) / PAGE_SIZE, in);
  }
}

/* --- chains in pieces ------------------------------------------------------------------------------------------------------- */

static bool pop(struct virtio_balloon *b, unsigned q, struct vq_chain *c, enum virtio_work *answer) {
  err_t err = vq_pop(&b->device.queue[q], c);
  *answer = virtio_no_chain(err);
  return err == ERR_OK;
}

/* A piece is done: the chain goes back to be gone on with, or is used. */
static enum virtio_work done(struct virtio_balloon *b, unsigned q, const struct vq_chain *c, bool more) {
  if (more) {
    vq_unpop(&b->device.queue[q]);
    return VIRTIO_MORE;
  }
  err_t err = vq_push(&b->device.queue[q], c->head, 0);
  if (err == ERR_OK) {
    b->offset[q] = b->in_ranges[q] = 0;
    b->chains++;
  }
  return virtio_chain_done(&b->device.queue[q], err);
}

/* 5.5.6: page numbers of 4 KiB, 32 bits each. */
static unsigned read_pages(struct virtio_balloon *b, unsigned q, const struct vq_chain *c, uint64_t *ipas) {
  uint32_t pfns[RECLAIM_PAGES];
  unsigned count = (unsigned)(vq_read(&b->device.queue[q], c, b->offset[q], pfns, sizeof(pfns)) / sizeof(pfns[0]));
  for (unsigned i = 0; i < count; i++)
    ipas[i] = (uint64_t)pfns[i] << VIRTIO_BALLOON_PFN_SHIFT;
  return count;
}

static enum virtio_work serve_pages(struct virtio_balloon *b, unsigned q, bool in) {
  uint64_t ipas[RECLAIM_PAGES];
  enum virtio_work answer;
  struct vq_chain c;
  if (!pop(b, q, &c, &answer))
    return answer;
  unsigned count = read_pages(b, q, &c, ipas);
  if (in && count > 0)
    count = reclaim_pages(&b->device.vm->s2, count, ipas, &b->inflated);
  mark_pages(b, count, ipas, in);
  b->offset[q] += count * sizeof(uint32_t);
  return done(b, q, &c, b->offset[q] + sizeof(uint32_t) <= c.readable);
}

/* A range that is none becomes an empty one. */
static void check_range(struct virtio_balloon *b, struct reclaim_range *r, struct reclaim_sum *sum) {
  if (is_aligned(r->at | r->bytes, PAGE_SIZE) && stage2_is_ram_range(&b->device.vm->s2, ipa(r->at), r->bytes))
    return;
  r->bytes = 0;
  if (sum)
    sum->outside++;
}

static unsigned read_ranges(struct virtio_balloon *b, unsigned q, const struct vq_chain *c, struct reclaim_range *ranges) {
  uint64_t bytes = vq_read(&b->device.queue[q], c, b->offset[q], ranges, RANGES * sizeof(*ranges));
  unsigned count = (unsigned)(bytes / sizeof(*ranges));
  for (unsigned i = 0; i < count; i++)
    check_range(b, &ranges[i], b->in_ranges[q] == 0 ? &b->inflated : NULL);
  return count;
}

static uint64_t sum_ranges(const struct reclaim_range *ranges, unsigned count) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < count; i++)
    sum += ranges[i].bytes;
  return sum;
}

/* Some of these ranges, from in_ranges on. True if that was all. */
static bool serve_some(struct virtio_balloon *b, unsigned q, const struct reclaim_range *ranges, unsigned count, bool in) {
  uint64_t from = b->in_ranges[q], all = sum_ranges(ranges, count), to = from;
  if (in)
    (void)reclaim_ranges(&b->device.vm->s2, count, ranges, &to, &b->inflated);
  else
    to = min_u64(all, from + MARKED_PER_PIECE);
  mark_ranges(b, ranges, from, min_u64(to, all), in);
  b->in_ranges[q] = to;
  return to >= all;
}

static enum virtio_work serve_ranges(struct virtio_balloon *b, unsigned q, bool in) {
  struct reclaim_range ranges[RANGES];
  enum virtio_work answer;
  struct vq_chain c;
  if (!pop(b, q, &c, &answer))
    return answer;
  unsigned count = read_ranges(b, q, &c, ranges);
  if (!serve_some(b, q, ranges, count, in))
    return done(b, q, &c, true);
  b->in_ranges[q] = 0;
  b->offset[q] += count * sizeof(ranges[0]);
  return done(b, q, &c, b->offset[q] + sizeof(ranges[0]) <= c.readable);
}

static enum virtio_work serve(struct virtio_balloon *b, unsigned q, bool in) {
  uint64_t before = b->actual;
  enum virtio_work work = virtio_has(&b->device, VIRTIO_BALLOON_F_SLUICE_RANGES) ? serve_ranges(b, q, in) : serve_pages(b, q, in);
  if (b->actual != before)
    b->moved_at = time_now();
  return work;
}

enum virtio_work balloon_inflate(struct virtio_balloon *b, unsigned q) {
  return serve(b, q, true);
}

enum virtio_work balloon_deflate(struct virtio_balloon *b, unsigned q) {
  return serve(b, q, false);
}

/* --- free-page reporting (5.5.6.7) ------------------------------------------------------------------------------------------ */

/* Buffers that the device may write, rounded inwards to pages: nothing of a page that is only named in part is lost. */
static unsigned reported_ranges(const struct vq_chain *c, struct reclaim_range *ranges) {
  for (unsigned i = 0; i < c->count; i++) {
    uint64_t start = align_up(c->segment[i].at.v, PAGE_SIZE), end = align_down(c->segment[i].at.v + c->segment[i].bytes, PAGE_SIZE);
    ranges[i] = (struct reclaim_range){start, c->segment[i].writable && start < end ? end - start : 0};
  }
  return c->count;
}

/*
 * What is populated anew reads as zero, but 5.5.6.7 demands that a reported page read as poison_val where PAGE_POISON was negotiated:
 * unless that is zero, the report is answered and nothing is taken. So it is if the monitor has said so.
 */
static bool declines(const struct virtio_balloon *b) {
  return b->declines_reports || (virtio_has(&b->device, VIRTIO_BALLOON_F_PAGE_POISON) && b->poison != 0);
}

enum virtio_work balloon_take_report(struct virtio_balloon *b, unsigned q) {
  struct reclaim_range ranges[RANGES];
  enum virtio_work answer;
  struct vq_chain c;
  if (!pop(b, q, &c, &answer))
    return answer;
  unsigned count = reported_ranges(&c, ranges);
  if (declines(b)) {
    b->ignored_reports += sum_ranges(ranges, count) / PAGE_SIZE;
    return done(b, q, &c, false);
  }
  return done(b, q, &c, !reclaim_ranges(&b->device.vm->s2, count, ranges, &b->offset[q], &b->reported));
}
