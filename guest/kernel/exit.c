/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a process and its parent's wait. A process gives its memory back itself, then stays as a zombie, struct and stack
 * only, until its parent has read its status. The zombie's block can be freed under sched_lock: it is held until the last switch is done.
 */
#include "abi/linux.h"
#include "core/check.h"
#include "core/string.h"
#include "guest/arch/exception.h"
#include "guest/arch/mmu.h"
#include "guest/kernel/fault.h"
#include "guest/kernel/files.h"
#include "guest/kernel/oom.h"
#include "guest/kernel/poweroff.h"
#include "guest/kernel/process.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/uaccess.h"
#include "guest/vm/vm.h"

/* Whoever needs memory meanwhile waits for it (oom.c). */
static void leave_mm(struct task *t) {
  struct mm_struct *mm = t->mm;
  mmu_switch_mm(NULL);
  vlock_acquire(&sched_lock);
  t->mm = NULL;
  oom_leave_begin(t);
  vlock_release(&sched_lock);
  mm_put(mm);
}

/* sched_lock held. Init gets the children; it is told of those that have ended already. */
static void give_children_away(struct task *t) {
  struct task *init = sched_find(INIT_PID);
  list_for_each_safe (n, next, &t->children) {
    struct task *child = list_entry(n, struct task, sibling);
    list_remove(n);
    child->parent = init;
    list_push_back(&init->children, n);
    if (child->state == TASK_ZOMBIE && init->wait_on == WAIT_CHILD)
      sched_wake(init);
  }
}

static void tell_parent(struct task *t) {
  struct task *parent = t->parent;
  bool waits = parent->wait_on == WAIT_CHILD || (t->vfork_parent_waits && parent->wait_on == WAIT_VFORK);
  t->vfork_parent_waits = false;
  if (waits)
    sched_wake(parent);
}

void process_exit(int32_t status) {
  struct task *t = current_task();
  faults_report_exit(t);
  files_exit(t);
  leave_mm(t);
  if (t->pid == INIT_PID)
    machine_finish(status);
  vlock_acquire(&sched_lock);
  oom_leave_end();
  give_children_away(t);
  t->exit_status = status;
  t->state = TASK_ZOMBIE;
  tell_parent(t);
  sched_leave();
}

/* A blocked victim is woken to die by itself on its way back to EL0. */
void process_kill(struct task *t, uint32_t signal) {
  t->kill_signal = signal;
  task_work_set(t, TASK_WORK_KILL);
  sched_wake(t);
}

void task_do_work(void) {
  struct task *t = current_task();
  if (t->work & TASK_WORK_KILL)
    process_exit((int32_t)t->kill_signal);
  if (t->work & TASK_WORK_RESCHED)
    schedule();
}

/* ---- wait4 ---- */

static bool is_waited_for(const struct task *child, int64_t pid) {
  return pid == -1 || pid == 0 || child->pid == pid; /* one process group: 0 means any */
}

/* sched_lock held. A zombie among the children that `pid` asks for; *any: there is some such child at all. */
static struct task *find_zombie(struct task *parent, int64_t pid, bool *any) {
  *any = false;
  list_for_each (n, &parent->children) {
    struct task *child = list_entry(n, struct task, sibling);
    if (!is_waited_for(child, pid))
      continue;
    *any = true;
    if (child->state == TASK_ZOMBIE)
      return child;
  }
  return NULL;
}

/* sched_lock held. */
static void reap(struct task *parent, struct task *child, struct usage *usage) {
  task_usage_with_children(child, usage);
  usage_add(&parent->children_used, usage);
  list_remove(&child->sibling);
  list_remove(&child->all_node);
  task_free(child);
}

int64_t sys_wait4(int64_t pid, uint64_t status_user, uint64_t options, uint64_t rusage) {
  struct task *t = current_task(), *zombie;
  struct usage usage;
  bool any;
  if (options & ~(uint64_t)LINUX_WAIT_OPTIONS)
    return -LINUX_EINVAL;
  vlock_acquire(&sched_lock);
  while ((zombie = find_zombie(t, pid, &any)) == NULL && any && !(options & LINUX_WNOHANG) && !(t->work & TASK_WORK_KILL))
    sched_block(WAIT_CHILD);
  if (zombie == NULL) {
    vlock_release(&sched_lock);
    return any ? 0 : -LINUX_ECHILD;
  }
  int64_t result = zombie->pid;
  int32_t status = zombie->exit_status;
  reap(t, zombie, &usage);
  vlock_release(&sched_lock);
  if (status_user != 0 && copy_to_user(status_user, &status, sizeof status) != ERR_OK)
    return -LINUX_EFAULT;
  if (rusage != 0 && usage_to_user(rusage, &usage) != 0)
    return -LINUX_EFAULT;
  return result;
}

int64_t sys_exit(uint64_t code) {
  process_exit((int32_t)(code & 0xff) << 8);
}

int64_t sys_kill(int64_t pid, uint64_t signal) {
  if (signal > LINUX_SIG_MAX)
    return -LINUX_EINVAL;
  vlock_acquire(&sched_lock);
  struct task *t = pid > 0 ? sched_find((uint32_t)pid) : NULL;
  if (t != NULL && signal != 0 && signal != LINUX_SIGCHLD && t->state != TASK_ZOMBIE)
    process_kill(t, (uint32_t)signal);
  vlock_release(&sched_lock);
  return t == NULL ? -LINUX_ESRCH : 0;
}

int64_t sys_tgkill(int64_t group, int64_t tid, uint64_t signal) {
  return group == tid ? sys_kill(tid, signal) : -LINUX_ESRCH;
}
