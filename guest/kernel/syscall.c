/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system call table, looked up by vectors.S. Calls that are accepted without effect, and why that is honest:
 *
 *   rt_sigaction, rt_sigprocmask   only default actions exist: a fatal signal ends the process whatever is set here, and no signal is sent
 *                                  that a handler could catch
 *   set_robust_list                one thread per process: there is no futex another thread could be left waiting on
 *
 * What is not here answers ENOSYS.
 */
#include "guest/kernel/syscall.h"

#include "abi/linux.h"
#include "core/compiler.h"
#include "guest/arch/layout.h"

typedef void syscall_entry(void);
extern syscall_entry *const syscall_table[SYSCALLS_HIGH];

#define ENTRY(name_, handler_) [LINUX_NR_##name_] = (syscall_entry *)(handler_)

syscall_entry *const syscall_table[SYSCALLS_HIGH] = {
    ENTRY(ioctl, sys_ioctl),
    ENTRY(openat, sys_openat),
    ENTRY(close, sys_close),
    ENTRY(read, sys_read),
    ENTRY(write, sys_write),
    ENTRY(writev, sys_writev),
    ENTRY(readlinkat, sys_readlinkat),
    ENTRY(exit, sys_exit),
    ENTRY(exit_group, sys_exit),
    ENTRY(set_tid_address, sys_set_tid_address),
    ENTRY(set_robust_list, sys_accept),
    ENTRY(nanosleep, sys_nanosleep),
    ENTRY(clock_gettime, sys_clock_gettime),
    ENTRY(clock_getres, sys_clock_getres),
    ENTRY(clock_nanosleep, sys_clock_nanosleep),
    ENTRY(sched_getaffinity, sys_sched_getaffinity),
    ENTRY(sched_yield, sys_sched_yield),
    ENTRY(kill, sys_kill),
    ENTRY(tgkill, sys_tgkill),
    ENTRY(rt_sigaction, sys_accept),
    ENTRY(rt_sigprocmask, sys_accept),
    ENTRY(uname, sys_uname),
    ENTRY(getrusage, sys_getrusage),
    ENTRY(getpid, sys_getpid),
    ENTRY(getppid, sys_getppid),
    ENTRY(getuid, sys_getuid),
    ENTRY(geteuid, sys_getuid),
    ENTRY(getgid, sys_getuid),
    ENTRY(getegid, sys_getuid),
    ENTRY(gettid, sys_getpid),
    ENTRY(brk, sys_brk),
    ENTRY(munmap, sys_munmap),
    ENTRY(clone, sys_clone),
    ENTRY(execve, sys_execve),
    ENTRY(mmap, sys_mmap),
    ENTRY(mprotect, sys_mprotect),
    ENTRY(madvise, sys_madvise),
    ENTRY(wait4, sys_wait4),
    ENTRY(getrandom, sys_getrandom),
};

int64_t syscall_other(uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t number) {
  (void)a2, (void)a3, (void)a4, (void)a5;
  switch (number) {
  case SLUICE_NR_fault_counts:
    return sys_fault_counts(a0, a1);
  case SLUICE_NR_oom_score_adj:
    return sys_oom_score_adj((int64_t)a0);
  default:
    return -LINUX_ENOSYS;
  }
}

int64_t sys_accept(void) {
  return 0;
}
