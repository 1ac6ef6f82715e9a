/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory core's background (include/mm/page_alloc.h; Linux: kswapd), which starts nothing by itself.
 *
 *   a CPU idles             page_background_step() while it is due: reclaim, and the zeroed pool. After each step the CPU looks for
 *                           interrupts and vCPUs again, so nobody who could run waits longer than a step
 *   the core calls wake()   page_reclaim_step() as EL2 work on CPU 0, which has its turn between guests' slices even if no CPU ever
 *                           idles; and a CPU that sleeps is woken to look
 *   something is left,      both again after RETRY_MS: somebody may have freed memory
 *   but cannot be done now
 *
 * A step is some 20,000 instructions; direct compaction and reclaim look for interrupts in between by relax(). No lock: `asked` and
 * `retry_at` are hints, and work.c takes care of the rest.
 */
#include "hyp/mem/background.h"
#include "core/bits.h"
#include "hyp/arch/gic.h"
#include "hyp/arch/timer.h"
#include "hyp/core/exit.h"
#include "hyp/core/runqueue.h"
#include "hyp/core/work.h"
#include "hyp/mem/compactd.h"
#include "hyp/mem/policyd.h"

#define RETRY_MS 10u

static struct work work;
static bool has_pool;
static uint32_t asked;                  /* the work has been woken, and is not through yet */
static uint64_t retry_at = TIMER_NEVER; /* CNTPCT */
static uint64_t wakes, idle_steps, work_steps;

/* A CPU that sleeps in WFI finds what is due when it is woken; which one does not matter. */
static void kick_an_idle_cpu(void) {
  uint64_t idle = atomic_load_relaxed(&sched_shared.idle) & ~BIT(this_cpu()->id);
  if (idle)
    gic_send_sgi(&cpus[bits_ffs(idle)], GIC_SGI_KICK);
}

/* Callers may hold any lock of EL2's but work.c's, which nobody allocates under. */
static void wake(void) {
  if (atomic_load_relaxed(&asked) != 0 || atomic_exchange(&asked, 1u) != 0)
    return;
  atomic_fetch_add_relaxed(&wakes, 1);
  kick_an_idle_cpu();
  compactd_wake();
  policyd_hint();
  work_wake(&work);
}

static void relax(void) {
  irq_poll(this_cpu());
}

/* EL2 has nothing of its own to reclaim but slabs, which the core knows. */
static const struct page_alloc_ops ops = {
    .wake_background = wake,
    .relax = relax,
};

static void retry_later(void) {
  uint64_t at = timer_now() + time_from_ms(RETRY_MS);
  if (atomic_load_relaxed(&retry_at) != TIMER_NEVER)
    return;
  atomic_store_relaxed(&retry_at, at);
  work_wake(&work);
}

bool background_idle_step(void) {
  err_t err = page_background_step();
  atomic_fetch_add_relaxed(&idle_steps, 1);
  if (err == ERR_NOMEM)
    retry_later();
  return err == ERR_AGAIN;
}

static enum work_result step(struct work *w) {
  err_t err = page_reclaim_step();
  atomic_fetch_add_relaxed(&work_steps, 1);
  if (err == ERR_AGAIN)
    return WORK_MORE;
  if (timer_now() >= atomic_load_relaxed(&retry_at)) {
    atomic_store_relaxed(&retry_at, TIMER_NEVER);
    page_background_hint();
  }
  if (err == ERR_OK)
    atomic_store_relaxed(&asked, 0u);
  w->wake_at = err == ERR_OK ? atomic_load_relaxed(&retry_at) : timer_now() + time_from_ms(RETRY_MS);
  return WORK_WAIT;
}

void background_init(uint64_t pool_bytes) {
  work.step = step;
  list_init(&work.node);
  page_set_alloc_ops(&ops);
  has_pool = pool_bytes != 0;
  if (has_pool)
    page_zero_pool_limit(pool_bytes >> PAGE_SHIFT);
}

bool background_has_pool(void) {
  return has_pool;
}

void background_read(struct background_stats *out) {
  *out = (struct background_stats){
      .wakes = atomic_load_relaxed(&wakes),
      .idle_steps = atomic_load_relaxed(&idle_steps),
      .work_steps = atomic_load_relaxed(&work_steps),
  };
}
