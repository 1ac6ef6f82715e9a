/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory system calls at their edges, as Linux answers them: placement, fixed and unreserved mappings, holes, protection over several
 * mappings, the heap, MADV_DONTNEED, and pointers that the kernel must not follow. "vmtest: PASS" at the end.
 */
#include "user.h"

#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define FIXED (PRIVATE | MAP_FIXED)
#define MAP_FIXED_NOREPLACE 0x100000
#define SEGV LINUX_SIGSEGV
#define KERNEL_ADDRESS ((void *)0xffffffc000000000ul)

static unsigned char *map(unsigned long n, int prot) {
  unsigned char *p = sys_mmap(NULL, n * PAGE, prot, PRIVATE);
  expect(!is_error(p), "mmap", (unsigned long)p, 0);
  return p;
}

static int reads(void *p) {
  return *(volatile unsigned char *)p;
}

static int writes(void *p) {
  *(volatile unsigned char *)p = 1;
  return 0;
}

/* What a child ends with that touches `p`: 0, or the signal. */
static int reading(void *p) {
  return in_child(reads, p);
}

static int writing(void *p) {
  return in_child(writes, p);
}

/* ---- mmap ---- */

static void top_down(void) {
  unsigned char *a = map(4, RW), *b = map(2, PROT_READ), *c = map(3, RW);
  EXPECT_EQ(b, a - 2 * PAGE);
  EXPECT_EQ(c, b - 3 * PAGE);
  EXPECT_EQ(sys_munmap(b, 2 * PAGE), 0);
  EXPECT_EQ(map(1, PROT_NONE), b + PAGE); /* the highest gap that is large enough, from its top */
  EXPECT_EQ(map(2, PROT_NONE), c - 2 * PAGE);
  EXPECT_EQ(map(1, PROT_READ), b);
  EXPECT_EQ(sys_munmap(c - 2 * PAGE, 11 * PAGE), 0);
}

static void fixed(void) {
  unsigned char *p = map(3, RW);
  p[0] = p[PAGE] = p[2 * PAGE] = 7;
  EXPECT_EQ(sys_mmap(p + PAGE, PAGE, RW, FIXED), p + PAGE);
  EXPECT_EQ(p[0], 7);
  EXPECT_EQ(p[PAGE], 0);
  EXPECT_EQ(p[2 * PAGE], 7);
  EXPECT_EQ(sys_mmap(p + PAGE, PAGE, RW, PRIVATE | MAP_FIXED_NOREPLACE), -LINUX_EEXIST);
  EXPECT_EQ(sys_munmap(p + PAGE, PAGE), 0);
  EXPECT_EQ(sys_mmap(p + PAGE, PAGE, RW, PRIVATE | MAP_FIXED_NOREPLACE), p + PAGE);
  EXPECT_EQ(sys_munmap(p, 3 * PAGE), 0);
  EXPECT_EQ(sys_mmap(p + 1, PAGE, RW, FIXED), -LINUX_EINVAL);
  EXPECT_EQ(sys_mmap((void *)0x1000, PAGE, RW, FIXED), -LINUX_EPERM);
  EXPECT_EQ(sys_mmap((void *)(1ul << 39), PAGE, RW, FIXED), -LINUX_ENOMEM);
  EXPECT_EQ(sys_mmap(KERNEL_ADDRESS, PAGE, RW, FIXED), -LINUX_ENOMEM);
}

static void hint(void) {
  unsigned char *p = map(4, RW);
  EXPECT_EQ(sys_munmap(p, 4 * PAGE), 0);
  EXPECT_EQ(sys_mmap(p + PAGE + 123, PAGE, RW, PRIVATE), p + PAGE);
  EXPECT_EQ(sys_mmap(p + PAGE, PAGE, PROT_READ, PRIVATE), p + 3 * PAGE); /* taken: where it would go without a hint */
  EXPECT_EQ(sys_munmap(p, 4 * PAGE), 0);
}

static void noreserve(void) {
  const unsigned long huge = 64ul << 30;
  EXPECT_EQ(sys_mmap(NULL, huge, RW, PRIVATE), -LINUX_ENOMEM);
  unsigned char *p = sys_mmap(NULL, huge, RW, PRIVATE | MAP_NORESERVE);
  expect(!is_error(p), "noreserve", (unsigned long)p, 0);
  p[huge - 1] = p[huge / 2] = 1;
  EXPECT_EQ(p[0], 0);
  EXPECT_EQ(sys_munmap(p, huge), 0);
}

/* ---- munmap ---- */

