/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clone(2) as fork and vfork: a new process with a copy of the address space, or sharing it until it execs or ends (CLONE_VM with
 * CLONE_VFORK). Threads are refused. Everything that can fail comes before the child can be seen.
 */
#include "abi/linux.h"
#include "core/string.h"
#include "guest/kernel/files.h"
#include "guest/kernel/process.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/uaccess.h"
#include "guest/vm/vm.h"

#define CLONE_SIGNAL_MASK 0xffu
#define CLONE_KNOWN                                                                                                                        \
  (CLONE_SIGNAL_MASK | LINUX_CLONE_VM | LINUX_CLONE_VFORK | LINUX_CLONE_PARENT_SETTID | LINUX_CLONE_CHILD_CLEARTID |                       \
   LINUX_CLONE_CHILD_SETTID)

static err_t copy_mm(struct task *child, bool share) {
  struct mm_struct *mm = current_task()->mm;
  if (!share)
    return mm_fork(mm, &child->mm);
  mm_get(mm);
  for (unsigned k = 0; k < FAULT_KINDS; k++)
    child->faults[k] = -mm->faults[k]; /* those so far are its parent's: what is kept when it leaves counts from here */
  child->mm = mm;
  return ERR_OK;
}

/* The child returns 0 from the same system call. */
static void copy_registers(struct task *child, uint64_t stack) {
  struct trap_frame *f = task_frame(child);
  uint64_t sp_el0, tpidr;
  *f = *task_frame(current_task());
  f->x[0] = 0;
  __asm__ volatile("mrs %0, sp_el0\n\tmrs %1, tpidr_el0" : "=r"(sp_el0), "=r"(tpidr));
  child->context.sp_el0 = stack != 0 ? stack : sp_el0;
  child->context.tpidr_el0 = tpidr;
  task_set_entry(child, task_first_return, NULL);
}

static void join_family(struct task *child) {
  struct task *parent = current_task();
  vlock_acquire(&sched_lock);
  child->parent = parent;
  list_push_back(&parent->children, &child->sibling);
  vlock_release(&sched_lock);
}

static void wait_for_vfork(struct task *child, uint32_t pid) {
  vlock_acquire(&sched_lock);
  while (sched_find(pid) == child && child->vfork_parent_waits && !(current_task()->work & TASK_WORK_KILL))
    sched_block(WAIT_VFORK);
  vlock_release(&sched_lock);
}

int64_t sys_clone(uint64_t flags, uint64_t stack, uint64_t parent_tid, uint64_t tls, uint64_t child_tid) {
  struct task *child;
  (void)tls;
  bool vm = flags & LINUX_CLONE_VM, vfork = flags & LINUX_CLONE_VFORK;
  if ((flags & ~(uint64_t)CLONE_KNOWN) != 0 || (vm && !vfork))
    return -LINUX_EINVAL;
  err_t e = task_alloc(false, &child);
  if (e != ERR_OK)
    return errno_of(e);
  e = copy_mm(child, vm);
  if (e != ERR_OK) {
    task_free(child);
    return errno_of(e);
  }
  uint32_t pid = child->pid;
  child->oom_score_adj = current_task()->oom_score_adj;
  strlcpy(child->name, current_task()->name, sizeof child->name);
  files_fork(child);
  copy_registers(child, stack);
  fp_fork(child);
  if ((flags & LINUX_CLONE_CHILD_SETTID) && mm_write(child->mm, child_tid, &pid, sizeof pid) != ERR_OK)
    pid = child->pid; /* as Linux: the child just does not get its number */
  if (flags & LINUX_CLONE_PARENT_SETTID && copy_to_user(parent_tid, &pid, sizeof pid) != ERR_OK)
    pid = child->pid;
  child->vfork_parent_waits = vfork;
  join_family(child);
  sched_start(child);
  if (vfork)
    wait_for_vfork(child, pid);
  return pid;
}
