/* SPDX-License-Identifier: BSD-2-Clause */
/* Clocks and sleeping. All wall clocks count from boot: the machine has no calendar. */
#include "abi/linux.h"
#include "guest/drivers/timer.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/uaccess.h"

#define NS_PER_S 1000000000

static bool clock_is_known(uint64_t clock) {
  return clock <= LINUX_CLOCK_BOOTTIME && clock != 3; /* 3 is per-thread time */
}

int64_t sys_sched_yield(void) {
  if (sched_others_ready())
    schedule();
  return 0;
}

static uint64_t clock_ticks(uint64_t clock) {
  const struct task *t = current_task();
  return clock == LINUX_CLOCK_PROCESS_CPUTIME ? t->cpu_ticks + timer_now() - t->run_since : timer_now();
}

int64_t sys_clock_gettime(uint64_t clock, uint64_t ts) {
  if (!clock_is_known(clock))
    return -LINUX_EINVAL;
  uint64_t ns = timer_ns(clock_ticks(clock));
  struct linux_timespec now = {(int64_t)(ns / NS_PER_S), (int64_t)(ns % NS_PER_S)};
  return errno_of(copy_to_user(ts, &now, sizeof now));
}

int64_t sys_clock_getres(uint64_t clock, uint64_t ts) {
  struct linux_timespec res = {0, (int64_t)(NS_PER_S / timer_hz) + (NS_PER_S % timer_hz != 0)};
  if (!clock_is_known(clock))
    return -LINUX_EINVAL;
  return ts == 0 ? 0 : errno_of(copy_to_user(ts, &res, sizeof res));
}

static int64_t sleep_until(uint64_t deadline) {
  struct task *t = current_task();
  vlock_acquire(&sched_lock);
  while (timer_now() < deadline && !(t->work & TASK_WORK_KILL))
    if (sched_sleep_until(deadline))
      break;
  vlock_release(&sched_lock);
  return 0;
}

/* No handler can interrupt a sleep, so nothing ever remains. */
int64_t sys_clock_nanosleep(uint64_t clock, uint64_t flags, uint64_t request, uint64_t remain) {
  struct linux_timespec ts;
  (void)remain;
  if (!clock_is_known(clock))
    return -LINUX_EINVAL;
  if (copy_from_user(&ts, request, sizeof ts) != ERR_OK)
    return -LINUX_EFAULT;
  if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= NS_PER_S)
    return -LINUX_EINVAL;
  uint64_t ticks = timer_ticks((uint64_t)ts.tv_sec, (uint64_t)ts.tv_nsec);
  return sleep_until((flags & LINUX_TIMER_ABSTIME) ? ticks : timer_now() + ticks);
}

int64_t sys_nanosleep(uint64_t request, uint64_t remain) {
  return sys_clock_nanosleep(LINUX_CLOCK_MONOTONIC, 0, request, remain);
}
