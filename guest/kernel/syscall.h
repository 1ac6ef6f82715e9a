/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_SYSCALL_H
#define GUEST_KERNEL_SYSCALL_H

/*
 * System calls by the Linux AArch64 ABI. Handlers take x0.. as they came and return what goes to x0: a value or -errno. They run
 * with interrupts masked on the task's kernel stack; task_frame(current_task()) is the caller's frame.
 */

#include "core/compiler.h"
#include "core/err.h"
#include "core/types.h"

/* -errno for an internal code: the only place where the two meet (errno.c). */
int64_t errno_of_error(err_t e);
static inline int64_t errno_of(err_t e) {
  return likely(e == ERR_OK) ? 0 : errno_of_error(e);
}

int64_t sys_getpid(void);
int64_t sys_getppid(void);
int64_t sys_getuid(void);
int64_t sys_set_tid_address(uint64_t tidptr);
int64_t sys_accept(void);
int64_t sys_uname(uint64_t buf);
int64_t sys_getrusage(int64_t who, uint64_t buf);
int64_t sys_sched_yield(void);
int64_t sys_sched_getaffinity(int64_t pid, uint64_t bytes, uint64_t mask);
int64_t sys_nanosleep(uint64_t request, uint64_t remain);
int64_t sys_clock_nanosleep(uint64_t clock, uint64_t flags, uint64_t request, uint64_t remain);
int64_t sys_clock_gettime(uint64_t clock, uint64_t ts);
int64_t sys_clock_getres(uint64_t clock, uint64_t ts);
int64_t sys_getrandom(uint64_t buf, uint64_t bytes, uint64_t flags);
int64_t sys_fault_counts(uint64_t buf, uint64_t bytes);
int64_t sys_oom_score_adj(int64_t adj);

int64_t sys_clone(uint64_t flags, uint64_t stack, uint64_t parent_tid, uint64_t tls, uint64_t child_tid);
int64_t sys_execve(uint64_t path, uint64_t argv, uint64_t envp);
int64_t sys_exit(uint64_t code);
int64_t sys_wait4(int64_t pid, uint64_t status_user, uint64_t options, uint64_t rusage);
int64_t sys_kill(int64_t pid, uint64_t signal);
int64_t sys_tgkill(int64_t group, int64_t tid, uint64_t signal);

int64_t sys_mmap(uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags, int64_t fd, uint64_t offset);
int64_t sys_munmap(uint64_t addr, uint64_t len);
int64_t sys_mprotect(uint64_t addr, uint64_t len, uint64_t prot);
int64_t sys_madvise(uint64_t addr, uint64_t len, int64_t advice);
int64_t sys_brk(uint64_t brk);

int64_t sys_openat(int64_t dir, uint64_t path, uint64_t flags);
int64_t sys_read(int64_t fd, uint64_t buf, uint64_t bytes);
int64_t sys_write(int64_t fd, uint64_t buf, uint64_t bytes);
int64_t sys_writev(int64_t fd, uint64_t iov, uint64_t count);
int64_t sys_ioctl(int64_t fd, uint64_t request, uint64_t arg);
int64_t sys_close(int64_t fd);
int64_t sys_readlinkat(int64_t dir, uint64_t path, uint64_t buf, uint64_t bytes);

/* For everything that syscall_table does not hold: x8 is the seventh argument. Called by assembly. */
int64_t syscall_other(uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t number);

#endif
