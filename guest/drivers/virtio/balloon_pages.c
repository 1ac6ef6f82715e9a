/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is in the balloon: frames and blocks of 2 MiB that were given (inflate) and taken back (deflate), by page numbers, or by ranges
 * where VIRTIO_BALLOON_F_SLUICE_RANGES was agreed on (virtio 1.2, 5.5.6). They are the kernel's own (FRAME_CORE), linked through their
 * entries in the frame table, single ones and blocks apart.
 *
 * With ranges, blocks come first, as long as the allocator finds or can make one (it moves pages for it), then single frames. It never
 * reclaims for it, and leaves what is below the high watermark to the kernel. The device is told before a frame leaves the balloon, whether
 * or not it insists (MUST_TELL_HOST).
 *
 * Lock: balloon.lock, taken here. Refuses nothing; what cannot be had is not given.
 */
#include "core/atomic.h"
#include "core/bits.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/virtio/balloon_priv.h"

static void push(struct balloon_stack *s, pfn_t f) {
  frame_of(f)->next = s->top;
  s->top = (uint32_t)(f.v - frame_base_pfn);
  s->count++;
}

static pfn_t pop(struct balloon_stack *s) {
  pfn_t f = pfn(s->top + frame_base_pfn);
  s->top = frame_of(f)->next;
  s->count--;
  return f;
}

/* --- messages; lock held -------------------------------------------------------------------------------------------------------- */

/* Without the lock it is a glance: the device may be lost meanwhile, and come back with other features. */
static bool uses_ranges(void) {
  const struct virtio_device *d = atomic_load_relaxed(&balloon.device);
  return d != NULL && virtio_has(d, VIRTIO_BALLOON_F_SLUICE_RANGES);
}

static unsigned message_max(void) {
  return uses_ranges() ? BALLOON_RANGES_PER_CHAIN : BALLOON_PAGES_PER_CHAIN;
}

static void write_entry(unsigned n, pfn_t f, unsigned order) {
  if (uses_ranges())
    balloon.message->range[n] = (struct balloon_range){pfn_pa(f).v, PAGE_SIZE << order};
  else
    balloon.message->pfn[n] = (uint32_t)f.v;
}

/* Send `count` entries and wait until the device is done with them. */
static bool send(struct virtqueue *q, unsigned count) {
  uint32_t bytes = count * (uint32_t)(uses_ranges() ? sizeof(struct balloon_range) : sizeof(uint32_t));
  const struct vq_segment segment = {linear_pa(balloon.message), bytes};
  if (vq_add(q, &segment, 1, 0, balloon.message) != ERR_OK)
    return false;
  vq_kick(q);
  return vq_wait_used(q, NULL) != NULL;
}

/* --- inflate ------------------------------------------------------------------------------------------------------------------ */

struct batch {
  unsigned count, order;
  pfn_t frame[BALLOON_PAGES_PER_CHAIN];
};

/* Frames of one size, at most so many, as far as they are to be had. No lock held. */
static void collect(struct batch *b, unsigned order, uint64_t max, alloc_flags_t flags) {
  b->order = order;
  b->count = 0;
  while (b->count < max && page_alloc(order, ALLOC_MOVABLE | ALLOC_RETURN_CORE | flags, &b->frame[b->count]) == ERR_OK)
    b->count++;
}

static void give_back(const struct batch *b) {
  for (unsigned i = 0; i < b->count; i++)
    page_free(b->frame[i], b->order);
}

/* The device knows what is inside, all of it. lock held. */
static bool is_agreed(void) {
  return balloon.device != NULL && !balloon.orphaned;
}

/* It was collected for a device that took it so. lock held. */
static bool fits(const struct batch *b) {
  return b->count <= message_max() && (b->order == 0 || uses_ranges());
}

/* They are inside from the moment the device may know of them. */
static bool inflate_with(const struct batch *b) {
  struct balloon_stack *s = b->order ? &balloon.blocks : &balloon.pages;
  vlock_acquire(&balloon.lock);
  bool live = is_agreed() && fits(b);
  for (unsigned i = 0; live && i < b->count; i++) {
    write_entry(i, b->frame[i], b->order);
    push(s, b->frame[i]);
  }
  bool sent = live && send(balloon.inflate, b->count);
  vlock_release(&balloon.lock);
  if (!live)
    give_back(b);
  return sent;
}

