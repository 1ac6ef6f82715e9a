/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Driver of the memory balloon, after Linux's virtio_balloon. Frames in the balloon are the kernel's own (FRAME_CORE), linked through their entries in the
 * frame table, single ones and blocks of 2 MiB apart.
 *
 * The thread compares num_pages with what is inside and inflates or deflates in steps, letting others run between them. With
 * VIRTIO_BALLOON_F_SLUICE_RANGES it gives blocks of 2 MiB as long as the allocator finds or can make one (it moves pages for it), then single frames;
 * without, page numbers. It never reclaims for it: what cannot be had without is not given, `actual` says how far it got, and it tries again
 * when the target changes or RETRY_MS later. The device is told before a frame leaves the balloon, whether or not it insists.
 *
 * Lock: `lock` covers lists, counts and queues; no allocation is made under it. `due` is covered by sched_lock.
 */
#include "guest/drivers/virtio/balloon.h"

#include "abi/virtio.h"
#include "core/bits.h"
#include "guest/arch/mmu.h"
#include "guest/arch/vlock.h"
#include "guest/drivers/timer.h"
#include "guest/drivers/virtio/mmio.h"
#include "guest/kernel/irq.h"
#include "guest/kernel/sched.h"
#include "mm/page_alloc.h"
#include "mm/slab.h"

#define RETRY_MS 200u
#define PAGES_PER_CHAIN 256u
#define RANGES_PER_CHAIN 16u
#define BLOCK_FRAMES (1u << PAGEBLOCK_ORDER)

/* What the device reads: page numbers, or ranges. */
union message {
  uint32_t pfn[PAGES_PER_CHAIN];
  struct balloon_range range[RANGES_PER_CHAIN];
};

/* A stack of frames, or of blocks, through frame->next. */
struct stack {
  uint32_t top; /* FRAME_LINK_NONE: empty */
  uint64_t count;
};

static struct {
  struct vlock lock;
  struct virtio_device *device; /* NULL: none, or lost */
  struct virtqueue *inflate, *deflate, *stats;
  struct stack pages, blocks;
  union message *message;
  struct balloon_stat *stat;
  struct task *thread;
  bool due;      /* something for the thread to look at */
  bool resize;   /* the target changed, or is to be tried again */
  bool orphaned; /* the device was reset: what is inside is ours again */
} balloon = {.pages = {FRAME_LINK_NONE, 0}, .blocks = {FRAME_LINK_NONE, 0}};

static uint64_t inside(void) {
  return balloon.pages.count + balloon.blocks.count * BLOCK_FRAMES;
}

static void push(struct stack *s, pfn_t f) {
  frame_of(f)->next = s->top;
  s->top = (uint32_t)(f.v - frame_base_pfn);
  s->count++;
}

static pfn_t pop(struct stack *s) {
  pfn_t f = pfn(s->top + frame_base_pfn);
  s->top = frame_of(f)->next;
  s->count--;
  return f;
}

static void let_others_run(void) {
  irq_poll();
  if (sched_others_ready())
    schedule();
}

/* --- messages; lock held -------------------------------------------------------------------------------------------------------- */

static bool uses_ranges(void) {
  return virtio_has(balloon.device, VIRTIO_BALLOON_F_SLUICE_RANGES);
}

