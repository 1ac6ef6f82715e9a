/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The start and the end of a test with one address space: what is there before it is there after it, and its tables, VMAs and counters of
 * references are sound while they last (machine_check_*).
 */
#include "vm_single.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct mm_struct *mm;
uint64_t committed_at_start;
static uint64_t free_at_start;

int boot(void **state) {
  (void)state;
  machine_boot(8192);
  return 0;
}

int setup(void **state) {
  (void)state;
  free_at_start = machine_free_frames();
  committed_at_start = vm_committed_pages();
  machine_set_cpu(0);
  return mm_alloc(&mm) == ERR_OK ? 0 : -1;
}

int teardown(void **state) {
  (void)state;
  machine_check_mm(mm);
  machine_check_refs(&mm, 1);
  mm_put(mm);
  assert_int_equal(machine_free_frames(), free_at_start);
  assert_int_equal(vm_committed_pages(), committed_at_start);
  return 0;
}

uint64_t page(unsigned n) {
  return BASE + n * PAGE_SIZE;
}

void map(unsigned n, unsigned pages, unsigned prot, unsigned flags) {
  uint64_t out;
  assert_int_equal(do_mmap(mm, page(n), pages * PAGE_SIZE, prot, flags, NULL, 0, &out), ERR_OK);
}

uint64_t load(struct mm_struct *m, uint64_t addr) {
  uint64_t value = ~(uint64_t)0;
  assert_int_equal(machine_access(m, addr, ACCESS_LOAD, &value), VM_FAULT_OK);
  return value;
}

void store(struct mm_struct *m, uint64_t addr, uint64_t value) {
  assert_int_equal(machine_access(m, addr, ACCESS_STORE, &value), VM_FAULT_OK);
}

enum vm_fault try(struct mm_struct *m, uint64_t addr, enum access kind) {
  uint64_t value = 0;
  return machine_access(m, addr, kind, &value);
}

struct machine_pte pte(struct mm_struct *m, uint64_t addr) {
  struct machine_pte p = {0};
  assert_true(machine_walk(m, addr, &p));
  return p;
}

struct mm_struct *fork_mm(void) {
  struct mm_struct *child;
  assert_int_equal(mm_fork(mm, &child), ERR_OK);
  machine_check_mm(mm);
  machine_check_mm(child);
  struct mm_struct *both[] = {mm, child};
  machine_check_refs(both, 2);
  return child;
}
