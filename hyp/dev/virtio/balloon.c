/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The balloon as a device: its configuration space, its features, statistics, and what policies and people ask of it.
 *
 * The driver sees queues by the features it has accepted (virtio 1.2, 5.5.2): inflate, deflate, then statistics and reporting as far as
 * they are there. Linux and QEMU number them without gaps; a driver that goes by the letter finds reporting at 4 as well.
 *
 * A target is what the VM should keep, the configuration space holds the rest of its memory as num_pages. It stays through a reset of the
 * device: the next driver reads it. What was in the balloon does not: after a reset the driver begins with an empty one (5.5.5).
 *
 * Lock: the device's. What the guest writes into the space besides `actual` and `poison_val` is undone.
 */
#include "hyp/dev/virtio/balloon.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/dev/virtio/balloon_priv.h"
#include "hyp/mem/balloon_target.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "mm/port.h"
#include "mm/slab.h"

#define STATS_BYTES (16u * sizeof(struct balloon_stat)) /* more than there are tags: the rest of a longer buffer is not looked at */
#define CLEARED_PER_PIECE 2048u                         /* words */

static struct virtio_balloon *balloon_of(struct virtio_device *d) {
  return container_of(d, struct virtio_balloon, device);
}

/* By word of SCENARIO_BALLOON_FEATURES. */
uint64_t virtio_balloon_features(uint64_t words) {
  static const uint8_t bits[] = {VIRTIO_BALLOON_F_MUST_TELL_HOST, VIRTIO_BALLOON_F_STATS_VQ,  VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
                                 VIRTIO_BALLOON_F_PAGE_POISON,    VIRTIO_BALLOON_F_REPORTING, VIRTIO_BALLOON_F_SLUICE_RANGES};
  uint64_t features = 0;
  for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
    features |= words >> i & 1 ? BIT(bits[i]) : 0;
  return features;
}

static uint64_t features(struct virtio_device *d) {
  return balloon_of(d)->offered;
}

/* --- the configuration space (5.5.4) ---------------------------------------------------------------------------------------- */

static void write_space(struct virtio_balloon *b) {
  struct virtio_balloon_config space = {b->target, b->said, 0, b->poison};
  memcpy(b->device.config, &space, sizeof(space));
}

static void config_written(struct virtio_device *d, unsigned offset, unsigned bytes) {
  struct virtio_balloon *b = balloon_of(d);
  struct virtio_balloon_config space;
  (void)offset, (void)bytes;
  memcpy(&space, d->config, sizeof(space));
  b->said = space.actual;
  b->said_at = time_now();
  if (virtio_has(d, VIRTIO_BALLOON_F_PAGE_POISON))
    b->poison = space.poison_val;
  write_space(b);
}

/* --- statistics (5.5.6.3) --------------------------------------------------------------------------------------------------- */

static void read_stats(struct virtio_balloon *b, unsigned q, const struct vq_chain *c) {
  struct balloon_stat stats[STATS_BYTES / sizeof(struct balloon_stat)];
  uint64_t bytes = vq_read(&b->device.queue[q], c, 0, stats, sizeof(stats));
  for (unsigned i = 0; i < bytes / sizeof(stats[0]); i++) {
    if (stats[i].tag >= BALLOON_S_TAGS)
      continue; /* 5.5.6.3.2: what is not known is passed over */
    b->stats[stats[i].tag] = stats[i].value;
    b->stats_known |= 1u << stats[i].tag;
  }
  b->stats_at = b->said_at = time_now();
}

/* The buffer is kept until somebody asks: giving it back is the question. A second one waits in the queue until then. */
static enum virtio_work take_stats(struct virtio_balloon *b, unsigned q) {
  struct vq_chain c;
  if (b->stats_held)
    return VIRTIO_IDLE;
  err_t err = vq_pop(&b->device.queue[q], &c);
  if (err != ERR_OK)
    return virtio_no_chain(err);
  read_stats(b, q, &c);
  b->stats_head = c.head;
  b->stats_held = true;
  err = vq_pop(&b->device.queue[q], &c); /* to be told of the next one (VIRTIO_F_EVENT_IDX) */
  if (err == ERR_OK)
    vq_unpop(&b->device.queue[q]);
  return err == ERR_OK ? VIRTIO_IDLE : virtio_no_chain(err);
}

