/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_USER_LIB_USER_H
#define GUEST_USER_LIB_USER_H

/*
 * All that our programs have instead of a C library. System calls return -errno, as the kernel does; there is no errno.
 */

#include "abi/linux.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096ul

int main(int argc, char **argv, char **envp);
extern char **environ;

/* ---- System calls ---- */

static inline long syscall6(long nr, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

#define syscall0(nr_) syscall6(nr_, 0, 0, 0, 0, 0, 0)
#define syscall1(nr_, a_) syscall6(nr_, (long)(a_), 0, 0, 0, 0, 0)
#define syscall2(nr_, a_, b_) syscall6(nr_, (long)(a_), (long)(b_), 0, 0, 0, 0)
#define syscall3(nr_, a_, b_, c_) syscall6(nr_, (long)(a_), (long)(b_), (long)(c_), 0, 0, 0)
#define syscall4(nr_, a_, b_, c_, d_) syscall6(nr_, (long)(a_), (long)(b_), (long)(c_), (long)(d_), 0, 0)

#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define PROT_EXEC 4
#define MAP_SHARED 1
#define MAP_PRIVATE 2
#define MAP_FIXED 0x10
#define MAP_ANONYMOUS 0x20
#define MAP_NORESERVE 0x4000
#define MADV_DONTNEED 4

static inline void *sys_mmap(void *addr, size_t bytes, int prot, int flags) {
  return (void *)syscall6(LINUX_NR_mmap, (long)addr, (long)bytes, prot, flags, -1, 0);
}

/* `fd` is an open device; `offset` in bytes. */
static inline void *sys_mmap_file(void *addr, size_t bytes, int prot, int flags, int fd, size_t offset) {
  return (void *)syscall6(LINUX_NR_mmap, (long)addr, (long)bytes, prot, flags, fd, (long)offset);
}

static inline bool is_error(const void *p) {
  return (unsigned long)p >= (unsigned long)-4095l;
}

static inline long sys_munmap(void *addr, size_t bytes) {
  return syscall2(LINUX_NR_munmap, addr, bytes);
}

static inline long sys_mprotect(void *addr, size_t bytes, int prot) {
  return syscall3(LINUX_NR_mprotect, addr, bytes, prot);
}

static inline long sys_madvise(void *addr, size_t bytes, int advice) {
  return syscall3(LINUX_NR_madvise, addr, bytes, advice);
}

static inline long sys_brk(unsigned long end) {
  return syscall1(LINUX_NR_brk, end);
}

static inline long sys_fork(void) {
  return syscall6(LINUX_NR_clone, LINUX_SIGCHLD, 0, 0, 0, 0, 0);
}

static inline long sys_execve(const char *path, char *const *argv, char *const *envp) {
  return syscall3(LINUX_NR_execve, path, argv, envp);
}

static inline long sys_wait4_usage(long pid, int *status, int options, struct linux_rusage *usage) {
  return syscall4(LINUX_NR_wait4, pid, status, options, usage);
}

static inline long sys_wait4(long pid, int *status, int options) {
  return sys_wait4_usage(pid, status, options, NULL);
}

static inline long sys_getrusage(int who, struct linux_rusage *usage) {
  return syscall2(LINUX_NR_getrusage, who, usage);
}

static inline long sys_open(const char *path, unsigned flags) {
  return syscall3(LINUX_NR_openat, LINUX_AT_FDCWD, path, flags);
}

static inline long sys_close(int fd) {
  return syscall1(LINUX_NR_close, fd);
}

static inline long sys_write(int fd, const void *buf, size_t bytes) {
  return syscall3(LINUX_NR_write, fd, buf, bytes);
}

static inline long sys_read(int fd, void *buf, size_t bytes) {
  return syscall3(LINUX_NR_read, fd, buf, bytes);
}

static inline long sys_getpid(void) {
  return syscall0(LINUX_NR_getpid);
}

static inline long sys_yield(void) {
  return syscall0(LINUX_NR_sched_yield);
}

static inline long sys_kill(long pid, int signal) {
  return syscall2(LINUX_NR_kill, pid, signal);
}

_Noreturn void sys_exit(int code);
void sleep_us(unsigned long us);
void sleep_ms(unsigned long ms);
uint64_t now_ns(void);

/* Wait status, as wait4 reports it. */
#define status_is_exit(s_) (((s_)&0x7f) == 0)
#define status_exit_code(s_) (((s_) >> 8) & 0xff)
#define status_signal(s_) ((s_)&0x7f)

/* ---- Text ---- */

size_t str_len(const char *s);
/* True if `s` begins with `prefix`. */
bool str_starts(const char *s, const char *prefix);
/* Decimal; stops at the first other character. */
unsigned long str_number(const char *s);
/* The value of an environment variable, or NULL. */
const char *env_get(const char *name);

/*
 * One write(2) a call, so that lines of several processes do not mix. %d %u %x %lu %lx %ld %s %c %p %%, width and 0. Cut at 511 characters.
 */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- Measuring and checking ---- */

static inline uint64_t ticks(void) {
  uint64_t v;
  __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(v)::"memory");
  return v;
}

static inline uint64_t ticks_per_second(void) {
  uint64_t v;
  __asm__("mrs %0, cntfrq_el0" : "=r"(v));
  return v;
}

/* This process's faults by kind, so far. */
struct sluice_fault_counts fault_counts(void);
/* getrusage's ru_minflt. */
unsigned long minor_faults(void);

/* Count what does not hold, with a line that says where. */
extern unsigned failures;
void expect(bool holds, const char *what, unsigned long got, unsigned long want);
#define EXPECT_EQ(got_, want_)                                                                                                             \
  do {                                                                                                                                     \
    unsigned long got__ = (unsigned long)(got_), want__ = (unsigned long)(want_);                                                          \
    expect(got__ == want__, #got_, got__, want__);                                                                                         \
  } while (0)
/* The last line of a checking program, and its exit code: "NAME: PASS" or "NAME: FAIL (n)". */
int verdict(const char *name);

/* Run `fn(arg)` in a child and return its wait status; the child exits with fn's result. -errno if it could not be made. */
int in_child(int (*fn)(void *), void *arg);

#endif
