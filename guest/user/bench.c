/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the guest kernel costs, seen from EL0. Under -icount shift=0,sleep=off one tick of CNTVCT_EL0 is 16 instructions, so a mean over
 * many operations is exact to a fraction of one. Each line: "bench: NAME INSTRUCTIONS", one decimal, the measuring loop's own cost
 * included. The argument scales the number of operations (default 1).
 */
#include "user.h"

#define INSTRUCTIONS_PER_TICK 16ul
#define TOUCHED 512ul

static unsigned long scale = 1;

static void report(const char *name, uint64_t spent, unsigned long operations) {
  if (operations == 0)
    return;
  unsigned long tenths = (unsigned long)(spent * INSTRUCTIONS_PER_TICK * 10 / operations);
  print("bench: %s %lu.%lu\n", name, tenths / 10, tenths % 10);
}

static unsigned char *map(unsigned long n) {
  unsigned char *p = sys_mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (is_error(p)) {
    print("bench: mmap failed\n");
    sys_exit(1);
  }
  return p;
}

static void bench_getpid(void) {
  unsigned long n = 10000 * scale, left = n;
  uint64_t start = ticks();
  __asm__ volatile("mov x8, %1\n1: svc #0\n\tsubs %0, %0, #1\n\tb.ne 1b"
                   : "+r"(left)
                   : "i"(LINUX_NR_getpid)
                   : "x0", "x1", "x8", "cc", "memory");
  report("getpid", ticks() - start, n);
}

/* Touch each page of a fresh mapping once; returns the ticks of the touching alone. */
static uint64_t touch(volatile unsigned char *p, unsigned long n, bool write) {
  uint64_t start = ticks();
  if (write)
    for (unsigned long i = 0; i < n; i++)
      p[i * PAGE] = 1;
  else
    for (unsigned long i = 0; i < n; i++)
      (void)p[i * PAGE];
  return ticks() - start;
}

static void bench_faults(const char *name, bool write) {
  uint64_t spent = 0, unmapping = 0;
  unsigned long rounds = 8 * scale;
  sys_munmap(map(TOUCHED), TOUCHED * PAGE);
  for (unsigned long r = 0; r <= rounds; r++) {
    unsigned char *p = map(TOUCHED);
    uint64_t t = touch(p, TOUCHED, write), start = ticks();
    sys_munmap(p, TOUCHED * PAGE);
    uint64_t u = ticks() - start;
    if (r == 0)
      continue; /* warms page tables and caches of free frames */
    spent += t;
    unmapping += u;
  }
  report(name, spent, rounds * TOUCHED);
  if (write)
    report("munmap-per-page", unmapping, rounds * TOUCHED);
}

static void bench_mmap_munmap(bool with_touch) {
  unsigned long n = 1000 * scale;
  uint64_t start = 0;
  for (unsigned long i = 0; i <= n; i++) {
    if (i == 1)
      start = ticks();
    unsigned char *p = map(1);
    if (with_touch)
      *(volatile unsigned char *)p = 1;
    sys_munmap(p, PAGE);
  }
  report(with_touch ? "mmap-touch-munmap" : "mmap-munmap", ticks() - start, n);
}

static void bench_mprotect(void) {
  unsigned long n = 1000 * scale;
  unsigned char *p = map(3) + PAGE;
  *(volatile unsigned char *)p = 1;
  sys_mprotect(p, PAGE, PROT_READ);
  sys_mprotect(p, PAGE, PROT_READ | PROT_WRITE);
  uint64_t start = ticks();
  for (unsigned long i = 0; i < n; i++) {
    sys_mprotect(p, PAGE, PROT_READ);
    sys_mprotect(p, PAGE, PROT_READ | PROT_WRITE);
  }
  report("mprotect-pair", ticks() - start, n);
  sys_munmap(p - PAGE, 3 * PAGE);
}

static void fork_exit_wait(void) {
  long pid = sys_fork();
  if (pid == 0)
    sys_exit(0);
  sys_wait4(pid, NULL, 0);
}

static void bench_fork(void) {
  unsigned long n = 100 * scale;
  fork_exit_wait();
  uint64_t start = ticks();
  for (unsigned long i = 0; i < n; i++)
    fork_exit_wait();
  report("fork-exit-wait", ticks() - start, n);
}

static void bench_exec(void) {
  static char path[] = "/bin/true";
  char *argv[] = {path, NULL};
  unsigned long n = 50 * scale;
  uint64_t start = 0;
  for (unsigned long i = 0; i <= n; i++) {
    if (i == 1)
      start = ticks();
    long pid = sys_fork();
    if (pid == 0) {
      sys_execve(path, argv, environ);
      sys_exit(127);
    }
    sys_wait4(pid, NULL, 0);
  }
  report("fork-exec-wait", ticks() - start, n);
}

int main(int argc, char **argv, char **envp) {
  (void)envp;
  if (argc > 1 && str_number(argv[1]) > 0)
    scale = str_number(argv[1]);
  bench_getpid();
  bench_faults("anon-read-fault", false);
  bench_faults("anon-write-fault", true);
  bench_mmap_munmap(false);
  bench_mmap_munmap(true);
  bench_mprotect();
  bench_fork();
  bench_exec();
  print("bench: done\n");
  return 0;
}
