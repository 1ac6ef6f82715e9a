/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System calls beyond memory: what they return, right and wrong, and that processes do not disturb each other's registers, FP/SIMD ones
 * included. "systest: PASS" at the end.
 */
#include "user.h"

#define NO_PID 999999l

/* ---- Processes ---- */

static int exit_code(void *arg) {
  return (int)(long)arg;
}

static int spin_for_ever(void *arg) {
  (void)arg;
  while (sys_yield() == 0)
    ;
  return 1;
}

static int sleep_for_ever(void *arg) {
  (void)arg;
  while (sys_yield() == 0)
    sleep_ms(1000000);
  return 1;
}

static void killed(int (*fn)(void *)) {
  int status = 0;
  long pid = sys_fork();
  if (pid == 0)
    sys_exit(fn(NULL));
  sleep_ms(5);
  EXPECT_EQ(sys_wait4(pid, &status, LINUX_WNOHANG), 0);
  EXPECT_EQ(sys_kill(pid, LINUX_SIGKILL), 0);
  EXPECT_EQ(sys_wait4(pid, &status, 0), pid);
  EXPECT_EQ(status, LINUX_SIGKILL);
  EXPECT_EQ(sys_kill(pid, LINUX_SIGKILL), -LINUX_ESRCH);
}

static void processes(void) {
  EXPECT_EQ(sys_wait4(-1, NULL, 0), -LINUX_ECHILD);
  EXPECT_EQ(sys_wait4(NO_PID, NULL, 0), -LINUX_ECHILD);
  EXPECT_EQ(sys_wait4(-1, NULL, LINUX_WNOHANG), -LINUX_ECHILD);
  EXPECT_EQ(sys_wait4(-1, NULL, 0x40), -LINUX_EINVAL);
  EXPECT_EQ(in_child(exit_code, (void *)42), 42 << 8);
  EXPECT_EQ(in_child(exit_code, (void *)0x1ff), 0xff << 8);
  EXPECT_EQ(sys_kill(NO_PID, 0), -LINUX_ESRCH);
  EXPECT_EQ(syscall6(LINUX_NR_clone, 0x00010f00, 0, 0, 0, 0, 0), -LINUX_EINVAL); /* threads are refused */
  killed(spin_for_ever);
  killed(sleep_for_ever);
}

static int leave_orphan(void *arg) {
  if (sys_fork() == 0) {
    for (int i = 0; i < 1000 && syscall0(LINUX_NR_getppid) != 1; i++)
      sleep_ms(1);
    *(volatile long *)arg = syscall0(LINUX_NR_getppid);
    sys_exit(0);
  }
  return 0;
}

static void orphans(void) {
  volatile long *parent = sys_mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  *parent = 0;
  EXPECT_EQ(in_child(leave_orphan, (void *)(uintptr_t)parent), 0);
  for (int i = 0; i < 1000 && *parent == 0; i++)
    sleep_ms(2);
  EXPECT_EQ(*parent, 1);
}

/* CLONE_VM | CLONE_VFORK: the child's writes are the parent's, and the parent waits until it has exec'd or gone. */
static void vfork_shares(void) {
  static volatile int seen;
  struct linux_rusage usage = {0};
  int status = 0;
  static unsigned char stack[4096] __attribute__((aligned(16)));
  register long x8 __asm__("x8") = LINUX_NR_clone;
  register long x0 __asm__("x0") = LINUX_CLONE_VM | LINUX_CLONE_VFORK | LINUX_SIGCHLD;
  register long x1 __asm__("x1") = (long)(stack + sizeof stack);
  register volatile int *x9 __asm__("x9") = &seen;
  __asm__ volatile("svc #0\n\t"
                   "cbnz x0, 1f\n\t"
                   "mov w10, #77\n\tstr w10, [x9]\n\t"
                   "mov x0, #7\n\tmov x8, #93\n\tsvc #0\n"
                   "1:"
                   : "+r"(x0), "+r"(x8)
                   : "r"(x1), "r"(x9)
                   : "x10", "memory");
  long pid = x0; /* the register is gone with the next call */
  EXPECT_EQ(seen, 77);
  EXPECT_EQ(sys_wait4_usage(pid, &status, 0, &usage), pid);
  expect(usage.ru_minflt < 5, "faults of a vfork's child", (unsigned long)usage.ru_minflt, 5); /* not its parent's */
  EXPECT_EQ(status, 7 << 8);
}

