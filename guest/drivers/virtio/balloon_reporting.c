/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free-page reporting (virtio 1.2, 5.5.6.7): whole free pageblocks are named to the device, which may take their memory until they are used
 * again (mm/page_reporting.h). Each report is one chain of buffers that the device could write, and is waited for: a device that does not
 * answer puts the thread to sleep until it is reset.
 *
 * When: the timer's interrupt and the idle loop look whether there is anything (balloon_poll()); `reporting=` milliseconds later, when more
 * may have come together, the thread reports all there is. What must stay because memory is short is looked at again after
 * BALLOON_RETRY_MS.
 *
 * Lock: balloon.lock for each look at the queue, which takes no memory for a chain (no indirect tables); none while a report is out.
 */
#include "core/atomic.h"
#include "core/bits.h"
#include "guest/drivers/timer.h"
#include "guest/drivers/virtio/balloon_priv.h"
#include "guest/kernel/bootargs.h"
#include "guest/kernel/irq.h"
#include "guest/kernel/sched.h"
#include "mm/page_reporting.h"

_Static_assert(PAGE_REPORTING_CAPACITY <= VQ_CHAIN_MAX, "a report is one chain");

static uint64_t in_ms(unsigned ms) {
  return timer_now() + ms * timer_hz / 1000;
}

static bool send(const struct vq_segment *segments, unsigned count) {
  vlock_acquire(&balloon.lock);
  bool sent = balloon.reporting != NULL && vq_add(balloon.reporting, segments, 0, count, &balloon) == ERR_OK;
  if (sent)
    vq_kick(balloon.reporting);
  vlock_release(&balloon.lock);
  return sent;
}

enum answer {
  ANSWERED,
  SILENT,
  LOST /* the device was reset: it knows nothing of the report any more */
};

static enum answer look(void) {
  vlock_acquire(&balloon.lock);
  enum answer a = balloon.reporting == NULL ? LOST : vq_get_used(balloon.reporting, NULL) != NULL ? ANSWERED : SILENT;
  vlock_release(&balloon.lock);
  return a;
}

/* However long that takes: what is named may be taken until then. */
static err_t report(const struct page_report *blocks, unsigned count) {
  struct vq_segment segments[PAGE_REPORTING_CAPACITY];
  enum answer answer;
  for (unsigned i = 0; i < count; i++)
    segments[i] = (struct vq_segment){pfn_pa(blocks[i].frame), (uint32_t)(PAGE_SIZE << blocks[i].order)};
  if (!send(segments, count))
    return ERR_IO;
  while ((answer = look()) == SILENT) {
    vlock_acquire(&sched_lock);
    (void)sched_sleep_until(in_ms(1));
    vlock_release(&sched_lock);
  }
  return answer == ANSWERED ? ERR_OK : ERR_IO;
}

void balloon_poll(void) {
  if (!balloon.reports || atomic_load_relaxed(&balloon.report_at) != 0 || page_reporting_pending() == 0)
    return;
  vlock_acquire(&sched_lock);
  if (balloon.report_at == 0) {
    atomic_store_relaxed(&balloon.report_at, in_ms(bootargs.reporting_ms));
    balloon_wake_locked();
  }
  vlock_release(&sched_lock);
}

void balloon_report_free(void) {
  static const struct page_reporting_ops ops = {.report = report};
  err_t err = ERR_AGAIN;
  if (!balloon.reports || balloon.report_at == 0 || timer_now() < balloon.report_at)
    return;
  while (balloon.reports && (err = page_reporting_step(&ops)) == ERR_AGAIN) {
    irq_poll();
    if (sched_others_ready())
      schedule();
  }
  vlock_acquire(&sched_lock);
  atomic_store_relaxed(&balloon.report_at, err == ERR_OK ? 0 : in_ms(BALLOON_RETRY_MS));
  vlock_release(&sched_lock);
}
