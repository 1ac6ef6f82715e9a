/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One fault of each kind, with a line before and after: what the `faults` scenario follows through guest and hypervisor. Those that end a
 * process run in a child, and the kernel must report them as SIGSEGV.
 */
#include "user.h"

static volatile unsigned char *area;

static unsigned char *map(unsigned long bytes, int prot) {
  unsigned char *p = sys_mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS);
  if (is_error(p)) {
    print("faultdemo: mmap failed: %ld\n", -(long)p);
    sys_exit(1);
  }
  return p;
}

static void anonymous(void) {
  area = map(4 * PAGE, PROT_READ | PROT_WRITE);
  print("faultdemo: 1 first write to %p\n", (void *)(uintptr_t)area);
  area[0] = 0x5a;
  EXPECT_EQ(area[0], 0x5a);
  print("faultdemo: 2 first read of %p: the zero page\n", (void *)(uintptr_t)(area + PAGE));
  EXPECT_EQ(area[PAGE], 0);
  print("faultdemo: 3 write to %p: copy of the zero page\n", (void *)(uintptr_t)(area + PAGE));
  area[PAGE] = 1;
  EXPECT_EQ(area[PAGE], 1);
}

static int cow_child(void *arg) {
  (void)arg;
  print("faultdemo: 4 child writes to %p: copy on write\n", (void *)(uintptr_t)area);
  area[0] = 0xa5;
  return area[0] != 0xa5;
}

static int write_readonly(void *arg) {
  (void)arg;
  area[2 * PAGE] = 1;
  return 0;
}

static int read_null(void *arg) {
  return *(volatile int *)arg;
}

static int read_kernel(void *arg) {
  (void)arg;
  return *(volatile int *)0xffffffc000000000ul;
}

static int jump_to_data(void *arg) {
  (void)arg;
  ((void (*)(void))(uintptr_t)area)();
  return 0;
}

static int privileged(void *arg) {
  (void)arg;
  unsigned long v;
  __asm__ volatile("mrs %0, ttbr0_el1" : "=r"(v));
  return (int)v;
}

static int unmapped_hole(void *arg) {
  (void)arg;
  unsigned char *p = map(3 * PAGE, PROT_READ | PROT_WRITE);
  sys_munmap(p + PAGE, PAGE);
  return p[PAGE];
}

/* More depth than any stack has, though not without end, which compilers refuse. */
static unsigned long descend(unsigned long depth) {
  volatile unsigned char frame[4096];
  frame[0] = (unsigned char)depth;
  return depth == 0 ? 0 : descend(depth - 1) + frame[0];
}

static int overflow_stack(void *arg) {
  (void)arg;
  return (int)descend(1ul << 20);
}

static void dies(int number, const char *what, int (*fn)(void *), int signal) {
  print("faultdemo: %d %s: the child must end by signal %d\n", number, what, signal);
  int status = in_child(fn, NULL);
  EXPECT_EQ(status, signal);
}

/* The kernel's own access to a bad user address is an error code, not a signal. */
static void kernel_access(void) {
  print("faultdemo: 12 write(2) from addresses that are not there\n");
  EXPECT_EQ(sys_write(1, (const void *)16, 4), -LINUX_EFAULT);
  EXPECT_EQ(sys_write(1, (const void *)0xffffffc000000000ul, 4), -LINUX_EFAULT);
  EXPECT_EQ(sys_write(1, (const void *)-8l, 64), -LINUX_EFAULT);
  EXPECT_EQ(syscall2(LINUX_NR_clock_gettime, LINUX_CLOCK_MONOTONIC, area + 2 * PAGE), -LINUX_EFAULT);
}

int main(int argc, char **argv, char **envp) {
  (void)argc, (void)argv, (void)envp;
  anonymous();
  EXPECT_EQ(in_child(cow_child, NULL), 0);
  EXPECT_EQ(area[0], 0x5a);
  EXPECT_EQ(sys_mprotect((void *)(uintptr_t)(area + 2 * PAGE), PAGE, PROT_READ), 0);
  dies(5, "write to a read-only page", write_readonly, LINUX_SIGSEGV);
  dies(6, "read of address 0", read_null, LINUX_SIGSEGV);
  dies(7, "read of a kernel address", read_kernel, LINUX_SIGSEGV);
  dies(8, "jump into data", jump_to_data, LINUX_SIGSEGV);
  dies(9, "read of an unmapped hole", unmapped_hole, LINUX_SIGSEGV);
  dies(10, "system register of EL1", privileged, LINUX_SIGILL);
  dies(11, "stack overflow", overflow_stack, LINUX_SIGSEGV);
  kernel_access();
  return verdict("faultdemo");
}
