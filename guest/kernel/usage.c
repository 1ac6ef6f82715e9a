/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What processes have used, for getrusage and wait4. A task counts its run time and its switches itself (sched.c); faults and resident
 * pages are counted by its address space, and are kept here when it leaves one, by exec or at its end. A parent takes over what a child has
 * used, and what that child had taken over from its own, when it waits for it. Frames of page tables are not resident pages, nor are they
 * in Linux.
 */
#include "abi/linux.h"
#include "core/bits.h"
#include "core/string.h"
#include "guest/drivers/timer.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/uaccess.h"
#include "guest/vm/vm.h"

/* Read without mmap_lock: `t` is current, so nobody else faults there (a vfork child's parent waits). */
void task_keep_usage(struct task *t) {
  const struct mm_struct *mm = t->mm;
  if (mm == NULL)
    return;
  for (unsigned k = 0; k < FAULT_KINDS; k++)
    t->faults[k] += mm->faults[k];
  t->maxrss_pages = max_u64(t->maxrss_pages, mm_hiwater_rss(mm));
}

void task_usage(const struct task *t, struct usage *out) {
  const struct mm_struct *mm = t->mm;
  out->ticks = t->cpu_ticks + (t->state == TASK_ZOMBIE ? 0 : timer_now() - t->run_since);
  out->minor_faults = 0;
  for (unsigned k = FAULT_ZERO_PAGE; k <= FAULT_SPURIOUS; k++)
    out->minor_faults += t->faults[k] + (mm != NULL ? mm->faults[k] : 0);
  out->voluntary_switches = t->switches[false];
  out->forced_switches = t->switches[true];
  out->maxrss_pages = max_u64(t->maxrss_pages, mm != NULL ? mm_hiwater_rss(mm) : 0);
}

void usage_add(struct usage *to, const struct usage *more) {
  to->ticks += more->ticks;
  to->minor_faults += more->minor_faults;
  to->voluntary_switches += more->voluntary_switches;
  to->forced_switches += more->forced_switches;
  to->maxrss_pages = max_u64(to->maxrss_pages, more->maxrss_pages);
}

void task_usage_with_children(const struct task *zombie, struct usage *out) {
  task_usage(zombie, out);
  usage_add(out, &zombie->children_used);
}

static void set_time(int64_t to[2], uint64_t ticks) {
  uint64_t ns = timer_ns(ticks);
  to[0] = (int64_t)(ns / 1000000000);
  to[1] = (int64_t)(ns % 1000000000 / 1000);
}

int64_t usage_to_user(uint64_t user, const struct usage *usage) {
  struct linux_rusage ru;
  memset(&ru, 0, sizeof ru);
  set_time(ru.ru_utime, usage->ticks);
  ru.ru_maxrss = (int64_t)(usage->maxrss_pages * (PAGE_SIZE / 1024));
  ru.ru_minflt = (int64_t)usage->minor_faults;
  ru.ru_nvcsw = (int64_t)usage->voluntary_switches;
  ru.ru_nivcsw = (int64_t)usage->forced_switches;
  return errno_of(copy_to_user(user, &ru, sizeof ru));
}

int64_t sys_getrusage(int64_t who, uint64_t buf) {
  struct task *t = current_task();
  struct usage usage;
  switch ((int32_t)who) {
  case LINUX_RUSAGE_SELF:
  case LINUX_RUSAGE_THREAD: /* processes have one */
    task_usage(t, &usage);
    return usage_to_user(buf, &usage);
  case LINUX_RUSAGE_CHILDREN:
    return usage_to_user(buf, &t->children_used);
  default:
    return -LINUX_EINVAL;
  }
}
