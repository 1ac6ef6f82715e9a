/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ABI_LINUX_H
#define ABI_LINUX_H

/*
 * The part of the Linux AArch64 user ABI that the guest kernel and its own user programs share: system call numbers
 * (include/uapi/asm-generic/unistd.h), errno values, structures, auxiliary vector.
 */

#include <stdint.h>

#define LINUX_NR_ioctl 29
#define LINUX_NR_openat 56
#define LINUX_NR_close 57
#define LINUX_NR_read 63
#define LINUX_NR_write 64
#define LINUX_NR_writev 66
#define LINUX_NR_readlinkat 78
#define LINUX_NR_fstat 80
#define LINUX_NR_exit 93
#define LINUX_NR_exit_group 94
#define LINUX_NR_set_tid_address 96
#define LINUX_NR_futex 98
#define LINUX_NR_set_robust_list 99
#define LINUX_NR_nanosleep 101
#define LINUX_NR_clock_gettime 113
#define LINUX_NR_clock_getres 114
#define LINUX_NR_clock_nanosleep 115
#define LINUX_NR_sched_getaffinity 123
#define LINUX_NR_sched_yield 124
#define LINUX_NR_kill 129
#define LINUX_NR_tgkill 131
#define LINUX_NR_rt_sigaction 134
#define LINUX_NR_rt_sigprocmask 135
#define LINUX_NR_uname 160
#define LINUX_NR_getrusage 165
#define LINUX_NR_getpid 172
#define LINUX_NR_getppid 173
#define LINUX_NR_getuid 174
#define LINUX_NR_geteuid 175
#define LINUX_NR_getgid 176
#define LINUX_NR_getegid 177
#define LINUX_NR_gettid 178
#define LINUX_NR_brk 214
#define LINUX_NR_munmap 215
#define LINUX_NR_clone 220
#define LINUX_NR_execve 221
#define LINUX_NR_mmap 222
#define LINUX_NR_mprotect 226
#define LINUX_NR_madvise 233
#define LINUX_NR_wait4 260
#define LINUX_NR_prlimit64 261
#define LINUX_NR_getrandom 278

#define LINUX_EPERM 1
#define LINUX_ENOENT 2
#define LINUX_ESRCH 3
#define LINUX_EIO 5
#define LINUX_E2BIG 7
#define LINUX_ENOEXEC 8
#define LINUX_EBADF 9
#define LINUX_ECHILD 10
#define LINUX_EAGAIN 11
#define LINUX_ENOMEM 12
#define LINUX_EACCES 13
#define LINUX_EFAULT 14
#define LINUX_EBUSY 16
#define LINUX_EEXIST 17
#define LINUX_ENODEV 19
#define LINUX_EINVAL 22
#define LINUX_EMFILE 24
#define LINUX_ENOTTY 25
#define LINUX_ENOSPC 28
#define LINUX_ENOSYS 38
#define LINUX_EOVERFLOW 75

#define LINUX_SIGILL 4
#define LINUX_SIGTRAP 5
#define LINUX_SIGBUS 7
#define LINUX_SIGFPE 8
#define LINUX_SIGKILL 9
#define LINUX_SIGSEGV 11
#define LINUX_SIGCHLD 17
#define LINUX_SIG_MAX 64

#define LINUX_CLONE_VM 0x00000100u
#define LINUX_CLONE_VFORK 0x00004000u
#define LINUX_CLONE_PARENT_SETTID 0x00100000u
#define LINUX_CLONE_CHILD_CLEARTID 0x00200000u
#define LINUX_CLONE_CHILD_SETTID 0x01000000u

#define LINUX_AT_FDCWD (-100)
#define LINUX_O_RDONLY 00u
#define LINUX_O_WRONLY 01u
#define LINUX_O_RDWR 02u
#define LINUX_O_LARGEFILE 0400000u /* AArch64's own number, as in 32-bit Arm */
#define LINUX_O_SYNC 04010000u

#define LINUX_WNOHANG 1u
#define LINUX_WAIT_OPTIONS 0xe000000bu /* all that wait4 takes: WNOHANG, WUNTRACED, WCONTINUED, __WNOTHREAD, __WALL, __WCLONE */

#define LINUX_CLOCK_REALTIME 0
#define LINUX_CLOCK_MONOTONIC 1
#define LINUX_CLOCK_PROCESS_CPUTIME 2
#define LINUX_CLOCK_MONOTONIC_RAW 4
#define LINUX_CLOCK_REALTIME_COARSE 5
#define LINUX_CLOCK_MONOTONIC_COARSE 6
#define LINUX_CLOCK_BOOTTIME 7
#define LINUX_TIMER_ABSTIME 1u

#define LINUX_RUSAGE_SELF 0
#define LINUX_RUSAGE_CHILDREN (-1)
#define LINUX_RUSAGE_THREAD 1

#define LINUX_AT_NULL 0
#define LINUX_AT_PHDR 3
#define LINUX_AT_PHENT 4
#define LINUX_AT_PHNUM 5
#define LINUX_AT_PAGESZ 6
#define LINUX_AT_BASE 7
#define LINUX_AT_FLAGS 8
#define LINUX_AT_ENTRY 9
#define LINUX_AT_UID 11
#define LINUX_AT_EUID 12
#define LINUX_AT_GID 13
#define LINUX_AT_EGID 14
#define LINUX_AT_HWCAP 16
#define LINUX_AT_CLKTCK 17
#define LINUX_AT_SECURE 23
#define LINUX_AT_RANDOM 25
#define LINUX_AT_EXECFN 31

struct linux_timespec {
  int64_t tv_sec, tv_nsec;
};

struct linux_iovec {
  uint64_t base, len;
};

struct linux_rusage {
  int64_t ru_utime[2], ru_stime[2];
  int64_t ru_maxrss; /* KiB */
  int64_t ru_ixrss, ru_idrss, ru_isrss;
  int64_t ru_minflt, ru_majflt, ru_nswap, ru_inblock, ru_oublock, ru_msgsnd, ru_msgrcv, ru_nsignals;
  int64_t ru_nvcsw, ru_nivcsw;
};

struct linux_utsname {
  char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
};

/*
 * Calls of our own, far from Linux's numbers. fault_counts: copy the caller's fault counts by kind (struct sluice_fault_counts) to x0.
 * `bytes` in x1 says how much of the structure the caller knows. Returns 0, EFAULT or EINVAL. oom_score_adj: x0, -1000 to 1000, is what
 * Linux reads from /proc/self/oom_score_adj, a file that this kernel has not. Returns 0 or EINVAL.
 */
#define SLUICE_NR_fault_counts 0x5c00
#define SLUICE_NR_oom_score_adj 0x5c01

struct sluice_fault_counts {
  uint64_t zero;       /* anonymous read: the zero page */
  uint64_t anon;       /* anonymous write: a fresh page */
  uint64_t cow_zero;   /* write over the zero page */
  uint64_t cow_copy;   /* write to a page others hold too */
  uint64_t cow_reuse;  /* write to a page nobody else holds any more */
  uint64_t file;       /* private file page */
  uint64_t shared;     /* page of a shared object */
  uint64_t spurious;   /* nothing to do */
  uint64_t stack_grow; /* counted besides what followed */
  uint64_t refused;    /* EFAULT by the kernel's own access */
};

#endif
