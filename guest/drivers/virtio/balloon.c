/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Driver of the memory balloon, after Linux's virtio_balloon: the device's life and the thread that does what is asked.
 *
 * The thread follows num_pages in steps (balloon_resize.c, balloon_pages.c), letting others run between them; what cannot be given is not
 * given: `actual` says how far it got, and it tries again when the target changes or BALLOON_RETRY_MS later. It answers for statistics
 * (balloon_stats.c) and reports free memory (balloon_reporting.c).
 *
 * When this kernel poisons its free frames, it says with what (PAGE_POISON); a device that cannot be told gets no reports, since what it
 * takes comes back zeroed.
 *
 * Lock: balloon_priv.h.
 */
#include "core/bits.h"
#include "guest/drivers/timer.h"
#include "guest/drivers/virtio/balloon_priv.h"
#include "guest/kernel/bootargs.h"
#include "guest/kernel/irq.h"
#include "guest/kernel/sched.h"
#include "mm/slab.h"

struct balloon balloon = {.pages = {FRAME_LINK_NONE, 0}, .blocks = {FRAME_LINK_NONE, 0}};

static void let_others_run(void) {
  irq_poll();
  if (sched_others_ready())
    schedule();
}

/* --- the thread --------------------------------------------------------------------------------------------------------------- */

/* Until something is due, or it is time to try again or to report. */
static void await(bool retry) {
  vlock_acquire(&sched_lock);
  uint64_t deadline = retry ? timer_now() + BALLOON_RETRY_MS * timer_hz / 1000 : TIMER_NEVER;
  if (balloon.reports && balloon.report_at != 0)
    deadline = min_u64(deadline, balloon.report_at);
  if (!balloon.due && timer_now() < deadline)
    sched_sleep_until(deadline);
  balloon.due = false;
  vlock_release(&sched_lock);
}

static void balloond(void) {
  for (;;) {
    if (balloon.orphaned)
      balloon_take_all_back();
    balloon_answer_stats();
    while (balloon_resize_step()) {
      balloon_answer_stats();
      let_others_run();
    }
    balloon_report_free();
    await(balloon_has_to_resize());
  }
}

void balloon_wake_locked(void) {
  balloon.due = true;
  if (balloon.thread && balloon.thread->state == TASK_BLOCKED)
    sched_wake(balloon.thread);
}

void balloon_wake(void) {
  vlock_acquire(&sched_lock);
  balloon_wake_locked();
  vlock_release(&sched_lock);
}

bool balloon_is_there(void) {
  return balloon.device != NULL;
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

/* What is left of the features that both sides have. */
static uint64_t choose(uint64_t features) {
  if (page_poison_value() == 0)
    features &= ~BIT(VIRTIO_BALLOON_F_PAGE_POISON);
  else if (!(features & BIT(VIRTIO_BALLOON_F_PAGE_POISON)))
    features &= ~BIT(VIRTIO_BALLOON_F_REPORTING);
  return bootargs.reporting_ms == 0 ? features & ~BIT(VIRTIO_BALLOON_F_REPORTING) : features;
}

static err_t set_up_reporting(struct virtio_device *d) {
  balloon.reporting = NULL;
  if (virtio_has(d, VIRTIO_BALLOON_F_PAGE_POISON))
    virtio_config_write32(d, offsetof(struct virtio_balloon_config, poison_val), page_poison_value());
  if (!virtio_has(d, VIRTIO_BALLOON_F_REPORTING))
    return ERR_OK;
  err_t e = virtio_queue_setup(d, BALLOON_QUEUE_REPORTING, VQ_CHAIN_MAX, &balloon.reporting);
  if (e == ERR_OK) {
    balloon.reporting->indirect = false;
    vq_disable_interrupts(balloon.reporting);
  }
  return e;
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
  if (e == ERR_OK)
    e = set_up_reporting(d);
  if (e != ERR_OK)
    return e;
  vq_disable_interrupts(balloon.inflate);
  vq_disable_interrupts(balloon.deflate);
  return ERR_OK;
}

static void start(struct virtio_device *d) {
  vlock_acquire(&balloon.lock);
  balloon.device = d;
  balloon_ask();
  balloon.reports = balloon.reporting != NULL;
  if (balloon.stats)
    balloon_send_stats();
  vlock_release(&balloon.lock);
  balloon_wake();
}

static void used(struct virtio_device *d) {
  (void)d;
  balloon_wake();
}

static void config_changed(struct virtio_device *d) {
  (void)d;
  balloon_ask();
  balloon_wake();
}

static void lost(struct virtio_device *d) {
  (void)d;
  vlock_acquire(&balloon.lock);
  balloon.device = NULL;
  balloon.inflate = balloon.deflate = balloon.stats = balloon.reporting = NULL;
  balloon.reports = false;
  balloon.orphaned = true;
  vlock_release(&balloon.lock);
  balloon_wake();
}

const struct virtio_driver virtio_balloon_driver = {
    .name = "virtio-balloon",
    .device_id = VIRTIO_ID_BALLOON,
    .features = BIT(VIRTIO_BALLOON_F_MUST_TELL_HOST) | BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
                BIT(VIRTIO_BALLOON_F_PAGE_POISON) | BIT(VIRTIO_BALLOON_F_REPORTING) | BIT(VIRTIO_BALLOON_F_SLUICE_RANGES),
    .choose = choose,
    .probe = probe,
    .start = start,
    .used = used,
    .config_changed = config_changed,
    .lost = lost,
};
