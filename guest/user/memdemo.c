/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory from user space, step by step: map, read, write, protect, fork, unmap, each with the faults it must cost, by kind, and the
 * contents it must show. The number of pages is the argument (default 64). Ends with "memdemo: PASS", or says what did not hold.
 */
#include "user.h"

static unsigned long pages = 64;

static struct sluice_fault_counts before;

/* The faults since the last mark(). */
static struct sluice_fault_counts since(void) {
  struct sluice_fault_counts now = fault_counts(), d = {
                                                       .zero = now.zero - before.zero,
                                                       .anon = now.anon - before.anon,
                                                       .cow_zero = now.cow_zero - before.cow_zero,
                                                       .cow_copy = now.cow_copy - before.cow_copy,
                                                       .cow_reuse = now.cow_reuse - before.cow_reuse,
                                                       .file = now.file - before.file,
                                                       .shared = now.shared - before.shared,
                                                   };
  return d;
}

/* Touch the stack and the counters once more, so that the next measurement is not disturbed by our own first touches. */
static void mark(void) {
  before = fault_counts();
  before = fault_counts();
}

static void step(const char *what) {
  struct sluice_fault_counts d = since();
  print("memdemo: %s: zero %lu anon %lu cow %lu+%lu+%lu shared %lu\n", what, d.zero, d.anon, d.cow_zero, d.cow_copy, d.cow_reuse, d.shared);
  mark();
}

static unsigned char *map(int prot, int flags) {
  unsigned char *p = sys_mmap(NULL, pages * PAGE, prot, flags | MAP_ANONYMOUS);
  if (is_error(p)) {
    print("memdemo: mmap of %lu pages failed: %ld\n", pages, -(long)p);
    sys_exit(1);
  }
  return p;
}

static unsigned long sum(const volatile unsigned char *p) {
  unsigned long s = 0;
  for (unsigned long i = 0; i < pages; i++)
    s += p[i * PAGE];
  return s;
}

static void fill(volatile unsigned char *p, unsigned char add) {
  for (unsigned long i = 0; i < pages; i++)
    p[i * PAGE] = (unsigned char)(i + add);
}

static unsigned long want_sum(unsigned char add) {
  unsigned long s = 0;
  for (unsigned long i = 0; i < pages; i++)
    s += (unsigned char)(i + add);
  return s;
}

static void read_then_write(void) {
  unsigned char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  mark();
  EXPECT_EQ(sum(p), 0);
  EXPECT_EQ(since().zero, pages);
  step("read untouched pages");
  fill(p, 1);
  EXPECT_EQ(since().cow_zero, pages);
  EXPECT_EQ(sum(p), want_sum(1));
  step("write over the zero page");
  EXPECT_EQ(sys_munmap(p, pages * PAGE), 0);
}

static void write_first(void) {
  unsigned char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  mark();
  fill(p, 2);
  EXPECT_EQ(since().anon, pages);
  EXPECT_EQ(sum(p), want_sum(2));
  step("write untouched pages");
  EXPECT_EQ(sys_madvise(p, pages * PAGE, MADV_DONTNEED), 0);
  EXPECT_EQ(sum(p), 0);
  EXPECT_EQ(since().zero, pages);
  step("read after MADV_DONTNEED");
  EXPECT_EQ(sys_munmap(p, pages * PAGE), 0);
}

static void protect(void) {
  unsigned char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  fill(p, 3);
  mark();
  EXPECT_EQ(sys_mprotect(p, pages * PAGE, PROT_READ), 0);
  EXPECT_EQ(sum(p), want_sum(3));
  EXPECT_EQ(sys_mprotect(p, pages * PAGE, PROT_READ | PROT_WRITE), 0);
  fill(p, 4);
  EXPECT_EQ(sum(p), want_sum(4));
  step("protect and unprotect");
  /* a hole in the middle: two neighbours stay */
  EXPECT_EQ(sys_munmap(p + PAGE, (pages - 2) * PAGE), 0);
  EXPECT_EQ(p[0], 4);
  EXPECT_EQ(p[(pages - 1) * PAGE], (unsigned char)(pages - 1 + 4));
  EXPECT_EQ(sys_munmap(p, pages * PAGE), 0);
}

static int child_writes(void *arg) {
  unsigned char *p = arg;
  mark();
  EXPECT_EQ(sum(p), want_sum(5));
  EXPECT_EQ(since().zero + since().anon, 0);
  fill(p, 6);
  EXPECT_EQ(since().cow_copy, pages);
  EXPECT_EQ(sum(p), want_sum(6));
  step("child writes to what it shares");
  return failures != 0;
}

static void fork_cow(void) {
  unsigned char *p = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
  fill(p, 5);
  EXPECT_EQ(in_child(child_writes, p), 0);
  mark();
  EXPECT_EQ(sum(p), want_sum(5));
  fill(p, 7);
  EXPECT_EQ(since().cow_reuse, pages);
  EXPECT_EQ(sum(p), want_sum(7));
  step("parent writes after the child has gone");
  EXPECT_EQ(sys_munmap(p, pages * PAGE), 0);
}

static int child_shares(void *arg) {
  fill(arg, 8);
  return 0;
}

static void fork_shared(void) {
  unsigned char *p = map(PROT_READ | PROT_WRITE, MAP_SHARED);
  mark();
  EXPECT_EQ(in_child(child_shares, p), 0);
  EXPECT_EQ(sum(p), want_sum(8));
  EXPECT_EQ(since().shared, pages);
  step("read what the child wrote to shared memory");
  EXPECT_EQ(sys_munmap(p, pages * PAGE), 0);
}

static void heap(void) {
  unsigned long start = (unsigned long)sys_brk(0);
  EXPECT_EQ(sys_brk(start + pages * PAGE), start + pages * PAGE);
  mark();
  unsigned char *p = (unsigned char *)((start + PAGE - 1) & ~(PAGE - 1));
  for (unsigned long i = 0; i + 1 < pages; i++)
    p[i * PAGE] = 1;
  EXPECT_EQ(since().anon, pages - 1);
  step("write to the heap");
  EXPECT_EQ(sys_brk(start), start);
}

int main(int argc, char **argv, char **envp) {
  (void)envp;
  if (argc > 1 && str_number(argv[1]) >= 4)
    pages = str_number(argv[1]);
  print("memdemo: pid %ld, %lu pages a step\n", sys_getpid(), pages);
  read_then_write();
  write_first();
  protect();
  fork_cow();
  fork_shared();
  heap();
  print("memdemo: %lu minor faults in all\n", minor_faults());
  return verdict("memdemo");
}
