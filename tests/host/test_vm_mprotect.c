/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Permissions that change and pages that go, under TLBs that hold on to what they saw: mprotect by range and by page, what another CPU
 * still believes, and flushes that are not made for nothing.
 */
// sources: tests/host/vm_machine.c tests/host/vm_single.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "vm_single.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---- mprotect over pages ---- */

static void test_mprotect_takes_effect(void **state) {
  (void)state;
  map(0, 4, RW, ANON);
  store(mm, page(0), 1);
  store(mm, page(1), 2);
  assert_int_equal(load(mm, page(2)), 0);
  assert_int_equal(do_mprotect(mm, page(0), 4 * PAGE_SIZE, PROT_READ), ERR_OK);
  assert_int_equal(try(mm, page(0), ACCESS_STORE), VM_FAULT_SEGV_ACCERR); /* the TLB has forgotten */
  assert_int_equal(load(mm, page(1)), 2);
  assert_int_equal(do_mprotect(mm, page(0), 4 * PAGE_SIZE, PROT_NONE), ERR_OK);
  assert_int_equal(try(mm, page(1), ACCESS_LOAD), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(do_mprotect(mm, page(0), 4 * PAGE_SIZE, RW), ERR_OK);
  uint64_t spurious = mm->faults[FAULT_SPURIOUS];
  store(mm, page(0), 3);
  assert_int_equal(load(mm, page(1)), 2);
  assert_int_equal(mm->faults[FAULT_SPURIOUS], spurious);
  assert_int_equal(mm->faults[FAULT_COW_REUSE], 0); /* exclusive frames became writable at once */
  store(mm, page(2), 4);
  assert_int_equal(mm->faults[FAULT_COW_ZERO], 1); /* the zero page did not */
}

/* The same with a single page, which goes another way: there and back, so that nothing about it is new any more. */
static void test_mprotect_of_one_page(void **state) {
  (void)state;
  map(0, 3, RW, ANON);
  store(mm, page(1), 1);
  for (unsigned i = 1; i < 5; i++) {
    uint64_t faults = mm->faults[FAULT_SPURIOUS] + mm->faults[FAULT_COW_REUSE];
    assert_int_equal(do_mprotect(mm, page(1), PAGE_SIZE, PROT_READ), ERR_OK);
    assert_int_equal(try(mm, page(1), ACCESS_STORE), VM_FAULT_SEGV_ACCERR);
    assert_int_equal(load(mm, page(1)), i);
    assert_int_equal(do_mprotect(mm, page(1), PAGE_SIZE, RW), ERR_OK);
    store(mm, page(1), i + 1);
    assert_int_equal(mm->faults[FAULT_SPURIOUS] + mm->faults[FAULT_COW_REUSE], faults);
  }
}

static void test_exec_syncs_the_instruction_cache(void **state) {
  (void)state;
  map(0, 2, RW, ANON);
  uint64_t syncs = machine_icache_syncs;
  store(mm, page(0), 0xd65f03c0);
  assert_int_equal(machine_icache_syncs, syncs);
  assert_int_equal(do_mprotect(mm, page(0), 2 * PAGE_SIZE, PROT_READ | PROT_EXEC), ERR_OK);
  assert_int_equal(machine_icache_syncs, syncs + 1);
  assert_int_equal(try(mm, page(0), ACCESS_FETCH), VM_FAULT_OK);
  assert_int_equal(try(mm, page(1), ACCESS_FETCH), VM_FAULT_OK);
}

/* ---- Two CPUs ---- */

/* A thread on another CPU holds a stale read-only entry after the first made the page writable: one spurious fault heals it. */
static void test_stale_entry_costs_one_fault(void **state) {
  (void)state;
  map(0, 1, RW, ANON);
  store(mm, page(0), 1);
  struct mm_struct *child = fork_mm();
  mm_put(child);
  machine_set_cpu(1);
  assert_int_equal(load(mm, page(0)), 1);
  machine_set_cpu(0);
  store(mm, page(0), 2);
  assert_int_equal(mm->faults[FAULT_COW_REUSE], 1);
  machine_set_cpu(1);
  store(mm, page(0), 3);
  assert_int_equal(mm->faults[FAULT_SPURIOUS], 1);
  machine_set_cpu(0);
  assert_int_equal(load(mm, page(0)), 3);
}

static void test_unmap_reaches_the_other_cpu(void **state) {
  (void)state;
  map(0, 8, RW, ANON);
  for (unsigned n = 0; n < 8; n++) {
    machine_set_cpu(n & 1);
    store(mm, page(n), n);
    machine_set_cpu(!(n & 1));
    assert_int_equal(load(mm, page(n)), n);
  }
  uint64_t flushes = machine_flushes;
  assert_int_equal(do_munmap(mm, page(0), 8 * PAGE_SIZE), ERR_OK);
  assert_int_equal(machine_flushes, flushes + 1); /* one for all */
  for (unsigned n = 0; n < 16; n++) {
    machine_set_cpu(n & 1);
    assert_int_equal(try(mm, page(n / 2), ACCESS_LOAD), VM_FAULT_SEGV_MAPERR);
  }
}

static void test_no_flush_for_nothing(void **state) {
  (void)state;
  map(0, 8, RW, ANON);
  store(mm, page(0), 1);
  map(16, 8, RW, ANON);
  uint64_t flushes = machine_flushes;
  assert_int_equal(do_mprotect(mm, page(16), 8 * PAGE_SIZE, PROT_READ), ERR_OK);
  assert_int_equal(do_munmap(mm, page(16), 8 * PAGE_SIZE), ERR_OK);
  store(mm, page(1), 1);
  assert_int_equal(machine_flushes, flushes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_mprotect_takes_effect),       TEST(test_mprotect_of_one_page),        TEST(test_exec_syncs_the_instruction_cache),
      TEST(test_stale_entry_costs_one_fault), TEST(test_unmap_reaches_the_other_cpu), TEST(test_no_flush_for_nothing),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