/* ---- What processes have used ---- */

#define TOUCHED 100l
#define CPU_MS 30

static void touch_pages(long pages) {
  volatile char *p = sys_mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  for (long i = 0; i < pages; i++)
    p[i * (long)PAGE] = 1;
  EXPECT_EQ(sys_munmap((void *)(uintptr_t)p, (size_t)pages * PAGE), 0);
}

static uint64_t cpu_ns(void) {
  struct linux_timespec t = {0, 0};
  EXPECT_EQ(syscall2(LINUX_NR_clock_gettime, LINUX_CLOCK_PROCESS_CPUTIME, &t), 0);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static long ru_us(const int64_t time[2]) {
  return time[0] * 1000000 + time[1];
}

static int use_memory(void *arg) {
  touch_pages((long)arg);
  return 0;
}

/* What was used before exec counts too, and so does what a child of the child used. */
static int use_and_exec(void *arg) {
  char *argv[] = {arg, NULL};
  touch_pages(TOUCHED);
  return (int)sys_execve(arg, argv, environ);
}

static int use_by_child(void *arg) {
  return in_child(use_memory, arg);
}

static int use_cpu(void *arg) {
  while (cpu_ns() < (uint64_t)CPU_MS * 1000000)
    (void)arg;
  return 0;
}

static int sleep_often(void *arg) {
  for (long i = 0; i < (long)arg; i++)
    sleep_ms(1);
  return 0;
}

static struct linux_rusage usage_of(int (*fn)(void *), void *arg) {
  struct linux_rusage usage = {0};
  int status = -1;
  long pid = sys_fork();
  if (pid == 0)
    sys_exit(fn(arg));
  EXPECT_EQ(sys_wait4_usage(pid, &status, 0, &usage), pid);
  EXPECT_EQ(status, 0);
  return usage;
}

static void at_least(const char *what, long got, long want) {
  expect(got >= want, what, (unsigned long)got, (unsigned long)want);
}

static void memory_used(const char *by, int (*fn)(void *), void *arg) {
  struct linux_rusage before, after, usage;
  EXPECT_EQ(sys_getrusage(LINUX_RUSAGE_CHILDREN, &before), 0);
  usage = usage_of(fn, arg);
  EXPECT_EQ(sys_getrusage(LINUX_RUSAGE_CHILDREN, &after), 0);
  at_least(by, usage.ru_minflt, TOUCHED);
  at_least(by, 2 * TOUCHED, usage.ru_minflt);
  at_least(by, usage.ru_maxrss, TOUCHED * 4);
  at_least(by, TOUCHED * 8, usage.ru_maxrss);
  EXPECT_EQ(usage.ru_majflt, 0);
  EXPECT_EQ(after.ru_minflt - before.ru_minflt, usage.ru_minflt);
  at_least(by, after.ru_maxrss, usage.ru_maxrss);
}

/* Three that only compute, on at most two CPUs: each gets its time, and some must have been taken off a CPU. */
static void cpu_used(void) {
  struct linux_rusage before, after;
  long pid[3];
  EXPECT_EQ(sys_getrusage(LINUX_RUSAGE_CHILDREN, &before), 0);
  for (int i = 0; i < 3; i++) {
    pid[i] = sys_fork();
    if (pid[i] == 0)
      sys_exit(use_cpu(NULL));
  }
  for (int i = 0; i < 3; i++) {
    struct linux_rusage usage = {0};
    EXPECT_EQ(sys_wait4_usage(pid[i], NULL, 0, &usage), pid[i]);
    at_least("us of CPU", ru_us(usage.ru_utime) + ru_us(usage.ru_stime), CPU_MS * 1000);
  }
  EXPECT_EQ(sys_getrusage(LINUX_RUSAGE_CHILDREN, &after), 0);
  at_least("us of three", ru_us(after.ru_utime) - ru_us(before.ru_utime), 3 * CPU_MS * 1000);
  at_least("forced switches", after.ru_nivcsw - before.ru_nivcsw, 1);
}

/* Like Linux: the child is gone even if nobody can be told of it, and nothing is told of one that still runs. */
static void usage_refused(void) {
  struct linux_rusage usage = {.ru_minflt = 77};
  long pid = sys_fork();
  if (pid == 0)
    sys_exit(sleep_often((void *)10));
  EXPECT_EQ(sys_wait4_usage(pid, NULL, LINUX_WNOHANG, &usage), 0);
  EXPECT_EQ(usage.ru_minflt, 77);
  EXPECT_EQ(sys_wait4_usage(pid, NULL, 0, (struct linux_rusage *)16), -LINUX_EFAULT);
  EXPECT_EQ(sys_wait4(pid, NULL, 0), -LINUX_ECHILD);
  EXPECT_EQ(sys_getrusage(LINUX_RUSAGE_SELF, (struct linux_rusage *)16), -LINUX_EFAULT);
  EXPECT_EQ(sys_getrusage(2, &usage), -LINUX_EINVAL);
}

static void usage(void) {
  static char there[] = "/bin/true";
  struct linux_rusage slept = usage_of(sleep_often, (void *)5);
  at_least("voluntary switches", slept.ru_nvcsw, 5);
  memory_used("used by a child", use_memory, (void *)TOUCHED);
  memory_used("used before exec", use_and_exec, there);
  memory_used("used by a child's child", use_by_child, (void *)TOUCHED);
  cpu_used();
  usage_refused();
}

/* ---- exec ---- */

static int exec_true(void *arg) {
  char *argv[] = {arg, NULL};
  return (int)sys_execve(arg, argv, environ);
}

static void exec_errors(void) {
  static char nowhere[] = "/bin/nowhere", there[] = "/bin/true";
  char *argv[] = {nowhere, NULL};
  EXPECT_EQ(sys_execve(nowhere, argv, environ), -LINUX_ENOENT);
  EXPECT_EQ(sys_execve((char *)16, argv, environ), -LINUX_EFAULT);
  EXPECT_EQ(sys_execve(there, (char **)16, environ), -LINUX_EFAULT);
  EXPECT_EQ(in_child(exec_true, there), 0);
}

/* ---- Time ---- */

static void sleeping(void) {
  struct linux_timespec bad = {0, 1000000000}, negative = {-1, 0}, none = {0, 0};
  uint64_t before = now_ns();
  sleep_ms(30);
  uint64_t slept = now_ns() - before;
  expect(slept >= 30000000, "ns slept", slept, 30000000);
  EXPECT_EQ(syscall2(LINUX_NR_nanosleep, &bad, 0), -LINUX_EINVAL);
  EXPECT_EQ(syscall2(LINUX_NR_nanosleep, &negative, 0), -LINUX_EINVAL);
  EXPECT_EQ(syscall2(LINUX_NR_nanosleep, &none, 0), 0);
  EXPECT_EQ(syscall2(LINUX_NR_nanosleep, 0, 0), -LINUX_EFAULT);
  EXPECT_EQ(syscall2(LINUX_NR_clock_gettime, 77, &bad), -LINUX_EINVAL);
}

/* ---- Arguments ---- */

static void bad_arguments(void) {
  EXPECT_EQ(syscall0(77), -LINUX_ENOSYS);
  EXPECT_EQ(syscall0(299), -LINUX_ENOSYS);
  EXPECT_EQ(syscall0(100000), -LINUX_ENOSYS);
  EXPECT_EQ(syscall0(-1), -LINUX_ENOSYS);
  EXPECT_EQ(sys_write(5, "x", 1), -LINUX_EBADF);
  EXPECT_EQ(sys_read(-1, NULL, 1), -LINUX_EBADF);
  EXPECT_EQ(sys_write(1, NULL, 0), 0);
  EXPECT_EQ(sys_mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS), -LINUX_EINVAL);
  EXPECT_EQ(sys_mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS), -LINUX_EINVAL);
  EXPECT_EQ(sys_mmap((void *)0x1234, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), -LINUX_EINVAL);
  EXPECT_EQ(sys_mmap(NULL, 1ul << 50, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS), -LINUX_ENOMEM);
  EXPECT_EQ(sys_munmap((void *)1, PAGE), -LINUX_EINVAL);
  EXPECT_EQ(sys_mprotect((void *)0x20000, PAGE, PROT_READ), -LINUX_ENOMEM);
}

