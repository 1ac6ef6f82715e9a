/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a page and a block cost, from the giver's call to the taker's answer: both calls, as each guest's counter saw them, amortised over
 * one region.
 */
#include "handover.h"

#define PAGE 4096ull
#define PAGES 512u
#define BLOCKS 32u
#define SCATTERED 512u

static struct ffa_constituent scattered[SCATTERED];
static bool ready; /* all RAM is there: nothing needs to be filled */

static void report(const char *before, const char *row, uint64_t ticks, uint64_t units) {
  put_str(before);
  put_str(row);
  put_char(' ');
  put_tenths((ticks * (10000000000u / sysreg_read(cntfrq_el0)) + units / 2) / units);
  put_char('\n');
}

static void measure(const char *row, uint32_t fid, const struct ffa_constituent *ranges, uint32_t count, uint32_t pages, uint64_t units) {
  static uint64_t next;
  uint64_t handle = 0, at = (next ? next : self.ram_end + 512 * PAGE), ticks;
  uint8_t permissions = fid == FFA_MEM_DONATE_32 ? 0 : FFA_DATA_RW;
  for (uint32_t i = 0; i < count && !ready; i++)
    fill(ranges[i].address, ranges[i].pages, 0, 7);
  int64_t s = ffa_give(fid, ranges, count, permissions, 0, &handle);
  ticks = ffa_last_ticks();
  if (s == 0)
    s = order((struct order){ORDER_RETRIEVE, handle, at, pages, FFA_DATA_RW});
  ticks += mailbox->ticks;
  if (s != 0)
    payload_fail(row, (uint64_t)s);
  report("bench: ", row, ticks, units);
  if (fid == FFA_MEM_DONATE_32) {
    next = at + pages * PAGE;
    return;
  }
  s = order((struct order){ORDER_RELINQUISH, handle, 0, 0, 0});
  ticks = mailbox->ticks;
  if (s == 0)
    s = ffa_reclaim(handle, 0);
  if (s != 0)
    payload_fail("the way back", (uint64_t)s);
  report("bench-note: and back: ", row, ticks + ffa_last_ticks(), units);
}

static void bench_blocks(uint64_t from) {
  struct ffa_constituent whole = {from, BLOCKS * 512, 0};
  measure("handover-share-2m", FFA_MEM_SHARE_32, &whole, 1, whole.pages, BLOCKS);
  measure("handover-lend-2m", FFA_MEM_LEND_32, &whole, 1, whole.pages, BLOCKS);
  measure("handover-donate-2m", FFA_MEM_DONATE_32, &whole, 1, whole.pages, BLOCKS);
}

static void bench_pages(uint64_t from) {
  struct ffa_constituent whole = {from, PAGES, 0};
  for (unsigned i = 0; i < SCATTERED; i++)
    scattered[i] = (struct ffa_constituent){from + (2 * i + 1024) * PAGE, 1, 0};
  measure("handover-share-4k", FFA_MEM_SHARE_32, &whole, 1, PAGES, PAGES);
  measure("handover-lend-4k", FFA_MEM_LEND_32, &whole, 1, PAGES, PAGES);
  measure("handover-donate-4k", FFA_MEM_DONATE_32, &whole, 1, PAGES, PAGES);
  measure("handover-donate-4k-scattered", FFA_MEM_DONATE_32, scattered, SCATTERED, SCATTERED, SCATTERED);
}

/* All RAM is there before; then somebody who watches EL2 has a moment to begin. */
static void get_ready(void) {
  for (uint64_t a = PAYLOAD_RAM_BASE + SZ_2M; a < self.ram_end; a += SZ_2M)
    (void)touch_write(a);
  ready = true;
  put_str("bench: ready\n");
  for (uint64_t until = payload_ticks() + sysreg_read(cntfrq_el0) / 100; payload_ticks() < until;)
    let_other_run();
}

void bench(uint64_t which) {
  uint64_t from = PAYLOAD_RAM_BASE + 64 * 512 * PAGE;
  if (which == BENCH_BOTH)
    get_ready();
  if (which != BENCH_PAGES)
    bench_blocks(from);
  if (which != BENCH_BLOCKS)
    bench_pages(which == BENCH_BOTH ? from - 40 * 512 * PAGE + 5 * PAGE : from);
  put_str("bench: done\n");
}