static void hole_in_the_middle(void) {
  unsigned char *p = map(5, RW);
  p[PAGE] = p[3 * PAGE] = 9;
  EXPECT_EQ(sys_munmap(p + 2 * PAGE, 1), 0); /* rounded up to a page */
  EXPECT_EQ(p[PAGE], 9);
  EXPECT_EQ(p[3 * PAGE], 9);
  EXPECT_EQ(reading(p + 2 * PAGE), SEGV);
  EXPECT_EQ(sys_munmap(p + 2 * PAGE, PAGE), 0); /* nothing there: no error */
  EXPECT_EQ(sys_munmap(p, 5 * PAGE), 0);        /* across the hole */
  EXPECT_EQ(reading(p + 3 * PAGE), SEGV);
  EXPECT_EQ(sys_munmap(p, 0), -LINUX_EINVAL);
  EXPECT_EQ(sys_munmap(p + 1, PAGE), -LINUX_EINVAL);
  EXPECT_EQ(sys_munmap(KERNEL_ADDRESS, PAGE), -LINUX_EINVAL);
}

/* ---- mprotect ---- */

static void protect_several(void) {
  unsigned char *p = map(6, RW);
  for (unsigned i = 0; i < 6; i++)
    p[i * PAGE] = (unsigned char)(i + 1);
  EXPECT_EQ(sys_mprotect(p + PAGE, PAGE, PROT_NONE), 0);
  EXPECT_EQ(sys_mprotect(p + 3 * PAGE, PAGE, PROT_READ), 0);
  EXPECT_EQ(reading(p + PAGE), SEGV);
  EXPECT_EQ(reading(p + 3 * PAGE), 4 << 8);
  EXPECT_EQ(writing(p + 3 * PAGE), SEGV);
  /* the middle of the first to the middle of the last */
  EXPECT_EQ(sys_mprotect(p + PAGE, 4 * PAGE, PROT_READ), 0);
  for (unsigned i = 0; i < 6; i++)
    EXPECT_EQ(reading(p + i * PAGE), (i + 1) << 8);
  EXPECT_EQ(writing(p), 0);
  EXPECT_EQ(writing(p + PAGE), SEGV);
  EXPECT_EQ(writing(p + 4 * PAGE), SEGV);
  EXPECT_EQ(writing(p + 5 * PAGE), 0);
  EXPECT_EQ(sys_mprotect(p, 6 * PAGE, RW), 0);
  for (unsigned i = 0; i < 6; i++)
    EXPECT_EQ(writing(p + i * PAGE), 0);
  EXPECT_EQ(p[2 * PAGE], 3); /* the children wrote to copies */
  EXPECT_EQ(sys_munmap(p, 6 * PAGE), 0);
}

static void protect_errors(void) {
  unsigned char *p = map(3, RW);
  EXPECT_EQ(sys_munmap(p + PAGE, PAGE), 0);
  EXPECT_EQ(sys_mprotect(p, 3 * PAGE, PROT_READ), -LINUX_ENOMEM);
  EXPECT_EQ(writing(p + 2 * PAGE), 0);
  EXPECT_EQ(sys_mprotect(p + 1, PAGE, PROT_READ), -LINUX_EINVAL);
  EXPECT_EQ(sys_mprotect(p, PAGE, 0x40), -LINUX_EINVAL);
  EXPECT_EQ(sys_mprotect(p + PAGE, 0, PROT_READ), 0);
  EXPECT_EQ(sys_munmap(p, 3 * PAGE), 0);
}

/* mov w0, #42; ret: written, then run. */
static void written_code_runs(void) {
  uint32_t *p = (uint32_t *)(uintptr_t)map(1, RW);
  p[0] = 0x52800540;
  p[1] = 0xd65f03c0;
  EXPECT_EQ(sys_mprotect(p, PAGE, PROT_READ | PROT_EXEC), 0);
  EXPECT_EQ(((int (*)(void))(uintptr_t)p)(), 42);
  EXPECT_EQ(sys_mprotect(p, PAGE, PROT_READ), 0);
  EXPECT_EQ(in_child((int (*)(void *))(uintptr_t)p, NULL), SEGV);
  EXPECT_EQ(sys_munmap(p, PAGE), 0);
}

/* ---- brk ---- */

static void heap(void) {
  unsigned long start = (unsigned long)sys_brk(0), base = (start + PAGE - 1) & ~(PAGE - 1);
  unsigned char *p = (unsigned char *)base;
  EXPECT_EQ(sys_brk(base + 4 * PAGE), base + 4 * PAGE);
  p[0] = p[PAGE] = p[3 * PAGE] = 5;
  EXPECT_EQ(sys_brk(base + PAGE + 1), base + PAGE + 1);
  EXPECT_EQ(p[PAGE], 5);
  EXPECT_EQ(reading(p + 2 * PAGE), SEGV);
  EXPECT_EQ(sys_brk(base + 4 * PAGE), base + 4 * PAGE);
  EXPECT_EQ(p[3 * PAGE], 0); /* what was given back comes back empty */
  EXPECT_EQ(sys_brk(16), base + 4 * PAGE);
  EXPECT_EQ(sys_brk(-1ul), base + 4 * PAGE);
  EXPECT_EQ(sys_brk(start), start);
  EXPECT_EQ(reading(p), SEGV);
}

/* ---- madvise ---- */