static unsigned message_max(void) {
  return uses_ranges() ? RANGES_PER_CHAIN : PAGES_PER_CHAIN;
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
  pfn_t frame[PAGES_PER_CHAIN];
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

/* They are inside from the moment the device may know of them. */
static bool inflate_with(const struct batch *b) {
  struct stack *s = b->order ? &balloon.blocks : &balloon.pages;
  vlock_acquire(&balloon.lock);
  bool live = balloon.device != NULL;
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

static bool inflate_some(uint64_t want) {
  static struct batch b; /* too large for the stack; there is one thread */
  b.count = 0;
  if (uses_ranges() && want >= BLOCK_FRAMES)
    collect(&b, PAGEBLOCK_ORDER, min_u64(RANGES_PER_CHAIN, want / BLOCK_FRAMES), ALLOC_MAY_COMPACT);
  if (b.count == 0)
    collect(&b, 0, min_u64(message_max(), want), 0);
  return b.count > 0 && inflate_with(&b);
}

/* --- deflate ------------------------------------------------------------------------------------------------------------------ */

/* Up to `want` frames; blocks when it takes a whole one, or if there is nothing else. Returns frames. lock held. */
static uint64_t deflate_locked(uint64_t want) {
  bool blocks = balloon.blocks.count > 0 && (want >= BLOCK_FRAMES || balloon.pages.count == 0);
  struct stack *s = blocks ? &balloon.blocks : &balloon.pages;
  unsigned order = blocks ? PAGEBLOCK_ORDER : 0;
  uint64_t max = min_u64(s->count, blocks ? (want + BLOCK_FRAMES - 1) / BLOCK_FRAMES : want);
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

static uint64_t deflate_some(uint64_t want) {
  vlock_acquire(&balloon.lock);
  uint64_t frames = balloon.device ? deflate_locked(want) : 0;
  vlock_release(&balloon.lock);
  return frames;
}

static void tell_actual(void) {
  vlock_acquire(&balloon.lock);
  if (balloon.device)
    virtio_config_write32(balloon.device, offsetof(struct virtio_balloon_config, actual), (uint32_t)inside());
  vlock_release(&balloon.lock);
}

/* lock held. */
static uint64_t reclaim_locked(uint64_t frames) {
  uint64_t got = 0;
  if (balloon.device && virtio_has(balloon.device, VIRTIO_BALLOON_F_DEFLATE_ON_OOM)) {
    got = deflate_locked(frames);
    if (got)
      virtio_config_write32(balloon.device, offsetof(struct virtio_balloon_config, actual), (uint32_t)inside());
    balloon.resize = false; /* not to be taken away again at once: the device says when */
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

/* --- statistics --------------------------------------------------------------------------------------------------------------- */

static uint64_t managed_frames(void) {
  struct buddyinfo info;
  uint64_t frames = 0;
  for (unsigned zone = 0; page_buddyinfo(zone, &info); zone++)
    frames += info.managed_frames;
  return frames;
}

/* Swap and page cache this kernel has none of: they are left out, not said to be 0. lock held. */
static void send_stats(void) {
  uint64_t free_bytes = page_free_frames() * PAGE_SIZE;
  const struct balloon_stat stats[] = {
      {BALLOON_S_MEMFREE, free_bytes}, {BALLOON_S_MEMTOT, managed_frames() * PAGE_SIZE}, {BALLOON_S_AVAIL, free_bytes}};
  const struct vq_segment segment = {linear_pa(balloon.stat), sizeof(stats)};
  for (unsigned i = 0; i < ARRAY_SIZE(stats); i++)
    balloon.stat[i] = stats[i];
  if (vq_add(balloon.stats, &segment, 1, 0, balloon.stat) == ERR_OK)
    vq_kick(balloon.stats);
}

static void answer_stats(void) {
  vlock_acquire(&balloon.lock);
  if (balloon.stats && vq_get_used(balloon.stats, NULL))
    send_stats();
  vlock_release(&balloon.lock);
}

/* --- the thread --------------------------------------------------------------------------------------------------------------- */

static bool read_target(uint64_t *target) {
  uint32_t pages = 0;
  vlock_acquire(&balloon.lock);
  bool live = balloon.device != NULL;
  if (live)
    virtio_config_read(balloon.device, offsetof(struct virtio_balloon_config, num_pages), &pages, sizeof(pages));
  vlock_release(&balloon.lock);
  *target = pages;
  return live;
}

/* One step towards the target. True if there was one to make, and it was made. */
static bool resize_step(void) {
  uint64_t target, have = inside();
  if (!balloon.resize || !read_target(&target) || target == have)
    return balloon.resize = false;
  bool moved = target > have ? inflate_some(target - have) : deflate_some(have - target) > 0;
  tell_actual();
  return moved;
}

/* The device was reset: everything inside is ours again, and nobody need be told */
static void take_all_back(void) {
  vlock_acquire(&balloon.lock);
  balloon.orphaned = false;
  while (balloon.pages.count > 0)
    page_free(pop(&balloon.pages), 0);
  while (balloon.blocks.count > 0)
    page_free(pop(&balloon.blocks), PAGEBLOCK_ORDER);
  vlock_release(&balloon.lock);
}

/* Until something is due, or it is time to try again. */
static void await(bool retry) {
  vlock_acquire(&sched_lock);
  if (!balloon.due)
    sched_sleep_until(retry ? timer_now() + RETRY_MS * timer_hz / 1000 : TIMER_NEVER);
  balloon.due = false;
  vlock_release(&sched_lock);
}

static void balloond(void) {
  for (;;) {
    if (balloon.orphaned)
      take_all_back();
    answer_stats();
    while (resize_step()) {
      answer_stats();
      let_others_run();
    }
    await(balloon.resize);
  }
}

static void wake(void) {
  vlock_acquire(&sched_lock);
  balloon.due = true;
  if (balloon.thread && balloon.thread->state == TASK_BLOCKED)
    sched_wake(balloon.thread);
  vlock_release(&sched_lock);
}

err_t balloon_start(void) {
  struct task *t;
  if (balloon.message == NULL)
    return ERR_OK;
  err_t e = task_alloc(true, &t);
  if (e != ERR_OK)
    return e;
  task_set_name(t, "balloond");
  task_set_entry(t, task_first_kernel, balloond);
  balloon.thread = t;
  sched_start(t);
  return ERR_OK;
}

/* --- the device --------------------------------------------------------------------------------------------------------------- */

static err_t alloc_messages(void) {
  if (balloon.message == NULL)
    balloon.message = mem_alloc(sizeof(*balloon.message));
  if (balloon.stat == NULL)
    balloon.stat = mem_alloc(BALLOON_S_TAGS * sizeof(*balloon.stat));
  return balloon.message && balloon.stat ? ERR_OK : ERR_NOMEM;
}

static err_t probe(struct virtio_device *d) {
  err_t e = alloc_messages();
  if (e == ERR_OK)
    e = virtio_queue_setup(d, BALLOON_QUEUE_INFLATE, 4, &balloon.inflate);
  if (e == ERR_OK)
    e = virtio_queue_setup(d, BALLOON_QUEUE_DEFLATE, 4, &balloon.deflate);
  balloon.stats = NULL;
  if (e == ERR_OK && virtio_has(d, VIRTIO_BALLOON_F_STATS_VQ))
    e = virtio_queue_setup(d, BALLOON_QUEUE_STATS, 1, &balloon.stats);
  if (e != ERR_OK)
    return e;
  vq_disable_interrupts(balloon.inflate);
  vq_disable_interrupts(balloon.deflate);
  return ERR_OK;
}

static void start(struct virtio_device *d) {
  vlock_acquire(&balloon.lock);
  balloon.device = d;
  balloon.resize = true;
  if (balloon.stats)
    send_stats();
  vlock_release(&balloon.lock);
  wake();
}

static void used(struct virtio_device *d) {
  (void)d;
  wake();
}

static void config_changed(struct virtio_device *d) {
  (void)d;
  balloon.resize = true;
  wake();
}

static void lost(struct virtio_device *d) {
  (void)d;
  vlock_acquire(&balloon.lock);
  balloon.device = NULL;
  balloon.inflate = balloon.deflate = balloon.stats = NULL;
  balloon.orphaned = true;
  vlock_release(&balloon.lock);
  wake();
}

const struct virtio_driver virtio_balloon_driver = {
    .name = "virtio-balloon",
    .device_id = VIRTIO_ID_BALLOON,
    .features = BIT(VIRTIO_BALLOON_F_MUST_TELL_HOST) | BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
                BIT(VIRTIO_BALLOON_F_SLUICE_RANGES),
    .probe = probe,
    .start = start,
    .used = used,
    .config_changed = config_changed,
    .lost = lost,
};
