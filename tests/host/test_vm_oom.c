/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that is out: how bad each process is, against pages and tables counted by walking; and that the kernel can still do what it must
 * (cut a VMA, fork, build tables) when processes have taken all that they may have.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "vm_machine.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define BASE ((uint64_t)0x40000000)
#define FAR ((uint64_t)0x2000000000)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED)
#define RW (PROT_READ | PROT_WRITE)
#define TOTAL 100000u

static struct mm_struct *mm;
static uint64_t free_at_start;

static int setup(void **state) {
  (void)state;
  free_at_start = machine_free_frames();
  machine_set_cpu(0);
  return mm_alloc(&mm) == ERR_OK ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  machine_check_mm(mm);
  mm_put(mm);
  assert_int_equal(machine_free_frames(), free_at_start);
  return 0;
}

static void map(uint64_t addr, uint64_t pages, unsigned flags) {
  uint64_t out;
  assert_int_equal(do_mmap(mm, addr, pages * PAGE_SIZE, RW, flags, NULL, 0, &out), ERR_OK);
}

static enum vm_fault store(struct mm_struct *at, uint64_t addr) {
  uint64_t value = addr;
  return machine_access(at, addr, ACCESS_STORE, &value);
}

static void store_all(uint64_t addr, unsigned pages) {
  for (unsigned n = 0; n < pages; n++)
    assert_int_equal(store(mm, addr + n * PAGE_SIZE), VM_FAULT_OK);
}

/* All that is left to processes. Returns the pages. */
static uint64_t take_all(void) {
  uint64_t pages = machine_free_frames() + 100, n = 0;
  map(BASE, pages, ANON | MAP_NORESERVE);
  while (store(mm, BASE + n * PAGE_SIZE) == VM_FAULT_OK)
    n++;
  assert_true(n < pages);
  return n;
}

/* ---- Badness ---- */

static void count(void *ctx, uint64_t addr, const struct machine_pte *pte) {
  (void)addr, (void)pte;
  ++*(uint64_t *)ctx;
}

static int64_t counted(void) {
  uint64_t pages = 0;
  machine_each_page(mm, count, &pages);
  return (int64_t)(pages + machine_count_tables(mm));
}

static void test_badness_is_what_comes_free(void **state) {
  (void)state;
  assert_int_equal(oom_badness(mm, 0, TOTAL), 1); /* the root */
  map(BASE, 1000, ANON);
  map(FAR, 64, SHARED);
  assert_int_equal(oom_badness(mm, 0, TOTAL), 1); /* what is only promised counts nothing */
  store_all(BASE, 600);
  store_all(FAR, 10);
  assert_int_equal(oom_badness(mm, 0, TOTAL), counted());
  assert_true(counted() > 610);
  assert_int_equal(do_madvise(mm, BASE, 512 * PAGE_SIZE, MADV_DONTNEED), ERR_OK);
  assert_int_equal(oom_badness(mm, 0, TOTAL), counted());
  assert_true(counted() < 110);
}

static void test_what_a_process_says_of_itself(void **state) {
  (void)state;
  map(BASE, 300, ANON);
  store_all(BASE, 300);
  int64_t plain = oom_badness(mm, 0, TOTAL);
  assert_int_equal(oom_badness(mm, 1, TOTAL), plain + TOTAL / 1000);
  assert_int_equal(oom_badness(mm, 1000, TOTAL), plain + TOTAL);
  assert_int_equal(oom_badness(mm, -999, TOTAL), plain - 999 * (TOTAL / 1000));
  assert_true(oom_badness(mm, -1000, TOTAL) == OOM_NEVER);
  assert_true(oom_badness(mm, -999, TOTAL) > OOM_NEVER);
}

/* ---- The kernel's part ---- */

static void test_the_kernel_goes_on(void **state) {
  (void)state;
  struct mm_struct *child;
  uint64_t n = take_all();
  assert_int_equal(page_spare_frames(), 0);
  assert_int_equal(mm_fork(mm, &child), ERR_OK); /* tables for all of it, and VMAs */
  map(FAR, 4, ANON);                             /* a VMA of another branch */
  assert_int_equal(store(mm, FAR), VM_FAULT_OOM);
  assert_int_equal(do_munmap(mm, BASE + 2 * PAGE_SIZE, PAGE_SIZE), ERR_OK); /* cut in two */
  assert_int_equal(do_mprotect(mm, BASE + 8 * PAGE_SIZE, PAGE_SIZE, PROT_READ), ERR_OK);
  mm_put(child);
  assert_int_equal(do_munmap(mm, BASE, n * PAGE_SIZE), ERR_OK);
  assert_int_equal(store(mm, FAR), VM_FAULT_OK);
}

/* It is a reserve, and not all that there is: what an interrupt asks for is still to be had when the kernel has used up its part. */
static void test_the_kernel_leaves_something(void **state) {
  (void)state;
  struct mm_struct *made[4096];
  unsigned n = 0;
  pfn_t frame;
  take_all();
  while (n < 4096 && mm_alloc(&made[n]) == ERR_OK)
    n++;
  assert_in_range(n, 1, 4095);
  assert_int_equal(page_alloc(0, ALLOC_ATOMIC, &frame), ERR_OK);
  page_free(frame, 0);
  while (n > 0)
    mm_put(made[--n]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_badness_is_what_comes_free, setup, teardown),
      cmocka_unit_test_setup_teardown(test_what_a_process_says_of_itself, setup, teardown),
      cmocka_unit_test_setup_teardown(test_the_kernel_goes_on, setup, teardown),
      cmocka_unit_test_setup_teardown(test_the_kernel_leaves_something, setup, teardown),
  };
  machine_boot(16384);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