static bool ask_stats(struct virtio_balloon *b) {
  struct virtio_device *d = &b->device;
  if (!virtio_is_live(d) || !virtio_has(d, VIRTIO_BALLOON_F_STATS_VQ))
    return false;
  if (!b->stats_held)
    return true; /* the answer is on its way */
  err_t err = vq_push(&d->queue[BALLOON_QUEUE_STATS], b->stats_head, 0);
  b->stats_held = vq_is_starved(err); /* then it is asked another time */
  if (err == ERR_OK)
    virtio_signal_used(d, BALLOON_QUEUE_STATS);
  else if (!b->stats_held)
    virtio_needs_reset(d, "a statistics queue that cannot be written");
  return true;
}

/* --- life --------------------------------------------------------------------------------------------------------------------- */

/* After a reset the map is cleared in pieces, before the first chain of the next driver. */
static bool clear_some(struct virtio_balloon *b) {
  uint64_t words = min_u64(b->stale, CLEARED_PER_PIECE);
  b->stale -= words;
  memset(b->inside + b->stale, 0, words * sizeof(b->inside[0]));
  return words > 0;
}

static enum virtio_work run(struct virtio_device *d, unsigned q) {
  struct virtio_balloon *b = balloon_of(d);
  if (clear_some(b))
    return VIRTIO_MORE;
  atomic_store_relaxed(&d->vm->s2.ballooned, b->inside); /* from its first use on: stage 2 then looks at it */
  if (q == BALLOON_QUEUE_INFLATE)
    return balloon_inflate(b, q);
  if (q == BALLOON_QUEUE_DEFLATE)
    return balloon_deflate(b, q);
  if (q == BALLOON_QUEUE_STATS && virtio_has(d, VIRTIO_BALLOON_F_STATS_VQ))
    return take_stats(b, q);
  return virtio_has(d, VIRTIO_BALLOON_F_REPORTING) ? balloon_take_report(b, q) : VIRTIO_BROKEN;
}

static void driver_ok(struct virtio_device *d) {
  balloon_of(d)->said_at = time_now();
}

static uint64_t words_of(const struct virtio_balloon *b) {
  return (b->frames + 63) / 64;
}

static void reset(struct virtio_device *d) {
  struct virtio_balloon *b = balloon_of(d);
  atomic_store_relaxed(&d->vm->s2.ballooned, NULL);
  b->stale = words_of(b);
  b->actual = 0;
  b->said = b->poison = 0;
  memset(b->offset, 0, sizeof(b->offset));
  memset(b->in_ranges, 0, sizeof(b->in_ranges));
  b->stats_held = false;
  b->stats_known = 0;
  write_space(b);
}

static void power_on(struct virtio_device *d) {
  struct virtio_balloon *b = balloon_of(d);
  b->target = 0;
  write_space(b);
}

static const struct virtio_ops ops = {.name = "virtio-balloon",
                                      .device_id = VIRTIO_ID_BALLOON,
                                      .queues = BALLOON_QUEUES,
                                      .config_bytes = sizeof(struct virtio_balloon_config),
                                      .features = features,
                                      .run = run,
                                      .config_written = config_written,
                                      .driver_ok = driver_ok,
                                      .reset = reset,
                                      .power_on = power_on};

static unsigned map_order(const struct virtio_balloon *b) {
  uint64_t frames = (words_of(b) * sizeof(b->inside[0]) + PAGE_SIZE - 1) / PAGE_SIZE;
  return frames > 1 ? bits_fls(frames - 1) + 1 : 0;
}

/* Whole frames, charged to the VM in the ledger. */
static err_t open_map(struct virtio_balloon *b, owner_t owner) {
  pfn_t f;
  err_t err = page_alloc(map_order(b), ALLOC_UNMOVABLE | ALLOC_ZERO, &f);
  if (err != ERR_OK)
    return err;
  frame_set_state(f, map_order(b), FRAME_CORE, owner, 0);
  b->inside = port_frame_ptr(f);
  return ERR_OK;
}

err_t virtio_balloon_create(struct vm *vm, unsigned slot) {
  struct virtio_balloon *b = mem_alloc(sizeof(*b));
  if (!b)
    return ERR_NOMEM;
  b->frames = vm->config.memory_bytes / PAGE_SIZE;
  b->offered = virtio_balloon_features(vm->config.balloon);
  err_t err = open_map(b, vm->id);
  if (err != ERR_OK) {
    mem_free(b);
    return err;
  }
  virtio_init(&b->device, &ops, vm, slot);
  return ERR_OK;
}

void virtio_balloon_destroy(struct virtio_device *d) {
  struct virtio_balloon *b = balloon_of(d);
  atomic_store_relaxed(&d->vm->s2.ballooned, NULL);
  page_free(port_ptr_frame(b->inside), map_order(b));
  mem_free(b);
}