static void dontneed(void) {
  unsigned char *p = map(3, RW), *s = sys_mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
  p[0] = p[PAGE] = p[2 * PAGE] = s[0] = 6;
  EXPECT_EQ(sys_madvise(p + PAGE, PAGE, MADV_DONTNEED), 0);
  EXPECT_EQ(p[0], 6);
  EXPECT_EQ(p[PAGE], 0);
  EXPECT_EQ(p[2 * PAGE], 6);
  EXPECT_EQ(sys_madvise(s, PAGE, MADV_DONTNEED), 0);
  EXPECT_EQ(s[0], 6); /* the object keeps it */
  EXPECT_EQ(sys_munmap(p + PAGE, PAGE), 0);
  EXPECT_EQ(sys_madvise(p, 3 * PAGE, MADV_DONTNEED), -LINUX_ENOMEM);
  EXPECT_EQ(p[0], 0); /* for all that, what is there was dropped */
  EXPECT_EQ(p[2 * PAGE], 0);
  EXPECT_EQ(sys_madvise(p + 1, PAGE, MADV_DONTNEED), -LINUX_EINVAL);
  EXPECT_EQ(sys_madvise(p, PAGE, 12345), -LINUX_EINVAL);
  EXPECT_EQ(sys_madvise(p + PAGE, 0, MADV_DONTNEED), 0);
  EXPECT_EQ(sys_munmap(p, 3 * PAGE), 0);
  EXPECT_EQ(sys_munmap(s, PAGE), 0);
}

/* ---- Pointers ---- */

static long clock_into(void *p) {
  return syscall2(LINUX_NR_clock_gettime, 1, p);
}

static void kernel_writes(void) {
  unsigned char *p = map(3, RW);
  EXPECT_EQ(clock_into(p), 0); /* nobody touched the page before */
  EXPECT_EQ(reading(p + PAGE), 0);
  EXPECT_EQ(clock_into(p + PAGE - 8), 0); /* over a page's end */
  EXPECT_EQ(sys_mprotect(p + 2 * PAGE, PAGE, PROT_READ), 0);
  EXPECT_EQ(clock_into(p + 2 * PAGE), -LINUX_EFAULT);
  EXPECT_EQ(clock_into(p + 2 * PAGE - 8), -LINUX_EFAULT);
  EXPECT_EQ(clock_into(NULL), -LINUX_EFAULT);
  EXPECT_EQ(clock_into(KERNEL_ADDRESS), -LINUX_EFAULT);
  EXPECT_EQ(clock_into((void *)((1ul << 39) - 8)), -LINUX_EFAULT);
  EXPECT_EQ(clock_into((void *)-8l), -LINUX_EFAULT);
  EXPECT_EQ(sys_munmap(p, 3 * PAGE), 0);
}

static void kernel_reads(void) {
  unsigned char *p = map(2, RW);
  for (unsigned i = 0; i < 8; i++)
    p[PAGE - 8 + i] = i < 7 ? '.' : '\n';
  EXPECT_EQ(sys_mprotect(p + PAGE, PAGE, PROT_NONE), 0);
  EXPECT_EQ(sys_write(1, p + PAGE - 8, 8), 8);
  EXPECT_EQ(sys_write(1, p + PAGE, 8), -LINUX_EFAULT);
  EXPECT_EQ(sys_write(1, NULL, 1), -LINUX_EFAULT);
  EXPECT_EQ(sys_write(1, KERNEL_ADDRESS, 1), -LINUX_EFAULT);
  EXPECT_EQ(syscall2(LINUX_NR_nanosleep, p + PAGE - 8, 0), -LINUX_EFAULT);
  EXPECT_EQ(sys_munmap(p, 2 * PAGE), 0);
}

/* The child is gone all the same, as in Linux. */
static void wait_writes(void) {
  int *p = (int *)(uintptr_t)map(1, PROT_READ);
  long pid = sys_fork();
  if (pid == 0)
    sys_exit(0);
  EXPECT_EQ(sys_wait4(pid, p, 0), -LINUX_EFAULT);
  EXPECT_EQ(sys_wait4(pid, NULL, 0), -LINUX_ECHILD);
  EXPECT_EQ(sys_munmap(p, PAGE), 0);
}

/* What fork shares is the other's no more once one of both writes, be it through the kernel. */
static void kernel_copies_on_write(void) {
  unsigned long *p = (unsigned long *)(uintptr_t)map(1, RW);
  p[0] = p[1] = 77;
  long pid = sys_fork();
  if (pid == 0) {
    EXPECT_EQ(clock_into(p), 0);
    sys_exit(p[1] == 77);
  }
  EXPECT_EQ(sys_wait4(pid, NULL, 0), pid);
  EXPECT_EQ(p[0], 77);
  EXPECT_EQ(p[1], 77);
  EXPECT_EQ(sys_munmap(p, PAGE), 0);
}

int main(int argc, char **argv, char **envp) {
  (void)argc, (void)argv, (void)envp;
  top_down();
  fixed();
  hint();
  noreserve();
  hole_in_the_middle();
  protect_several();
  protect_errors();
  written_code_runs();
  heap();
  dontneed();
  kernel_writes();
  kernel_reads();
  wait_writes();
  kernel_copies_on_write();
  return verdict("vmtest");
}
