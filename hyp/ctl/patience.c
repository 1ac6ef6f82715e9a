/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a command waits for what is to come. Where time is a count of instructions that is what it says, and a run repeats; where it is
 * the host's, who may keep a CPU of the machine standing for as long as it has other work, it finds what never comes, not what is slow.
 */
#include "core/bits.h"
#include "hyp/arch/timer.h"
#include "hyp/core/work.h"
#include "hyp/ctl/monitor.h"

#define HOST_FACTOR 5u
#define HOST_LEAST_MS 10000u

bool session_time_is_counted(void) {
  static bool asked, counted;
  if (!asked)
    counted = timer_counts_instructions();
  asked = true;
  return counted;
}

void session_wait_at_most(struct session *s, uint64_t ms) {
  if (ms != 0 && !s->must_fail && !session_time_is_counted())
    ms = max_u64(ms * HOST_FACTOR, HOST_LEAST_MS);
  s->deadline = time_now() + time_from_ms(ms);
}

bool session_may_wait(struct session *s) {
  if (time_now() >= s->deadline)
    return false;
  (void)session_wait_ms(s, 1);
  return true;
}
