/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel threads that move user pages while processes run (Linux: kcompactd).
 *
 *   compactd   every compact= milliseconds a full compaction of every zone, in steps of a few moves
 *   shuffled   every shuffle= milliseconds every user frame to another one, for no reason: so that a test sees each page move many times
 *
 * compactd lets others run after every step, if anybody is ready: it uses what nobody else wants, and an idle machine does all of it at
 * once. shuffled runs its slices to the end, as a process does. Neither holds a lock between steps. The kernel takes no interrupts, so they
 * look for them as the idle loop does.
 */
#include "guest/kernel/compactd.h"

#include "core/bits.h"
#include "guest/arch/machine.h"
#include "guest/drivers/timer.h"
#include "guest/kernel/bootargs.h"
#include "guest/kernel/console.h"
#include "guest/kernel/irq.h"
#include "guest/kernel/sched.h"
#include "guest/vm/vm.h"
#include "mm/compact.h"

#define MOVES_PER_STEP 16u

static uint64_t compactions; /* runs that found something to do; one writer */

static void let_others_run(void) {
  irq_poll();
  if (sched_others_ready())
    schedule();
}

static void run_slice(void) {
  irq_poll();
  if (current_task()->work & TASK_WORK_RESCHED)
    schedule();
}

static void sleep_ms(unsigned ms) {
  vlock_acquire(&sched_lock);
  sched_sleep_until(timer_now() + ms * timer_hz / 1000);
  vlock_release(&sched_lock);
}

/* ---- Compaction ---- */

static void compact_one_zone(unsigned zone) {
  static struct compact_run run; /* too large for the stack; there is one compactd */
  const struct compact_request request = {.mode = COMPACT_SYNC, .zone = zone, .order = PAGEBLOCK_ORDER, .owner = OWNER_USER};
  if (compact_begin(&run, &request) != ERR_OK)
    return; /* nothing to win */
  /* counted now: beside processes that never sleep it may take as long as they do */
  compactions++;
  while (compact_step(&run, MOVES_PER_STEP) == ERR_AGAIN)
    let_others_run();
  compact_end(&run);
}

static void compactd(void) {
  struct buddyinfo info;
  for (;;) {
    sleep_ms(bootargs.compact_ms);
    for (unsigned zone = 0; page_buddyinfo(zone, &info); zone++)
      compact_one_zone(zone);
  }
}

/* ---- Shuffling ---- */

static void move_anywhere(pfn_t from) {
  pfn_t to;
  if (frame_movable(from) != MOVE_DONE || page_alloc(0, ALLOC_MOVABLE, &to) != ERR_OK)
    return;
  if (frame_move(from, 0, to) != MOVE_DONE)
    page_free(to, 0);
}

static void shuffle_range(pfn_t f, pfn_t end) {
  for (unsigned n = 1; f.v < end.v; f = pfn_add(f, 1), n++) {
    if (frame_is_valid(f))
      move_anywhere(f);
    if (n % MOVES_PER_STEP == 0)
      run_slice();
  }
}

static void shuffled(void) {
  for (;;) {
    sleep_ms(bootargs.shuffle_ms);
    for (unsigned i = 0; i < machine.ram_count; i++)
      shuffle_range(machine.ram[i].start, machine.ram[i].end);
  }
}

/* ---- Both ---- */

static err_t start(const char *name, void (*fn)(void)) {
  struct task *t;
  err_t e = task_alloc(true, &t);
  if (e != ERR_OK)
    return e;
  task_set_name(t, name);
  task_set_entry(t, task_first_kernel, fn);
  sched_start(t);
  return ERR_OK;
}

err_t compactd_start(void) {
  err_t e = bootargs.compact_ms ? start("compactd", compactd) : ERR_OK;
  if (e == ERR_OK && bootargs.shuffle_ms)
    e = start("shuffled", shuffled);
  return e;
}

static uint64_t free_blocks_2m(void) {
  struct buddyinfo info;
  uint64_t blocks = 0;
  for (unsigned zone = 0; page_buddyinfo(zone, &info); zone++) {
    for (unsigned order = PAGEBLOCK_ORDER; order <= MAX_ORDER; order++)
      blocks += info.free_blocks[order] << (order - PAGEBLOCK_ORDER);
  }
  return blocks;
}

void compactd_report(void) {
  struct vm_move_stats s = vm_read_move_stats();
  if (bootargs.compact_ms || bootargs.shuffle_ms)
    kprintf("compact: %lu pages moved with %lu mappings, %lu compactions, %lu blocks of 2 MiB free\n", s.pages, s.mappings, compactions,
            free_blocks_2m());
}