/* Every call number with wild arguments: whatever it answers, this process and the kernel live. Those that end or wait are left out. */
static int wild_calls(void *arg) {
  (void)arg;
  static const long wild[] = {0, 1, -1, 0x7ffffff000, (long)0xffffffc000000000ul, 0x1000};
  for (long nr = 0; nr < 320; nr++) {
    if (nr == LINUX_NR_exit || nr == LINUX_NR_exit_group || nr == LINUX_NR_clone || nr == LINUX_NR_munmap || nr == LINUX_NR_mprotect ||
        nr == LINUX_NR_kill || nr == LINUX_NR_tgkill || nr == LINUX_NR_read || nr == LINUX_NR_write || nr == LINUX_NR_writev ||
        nr == LINUX_NR_mmap || nr == LINUX_NR_nanosleep || nr == LINUX_NR_clock_nanosleep || nr == LINUX_NR_madvise || nr == LINUX_NR_brk ||
        nr == LINUX_NR_wait4)
      continue;
    for (unsigned i = 0; i < sizeof wild / sizeof wild[0]; i++)
      if (wild[i] != 0x7ffffff000) /* our own stack: what is written there is ours to lose, but not now */
        syscall6(nr, wild[i], wild[(i + 1) % 3], wild[i], wild[i], wild[i], wild[i]);
  }
  return 0;
}

