/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a process for lack of memory (Linux: mm/oom_kill.c). Asked when a fault finds no frame after the allocator's slow path:
 * reclaim, and the balloon, have given what they had.
 *
 * The victim is the process whose end helps most (oom_badness(), guest/vm/oom.c), with all that share its address space; never init, never
 * a kernel thread, nor a child that still lives in its vfork parent's memory. It is killed as by SIGKILL: it runs to its end by itself,
 * which takes no memory, and gives its address space back there. Whoever asked waits for that, with no lock held, and tries again. One at a
 * time: while any process is on its way out, nobody else is killed. Each round ends at least one, so there is an end to it.
 *
 * If nobody may be killed, the one who asked ends; if that is init, so does the machine.
 * Lock: sched_lock covers `leaving`, `waiting` and what is read of tasks; an address space is left only under it.
 */
#include "guest/kernel/oom.h"

#include "abi/linux.h"
#include "core/string.h"
#include "guest/drivers/virtio/balloon.h"
#include "guest/kernel/console.h"
#include "guest/kernel/poweroff.h"
#include "guest/kernel/process.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/syscall.h"
#include "guest/vm/vm.h"
#include "mm/page_alloc.h"

#define RECLAIM_FRAMES 32u /* as much as the allocator's slow path asks for */

static unsigned leaving; /* tasks that are giving an address space back, or are about to */
static unsigned waiting; /* tasks that wait for them */

/* --- who ------------------------------------------------------------------------------------------------------------------------ */

static bool may_be_killed(const struct task *t) {
  return t->mm != NULL && t->pid != INIT_PID && !t->vfork_parent_waits;
}

/* sched_lock held. One that is to end anyhow comes first; of equals, the oldest. */
static struct task *select_bad_process(void) {
  struct task *worst = NULL;
  int64_t worst_points = OOM_NEVER;
  for (struct task *t = sched_next_task(NULL); t; t = sched_next_task(t)) {
    if (!may_be_killed(t))
      continue;
    if (t->work & TASK_WORK_KILL)
      return t;
    int64_t points = oom_badness(t->mm, t->oom_score_adj, ledger_total());
    if (points > worst_points) {
      worst = t;
      worst_points = points;
    }
  }
  return worst;
}

/* --- the killing ---------------------------------------------------------------------------------------------------------------- */

/* What the console is told about it when the lock is gone. */
struct obituary {
  uint32_t pid; /* 0: nobody was killed */
  int adj;
  uint64_t total_vm, rss[MM_RSS_KINDS], tables;
  char name[TASK_NAME_MAX];
};

static void write_obituary(struct obituary *o, const struct task *t) {
  *o = (struct obituary){.pid = t->pid, .adj = t->oom_score_adj, .total_vm = t->mm->total_vm, .tables = t->mm->pt.table_frames};
  for (unsigned kind = 0; kind < MM_RSS_KINDS; kind++)
    o->rss[kind] = t->mm->rss[kind];
  memcpy(o->name, t->name, sizeof o->name);
}

static void mark_victim(struct task *t) {
  if (!t->leaving)
    leaving++;
  t->leaving = true;
  if (!(t->work & TASK_WORK_KILL))
    process_kill(t, LINUX_SIGKILL);
}

/* sched_lock held, nobody is leaving. */
static void kill_somebody(struct obituary *o) {
  struct task *victim = select_bad_process();
  if (victim == NULL)
    victim = current_task();
  write_obituary(o, victim);
  for (struct task *t = sched_next_task(NULL); t; t = sched_next_task(t))
    if (t->mm == victim->mm)
      mark_victim(t);
}

static uint64_t kib(uint64_t pages) {
  return pages * (PAGE_SIZE / 1024);
}

static void report(const struct obituary *o) {
  kprintf("%s invoked oom-killer: %lu pages free\n", current_task()->name, page_free_frames());
  kprintf("Out of memory: Killed process %u (%s) total-vm:%lukB, anon-rss:%lukB, file-rss:%lukB, shmem-rss:%lukB, pgtables:%lukB "
          "oom_score_adj:%d\n",
          o->pid, o->name, kib(o->total_vm), kib(o->rss[MM_ANONPAGES]), kib(o->rss[MM_FILEPAGES]), kib(o->rss[MM_SHMEMPAGES]),
          kib(o->tables), o->adj);
}

/* --- waiting -------------------------------------------------------------------------------------------------------------------- */

/* Something has come up since the allocator gave up, or is about to: other CPUs empty their lists when they are asked. */
static bool there_is_some(void) {
  if (balloon_reclaim_waiting(RECLAIM_FRAMES) == 0 && page_spare_frames() == 0 && !page_drain_others())
    return false;
  port_relax();
  return true;
}

/* sched_lock held. */
static void wait_for_those_who_leave(void) {
  waiting++;
  while (leaving > 0 && !(current_task()->work & TASK_WORK_KILL))
    sched_block(WAIT_MEMORY);
  waiting--;
}

bool out_of_memory(void) {
  struct obituary o = {0};
  if (there_is_some())
    return true;
  vlock_acquire(&sched_lock);
  if (leaving == 0)
    kill_somebody(&o);
  vlock_release(&sched_lock);
  if (o.pid != 0)
    report(&o);
  vlock_acquire(&sched_lock);
  wait_for_those_who_leave();
  bool again = !(current_task()->work & TASK_WORK_KILL);
  vlock_release(&sched_lock);
  return again;
}

void oom_leave_begin(struct task *t) {
  if (!t->leaving)
    leaving++;
  t->leaving = true;
}

void oom_leave_end(void) {
  leaving--;
  if (leaving == 0 && waiting > 0)
    sched_wake_all(WAIT_MEMORY);
}

/* --- the process's own word ----------------------------------------------------------------------------------------------------- */

int64_t sys_oom_score_adj(int64_t adj) {
  if (adj < OOM_SCORE_ADJ_MIN || adj > OOM_SCORE_ADJ_MAX)
    return -LINUX_EINVAL;
  current_task()->oom_score_adj = (int16_t)adj;
  return 0;
}
