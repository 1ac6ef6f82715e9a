/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Areas that grow, and what is charged for areas: stacks with limit and guard gap, the heap by brk, commit accounting.
 */
// sources: tests/host/vm_machine.c tests/host/vm_single.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "vm_single.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---- Stack ---- */

#define STACK_PAGES 16u

static uint64_t make_stack(void) {
  uint64_t out;
  assert_int_equal(do_mmap(mm, STACK_TOP - STACK_PAGES * PAGE_SIZE, STACK_PAGES * PAGE_SIZE, RW, ANON | MAP_GROWSDOWN, NULL, 0, &out),
                   ERR_OK);
  return out;
}

static void test_stack_grows(void **state) {
  (void)state;
  uint64_t bottom = make_stack();
  store(mm, STACK_TOP - 8, 1);
  store(mm, bottom - 8, 2);
  assert_int_equal(mm->faults[FAULT_STACK_GROW], 1);
  store(mm, bottom - 100 * PAGE_SIZE, 3);
  assert_int_equal(mm->total_vm, STACK_PAGES + 100);
  assert_int_equal(vm_committed_pages() - committed_at_start, STACK_PAGES + 100);
  assert_int_equal(load(mm, bottom - 50 * PAGE_SIZE), 0);
  assert_int_equal(load(mm, bottom - 8), 2);
  assert_int_equal(mm->map_count, 1);
}

static void test_stack_limit(void **state) {
  (void)state;
  make_stack();
  mm->stack_limit = 64 * PAGE_SIZE;
  store(mm, STACK_TOP - 64 * PAGE_SIZE, 1);
  assert_int_equal(try(mm, STACK_TOP - 64 * PAGE_SIZE - 8, ACCESS_STORE), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(mm->total_vm, 64);
}

static void test_stack_guard_gap(void **state) {
  (void)state;
  uint64_t bottom = make_stack(), out;
  uint64_t below = bottom - STACK_GUARD_GAP - 8 * PAGE_SIZE;
  assert_int_equal(do_mmap(mm, below - PAGE_SIZE, PAGE_SIZE, RW, ANON, NULL, 0, &out), ERR_OK);
  store(mm, bottom - 8 * PAGE_SIZE, 1);
  assert_int_equal(try(mm, bottom - 9 * PAGE_SIZE, ACCESS_STORE), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(do_mprotect(mm, below - PAGE_SIZE, PAGE_SIZE, PROT_NONE), ERR_OK); /* a guard page of the program's own */
  store(mm, bottom - 9 * PAGE_SIZE, 1);
}

static void test_mprotect_growsdown(void **state) {
  (void)state;
  uint64_t bottom = make_stack();
  map(0, 1, RW, ANON);
  store(mm, bottom - PAGE_SIZE, 1);
  assert_int_equal(do_mprotect(mm, STACK_TOP - PAGE_SIZE, PAGE_SIZE, RW | PROT_EXEC | PROT_GROWSDOWN), ERR_OK);
  assert_int_equal(try(mm, bottom - PAGE_SIZE, ACCESS_FETCH), VM_FAULT_OK);
  assert_int_equal(do_mprotect(mm, page(0), PAGE_SIZE, RW | PROT_GROWSDOWN), ERR_INVAL);
  assert_int_equal(do_mprotect(mm, page(9), PAGE_SIZE, RW | PROT_GROWSDOWN), ERR_NOMEM);
}

/* ---- brk ---- */

static void test_brk(void **state) {
  (void)state;
  assert_int_equal(do_brk(mm, BASE), 0); /* no heap yet */
  mm_set_brk(mm, BASE + 5);
  uint64_t start = page(1);
  assert_int_equal(do_brk(mm, 0), start);
  assert_null(mm->mmap);
  assert_int_equal(do_brk(mm, start + 100), start + 100);
  store(mm, start, 1);
  assert_int_equal(try(mm, start + PAGE_SIZE, ACCESS_STORE), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(do_brk(mm, start + 10 * PAGE_SIZE), start + 10 * PAGE_SIZE);
  assert_int_equal(mm->map_count, 1);
  store(mm, start + 9 * PAGE_SIZE, 9);
  assert_int_equal(do_brk(mm, start - 1), start + 10 * PAGE_SIZE);
  assert_int_equal(do_brk(mm, start + 2 * PAGE_SIZE + 1), start + 2 * PAGE_SIZE + 1);
  assert_int_equal(try(mm, start + 9 * PAGE_SIZE, ACCESS_LOAD), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(mm->total_vm, 3);
  assert_int_equal(do_brk(mm, TASK_SIZE), start + 2 * PAGE_SIZE + 1);
  map(20, 1, RW, ANON);
  assert_int_equal(do_brk(mm, page(20)), start + 2 * PAGE_SIZE + 1); /* a page stays free below it */
  assert_int_equal(do_brk(mm, page(19)), page(19));
  assert_int_equal(do_brk(mm, start), start);
  assert_int_equal(mm->total_vm, 1);
}

/* ---- Commit accounting ---- */

static void test_commit(void **state) {
  (void)state;
  uint64_t out, too_many = (ledger_total() + 1) * PAGE_SIZE;
  map(0, 10, RW, ANON);
  map(16, 10, PROT_READ, ANON);
  map(32, 10, RW, ANON | MAP_NORESERVE);
  assert_int_equal(vm_committed_pages() - committed_at_start, 10);
  assert_int_equal(do_mprotect(mm, page(16), 5 * PAGE_SIZE, RW), ERR_OK);
  assert_int_equal(vm_committed_pages() - committed_at_start, 15);
  assert_int_equal(do_munmap(mm, page(5), 13 * PAGE_SIZE), ERR_OK);
  assert_int_equal(vm_committed_pages() - committed_at_start, 8);
  assert_int_equal(do_mmap(mm, 0, too_many, RW, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0, &out), ERR_NOMEM);
  assert_int_equal(do_mmap(mm, 0, too_many, RW, MAP_SHARED | MAP_ANONYMOUS, NULL, 0, &out), ERR_NOMEM);
  assert_int_equal(do_mmap(mm, 0, too_many, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL, 0, &out), ERR_OK);
  assert_int_equal(do_mmap(mm, 0, too_many, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0, &out), ERR_OK);
  assert_int_equal(do_mprotect(mm, out, too_many, RW), ERR_NOMEM);
  assert_int_equal(vm_committed_pages() - committed_at_start, 8);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_stack_grows),        TEST(test_stack_limit), TEST(test_stack_guard_gap),
      TEST(test_mprotect_growsdown), TEST(test_brk),         TEST(test_commit),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