/* ---- FP/SIMD ---- */

/* guest/user/lib/fp_check.S */
bool fp_survives_yield(unsigned long seed);
void fp_put(unsigned long value);
unsigned long fp_get(void);

static int fp_worker(void *arg) {
  unsigned long seed = (unsigned long)arg;
  for (unsigned i = 0; i < 25; i++)
    if (!fp_survives_yield(seed + i))
      return 1;
  return 0;
}

static int fp_child(void *arg) {
  return fp_get() != (unsigned long)arg;
}

static void fp(void) {
  long pid[3];
  int status = -1;
  for (unsigned long i = 0; i < 3; i++) {
    pid[i] = sys_fork();
    if (pid[i] == 0)
      sys_exit(fp_worker((void *)(i * 0x123456789)));
  }
  for (int i = 0; i < 3; i++) {
    EXPECT_EQ(sys_wait4(pid[i], &status, 0), pid[i]);
    EXPECT_EQ(status, 0);
  }
  fp_put(0x1234567);
  EXPECT_EQ(in_child(fp_child, (void *)0x1234567), 0);
}

int main(int argc, char **argv, char **envp) {
  (void)argc, (void)argv, (void)envp;
  processes();
  orphans();
  vfork_shares();
  usage();
  exec_errors();
  sleeping();
  bad_arguments();
  EXPECT_EQ(in_child(wild_calls, NULL), 0);
  fp();
  return verdict("systest");
}