/* What can be given without making memory short: what is above the high watermarks. Less, and the next fault would take it out again. */
static uint64_t room(void) {
  struct buddyinfo info;
  uint64_t frames = 0;
  for (unsigned zone = 0; page_buddyinfo(zone, &info); zone++)
    frames += info.free_frames > info.high_frames ? info.free_frames - info.high_frames : 0;
  return frames;
}

bool balloon_inflate_some(uint64_t want) {
  static struct batch b; /* too large for the stack; there is one thread */
  b.count = 0;
  want = min_u64(want, room());
  if (uses_ranges() && want >= BALLOON_BLOCK_FRAMES)
    collect(&b, PAGEBLOCK_ORDER, min_u64(BALLOON_RANGES_PER_CHAIN, want / BALLOON_BLOCK_FRAMES), ALLOC_MAY_COMPACT);
  if (b.count == 0)
    collect(&b, 0, min_u64(message_max(), want), 0);
  return b.count > 0 && inflate_with(&b);
}

/* --- deflate ------------------------------------------------------------------------------------------------------------------ */

/* Up to `want` frames; blocks when it takes a whole one, or if there is nothing else. Returns frames. lock held. */
static uint64_t deflate_locked(uint64_t want) {
  bool blocks = balloon.blocks.count > 0 && (want >= BALLOON_BLOCK_FRAMES || balloon.pages.count == 0);
  struct balloon_stack *s = blocks ? &balloon.blocks : &balloon.pages;
  unsigned order = blocks ? PAGEBLOCK_ORDER : 0;
  uint64_t max = min_u64(s->count, blocks ? (want + BALLOON_BLOCK_FRAMES - 1) / BALLOON_BLOCK_FRAMES : want);
  unsigned count = (unsigned)min_u64(max, message_max());
  uint32_t next = s->top;
  for (unsigned i = 0; i < count; i++) {
    pfn_t f = pfn(next + frame_base_pfn);
    write_entry(i, f, order);
    next = frame_of(f)->next;
  }
  if (count == 0 || !send(balloon.deflate, count))
    return 0;
  for (unsigned i = 0; i < count; i++)
    page_free(pop(s), order);
  return (uint64_t)count << order;
}

bool balloon_deflate_some(uint64_t want) {
  vlock_acquire(&balloon.lock);
  uint64_t frames = is_agreed() ? deflate_locked(want) : 0;
  vlock_release(&balloon.lock);
  return frames > 0;
}

/* Nobody knows of them any more. Returns how many there were; lock held. */
static uint64_t take_all_locked(void) {
  uint64_t frames = balloon_inside();
  balloon.orphaned = false;
  while (balloon.pages.count > 0)
    page_free(pop(&balloon.pages), 0);
  while (balloon.blocks.count > 0)
    page_free(pop(&balloon.blocks), PAGEBLOCK_ORDER);
  return frames;
}

/* lock held. */
static uint64_t reclaim_locked(uint64_t frames) {
  uint64_t got = 0;
  if (balloon.orphaned)
    return take_all_locked();
  if (balloon.device && virtio_has(balloon.device, VIRTIO_BALLOON_F_DEFLATE_ON_OOM)) {
    got = deflate_locked(frames);
    if (got)
      balloon_tell_actual();
    balloon_decline();
  }
  return got;
}

uint64_t balloon_reclaim(uint64_t frames) {
  if (!vlock_try(&balloon.lock))
    return 0;
  uint64_t got = reclaim_locked(frames);
  vlock_release(&balloon.lock);
  return got;
}

uint64_t balloon_reclaim_waiting(uint64_t frames) {
  vlock_acquire(&balloon.lock);
  uint64_t got = reclaim_locked(frames);
  vlock_release(&balloon.lock);
  return got;
}

/* --- the end of a device ---------------------------------------------------------------------------------------------------- */

void balloon_take_all_back(void) {
  vlock_acquire(&balloon.lock);
  (void)take_all_locked();
  vlock_release(&balloon.lock);
}