/* --- what is asked of it ------------------------------------------------------------------------------------------------------ */

static struct virtio_balloon *find(const struct vm *vm) {
  struct virtio_device *d = virtio_find(vm, &ops);
  return d ? balloon_of(d) : NULL;
}

bool balloon_set_target(struct vm *vm, uint64_t frames_to_keep) {
  struct virtio_balloon *b = find(vm);
  if (!b)
    return false;
  spin_lock(&b->device.lock);
  uint32_t target = (uint32_t)(b->frames - min_u64(frames_to_keep, b->frames));
  if (target != b->target) {
    b->target = target;
    b->asked_at = time_now();
    write_space(b);
    virtio_config_changed(&b->device);
  }
  spin_unlock(&b->device.lock);
  return true;
}

bool balloon_ask_stats(struct vm *vm) {
  struct virtio_balloon *b = find(vm);
  if (!b)
    return false;
  spin_lock(&b->device.lock);
  bool asked = ask_stats(b);
  spin_unlock(&b->device.lock);
  return asked;
}

bool virtio_balloon_offer(struct vm *vm, uint64_t words) {
  struct virtio_balloon *b = find(vm);
  if (!b)
    return false;
  spin_lock(&b->device.lock);
  b->offered = virtio_balloon_features(words);
  spin_unlock(&b->device.lock);
  return true;
}

bool virtio_balloon_take_reports(struct vm *vm, bool take) {
  struct virtio_balloon *b = find(vm);
  if (!b)
    return false;
  spin_lock(&b->device.lock);
  b->declines_reports = !take;
  spin_unlock(&b->device.lock);
  return true;
}

static uint64_t stat_frames(const struct virtio_balloon *b, enum balloon_stat_tag tag) {
  return b->stats[tag] / PAGE_SIZE;
}

void balloon_read(const struct vm *vm, struct balloon_state *out) {
  const struct virtio_balloon *b = find(vm);
  *out = (struct balloon_state){0};
  if (!b)
    return;
  *out = (struct balloon_state){
      .present = true,
      .driven = b->device.status & VIRTIO_STATUS_DRIVER_OK,
      .keep = b->frames - b->target,
      .actual = b->actual,
      .reported = b->reported.released,
      .stats_valid = b->stats_known != 0,
      .stats_at = b->stats_at,
      .free_frames = stat_frames(b, BALLOON_S_MEMFREE),
      .avail_frames = stat_frames(b, BALLOON_S_AVAIL),
      .total_frames = stat_frames(b, BALLOON_S_MEMTOT),
      .major_faults = b->stats[BALLOON_S_MAJFLT],
  };
}

/* --- why it does not get on --------------------------------------------------------------------------------------------------- */

static enum balloon_stand stand_of(const struct virtio_balloon *b, uint64_t now) {
  uint64_t patience = time_from_ms(BALLOON_PATIENCE_MS);
  if (b->actual == b->target)
    return BALLOON_DONE;
  if (b->device.vm->state != VM_RUNNING)
    return BALLOON_STOPPED;
  if (b->device.status & VIRTIO_STATUS_NEEDS_RESET)
    return BALLOON_NEEDS_RESET;
  if (!(b->device.status & VIRTIO_STATUS_DRIVER_OK))
    return BALLOON_NO_DRIVER;
  if (now - max_u64(b->moved_at, b->asked_at) < patience)
    return BALLOON_MOVES;
  return b->said_at >= b->asked_at && now - b->said_at < 10 * patience ? BALLOON_SAYS_NO_MORE : BALLOON_SILENT;
}

bool virtio_balloon_report(struct vm *vm, struct balloon_report *out) {
  struct virtio_balloon *b = find(vm);
  if (!b)
    return false;
  spin_lock(&b->device.lock);
  uint64_t now = time_now(); /* not before what the guest did last */
  *out = (struct balloon_report){.features = b->device.features, .target = b->target, .said = b->said, .poison = b->poison};
  out->offered = b->offered;
  out->declines_reports = b->declines_reports;
  out->stand = stand_of(b, now);
  uint64_t since = max_u64(b->asked_at, b->moved_at);
  out->waiting_ms = time_to_us(now - (out->stand == BALLOON_SILENT ? max_u64(since, b->said_at) : since)) / 1000;
  out->chains = b->chains;
  out->inflated = b->inflated;
  out->reported = b->reported;
  out->ignored_reports = b->ignored_reports;
  out->stats_known = b->stats_known;
  memcpy(out->stats, b->stats, sizeof(out->stats));
  spin_unlock(&b->device.lock);
  return true;
}
