/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the memory core does ahead of need: `background` shows it, `background wait` waits for the zeroed pool to be full, `background
 * check` fails unless the pool's account is right and so many frames of it were given to faults and given back for want of memory.
 */

#include "core/string.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/mem/background.h"

#define WAIT_MS 10000u

typedef unsigned long long ull;

static enum work_result show(void) {
  struct background_stats b;
  struct zero_pool_info p;
  background_read(&b);
  page_zero_pool_read(&p);
  hyp_printf("background: woken %llu times; %llu steps by idle CPUs, %llu between guests' slices\n", (ull)b.wakes, (ull)b.idle_steps,
             (ull)b.work_steps);
  hyp_printf("background: zeroed pool: %llu of %llu frames, %llu single, %llu blocks of 2 MiB\n", (ull)page_zero_pool_frames(),
             (ull)p.limit, (ull)p.frames, (ull)p.pageblocks);
  hyp_printf("background: zeroed pool: %llu frames zeroed so far, %llu taken, %llu given back\n", (ull)p.filled, (ull)p.taken,
             (ull)p.dropped);
  return WORK_DONE;
}

static enum work_result wait_full(struct session *s) {
  if (s->deadline == ~(uint64_t)0)
    session_wait_at_most(s, WAIT_MS);
  struct zero_pool_info p;
  page_zero_pool_read(&p);
  if (p.limit == 0)
    return session_fail_done(s, "there is no zeroed pool");
  if (p.frames + p.pageblocks * PAGEBLOCK_FRAMES < p.limit) {
    if (session_may_wait(s))
      return WORK_WAIT;
    return session_fail_done(s, "the zeroed pool has %llu frames of %llu", (ull)page_zero_pool_frames(), (ull)p.limit);
  }
  hyp_printf("sluice: background: the zeroed pool is full: %llu frames, %llu single, %llu blocks of 2 MiB\n", (ull)p.limit, (ull)p.frames,
             (ull)p.pageblocks);
  return WORK_DONE;
}

/* The three counts are read one after the other while CPUs may be at work: they must fit in the end. */
static bool account_is_right(const struct zero_pool_info *p) {
  return p->filled == p->taken + p->dropped + p->frames + p->pageblocks * PAGEBLOCK_FRAMES;
}

static enum work_result check(struct session *s) {
  uint64_t taken, dropped = 0;
  struct zero_pool_info p;
  if (s->argc < 3)
    return session_fail_done(s, "how many frames?");
  if (!session_number(s, 2, &taken) || (s->argc == 4 && !session_number(s, 3, &dropped)))
    return WORK_DONE;
  page_zero_pool_read(&p);
  if (!account_is_right(&p) && s->phase++ < 1000)
    return session_wait_ms(s, 1);
  if (!account_is_right(&p))
    return session_fail_done(s, "%llu frames zeroed, but %llu taken, %llu given back, %llu there", (ull)p.filled, (ull)p.taken,
                             (ull)p.dropped, (ull)page_zero_pool_frames());
  if (p.taken < taken || p.dropped < dropped)
    return session_fail_done(s, "only %llu frames taken and %llu given back", (ull)p.taken, (ull)p.dropped);
  hyp_printf("sluice: background: at least %llu zeroed frames taken and %llu given back\n", (ull)taken, (ull)dropped);
  return WORK_DONE;
}

static enum work_result cmd_background(struct session *s) {
  if (s->argc == 1)
    return show();
  if (strcmp(s->argv[1], "wait") == 0)
    return wait_full(s);
  if (strcmp(s->argv[1], "check") == 0)
    return check(s);
  return session_fail_done(s, "wait or check?");
}

const struct command monitor_background_commands[] = {
    {"background", "[wait | check TAKEN [GIVEN-BACK]]", "what is done ahead of need, and the zeroed pool", cmd_background, 0, 3},
    {0},
};
