/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls that say who and what: ids, uname, fault counts, randomness. */
#include "abi/linux.h"
#include "arch/sysreg.h"
#include "core/bits.h"
#include "guest/arch/cpu.h"
#include "guest/kernel/random.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/syscall.h"
#include "guest/kernel/uaccess.h"
#include "guest/vm/vm.h"

int64_t sys_getpid(void) {
  return current_task()->pid;
}

int64_t sys_getppid(void) {
  vlock_acquire(&sched_lock);
  struct task *parent = current_task()->parent;
  uint32_t pid = parent != NULL ? parent->pid : 0;
  vlock_release(&sched_lock);
  return pid;
}

/* Everybody is root. */
int64_t sys_getuid(void) {
  return 0;
}

int64_t sys_set_tid_address(uint64_t tidptr) {
  (void)tidptr; /* cleared when a thread ends; there are no threads that could watch it */
  return current_task()->pid;
}

int64_t sys_uname(uint64_t buf) {
  static const struct linux_utsname name = {
      .sysname = "Sluice",
      .nodename = "guest",
      .release = "6.1.0-sluice", /* C libraries refuse a kernel that looks too old */
      .version = "#1",
      .machine = "aarch64",
      .domainname = "(none)",
  };
  return errno_of(copy_to_user(buf, &name, sizeof name));
}

int64_t sys_fault_counts(uint64_t buf, uint64_t bytes) {
  struct task *t = current_task();
  struct mm_stats s;
  uint64_t n[FAULT_KINDS];
  if (bytes > sizeof(struct sluice_fault_counts))
    return -LINUX_EINVAL;
  mm_read_stats(t->mm, &s);
  for (unsigned k = 0; k < FAULT_KINDS; k++)
    n[k] = t->faults[k] + s.faults[k];
  struct sluice_fault_counts counts = {
      .zero = n[FAULT_ZERO_PAGE],
      .anon = n[FAULT_ANON],
      .cow_zero = n[FAULT_COW_ZERO],
      .cow_copy = n[FAULT_COW_COPY],
      .cow_reuse = n[FAULT_COW_REUSE],
      .file = n[FAULT_FILE],
      .shared = n[FAULT_SHARED],
      .spurious = n[FAULT_SPURIOUS],
      .stack_grow = n[FAULT_STACK_GROW],
      .refused = n[FAULT_SEGV],
  };
  return errno_of(copy_to_user(buf, &counts, bytes));
}

int64_t sys_sched_getaffinity(int64_t pid, uint64_t bytes, uint64_t mask) {
  uint64_t all = BIT(cpu_count) - 1;
  if (bytes < sizeof all || bytes % sizeof all != 0)
    return -LINUX_EINVAL;
  if (pid != 0 && pid != current_task()->pid)
    return -LINUX_ESRCH;
  return copy_to_user(mask, &all, sizeof all) == ERR_OK ? (int64_t)sizeof all : -LINUX_EFAULT;
}

int64_t sys_getrandom(uint64_t buf, uint64_t bytes, uint64_t flags) {
  uint64_t done = 0;
  (void)flags;
  bytes = min_u64(bytes, 256);
  while (done < bytes) {
    uint64_t word = random_u64(), chunk = min_u64(bytes - done, sizeof word);
    if (copy_to_user(buf + done, &word, chunk) != ERR_OK)
      return -LINUX_EFAULT;
    done += chunk;
  }
  return (int64_t)done;
}
