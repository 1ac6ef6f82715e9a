/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving user pages, case by case: who maps a page is found, each mapping once, after fork, copy-on-write, partial unmap, mprotect; what is
 * not to be moved is refused and stays as it was; what happens to an access in the middle of a move.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with,--wrap=migrate_set_ops
#include "guest/vm/internal.h"
#include "guest/vm/shared.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "vm_file.h"
#include "vm_machine.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define BASE ((uint64_t)0x40000000)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED)
#define RW (PROT_READ | PROT_WRITE)
#define FAMILY 40u

static struct mm_struct *mm;
static struct test_file file = TEST_FILE(3);

static uint64_t page(unsigned n) {
  return BASE + n * PAGE_SIZE;
}

static void map(unsigned n, unsigned pages, unsigned prot, unsigned flags) {
  uint64_t out;
  struct vm_file *f = flags & MAP_ANONYMOUS ? NULL : &file.file;
  assert_int_equal(do_mmap(mm, page(n), pages * PAGE_SIZE, prot, flags, f, 0, &out), ERR_OK);
}

static void store(struct mm_struct *m, uint64_t addr, uint64_t value) {
  assert_int_equal(machine_access(m, addr, ACCESS_STORE, &value), VM_FAULT_OK);
}

static uint64_t load(struct mm_struct *m, uint64_t addr) {
  uint64_t value = 0;
  assert_int_equal(machine_access(m, addr, ACCESS_LOAD, &value), VM_FAULT_OK);
  return value;
}

static uint64_t frame_at(const struct mm_struct *m, uint64_t addr) {
  struct machine_pte pte;
  assert_true(machine_walk(m, addr, &pte));
  return pte.frame;
}

static void move_at(uint64_t addr, uint64_t expected_mappings) {
  struct vm_move_stats before = vm_read_move_stats();
  uint64_t from = frame_at(mm, addr);
  struct frame was = *frame_of(pfn(from));
  assert_int_equal(machine_move(from), MOVE_DONE);
  uint64_t to = frame_at(mm, addr);
  assert_int_not_equal(to, from);
  assert_int_equal(frame_of(pfn(to))->refs, was.refs);
  assert_int_equal(frame_of(pfn(to))->rmap, was.rmap);
  assert_int_equal(vm_read_move_stats().pages, before.pages + 1);
  assert_int_equal(vm_read_move_stats().mappings, before.mappings + expected_mappings);
}

static struct mm_struct *fork_and_run(struct mm_struct *old) {
  struct mm_struct *child;
  assert_int_equal(mm_fork(old, &child), ERR_OK);
  (void)load(child, BASE);
  return child;
}

static void test_one_mapping(void **state) {
  (void)state;
  map(0, 4, RW, ANON);
  store(mm, page(1) + 8, 42);
  store(mm, page(2), 43);
  move_at(page(1), 1);
  assert_int_equal(load(mm, page(1) + 8), 42);
  assert_int_equal(load(mm, page(1)), 0);
  assert_int_equal(load(mm, page(2)), 43);
  store(mm, page(1), 7);
  assert_int_equal(load(mm, page(1)), 7);
}

/* Every process of the family, and each still has its copy to itself when it writes. */
static void test_family(void **state) {
  struct mm_struct *child[FAMILY];
  (void)state;
  map(0, 2, RW, ANON);
  store(mm, page(0), 1);
  store(mm, page(1), 2);
  for (unsigned i = 0; i < FAMILY; i++)
    child[i] = fork_and_run(i % 3 ? child[i - 1] : mm);
  move_at(page(1), FAMILY + 1);
  for (unsigned i = 0; i < FAMILY; i++) {
    assert_int_equal(frame_at(child[i], page(1)), frame_at(mm, page(1)));
    assert_int_equal(load(child[i], page(1)), 2);
    store(child[i], page(1), 100 + i);
  }
  move_at(page(1), 1);
  assert_int_equal(load(mm, page(1)), 2);
  for (unsigned i = 0; i < FAMILY; i++) {
    assert_int_equal(machine_move(frame_at(child[i], page(1))), MOVE_DONE);
    assert_int_equal(load(child[i], page(1)), 100 + i);
    mm_put(child[i]);
  }
}

/* The parent is gone, or has unmapped it: those who are left keep it. */
static void test_orphans(void **state) {
  (void)state;
  map(0, 3, RW, ANON);
  store(mm, page(0), 1);
  store(mm, page(1), 5);
  struct mm_struct *child = fork_and_run(mm), *grandchild = fork_and_run(child);
  assert_int_equal(do_munmap(mm, page(1), PAGE_SIZE), ERR_OK);
  assert_int_equal(machine_move(frame_at(child, page(1))), MOVE_DONE);
  assert_int_equal(frame_at(child, page(1)), frame_at(grandchild, page(1)));
  mm_put(child);
  assert_int_equal(machine_move(frame_at(grandchild, page(1))), MOVE_DONE);
  assert_int_equal(load(grandchild, page(1)), 5);
  mm_put(grandchild);
}

static void test_shared(void **state) {
  (void)state;
  map(0, 4, RW, SHARED);
  store(mm, page(2), 9);
  store(mm, page(3), 10);
  struct mm_struct *child = fork_and_run(mm);
  assert_int_equal(load(child, page(2)), 9);
  /* several VMAs in one mm, and the page in the upper one */
  assert_int_equal(do_mprotect(mm, page(1), PAGE_SIZE, PROT_READ), ERR_OK);
  move_at(page(2), 2);
  assert_int_equal(frame_at(child, page(2)), frame_at(mm, page(2)));
  store(child, page(2), 11);
  assert_int_equal(load(mm, page(2)), 11);
  /* nobody maps it any more, but the object has it */
  uint64_t kept = frame_at(mm, page(3));
  assert_int_equal(do_madvise(mm, page(3), PAGE_SIZE, MADV_DONTNEED), ERR_OK);
  assert_int_equal(machine_move(kept), MOVE_DONE);
  assert_int_equal(load(child, page(3)), 10);
  assert_int_equal(load(mm, page(3)), 10);
  mm_put(child);
}

static void test_executable(void **state) {
  uint64_t syncs = machine_icache_syncs, value;
  (void)state;
  map(0, 2, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED);
  assert_int_equal(machine_access(mm, page(1), ACCESS_FETCH, &value), VM_FAULT_OK);
  assert_int_equal(machine_icache_syncs, ++syncs);
  move_at(page(1), 1);
  assert_int_equal(machine_icache_syncs, ++syncs);
  assert_int_equal(machine_access(mm, page(1), ACCESS_FETCH, &value), VM_FAULT_OK);
  assert_int_equal(value, vm_file_word(3, PAGE_SIZE));
  assert_int_equal(do_mprotect(mm, page(0), 2 * PAGE_SIZE, PROT_READ), ERR_OK);
  move_at(page(1), 1);
  assert_int_equal(machine_icache_syncs, syncs); /* data only: needs none */
}

/* PROT_NONE keeps the page, out of EL0's reach. */
static void test_unreachable(void **state) {
  uint64_t value;
  (void)state;
  map(0, 1, RW, ANON);
  store(mm, page(0), 77);
  assert_int_equal(do_mprotect(mm, page(0), PAGE_SIZE, PROT_NONE), ERR_OK);
  move_at(page(0), 1);
  assert_int_equal(machine_access(mm, page(0), ACCESS_LOAD, &value), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(do_mprotect(mm, page(0), PAGE_SIZE, RW), ERR_OK);
  assert_int_equal(load(mm, page(0)), 77);
}

static void stays(uint64_t addr, enum move_result why) {
  uint64_t frame = frame_at(mm, addr);
  assert_int_equal(machine_move(frame), why);
  assert_int_equal(frame_at(mm, addr), frame);
}

static void test_refused(void **state) {
  (void)state;
  map(0, 3, RW, ANON);
  assert_int_equal(load(mm, page(0)), 0);
  stays(page(0), MOVE_UNMOVABLE); /* the zero page */
  assert_int_equal(machine_move(mm->pt.root_pfn.v), MOVE_UNMOVABLE);
  store(mm, page(1), 3);
  /* somebody works in the mm, this CPU for instance */
  port_flags_t irq = mmap_lock(mm);
  stays(page(1), MOVE_BUSY);
  mmap_unlock(mm, irq);
  /* a reference that is no mapping */
  user_page_get(pfn(frame_at(mm, page(1))));
  stays(page(1), MOVE_BUSY);
  user_page_put(pfn(frame_at(mm, page(1))));
  /* a sharer that has not run yet: it is moved as soon as it has */
  struct mm_struct *child;
  assert_int_equal(mm_fork(mm, &child), ERR_OK);
  stays(page(1), MOVE_BUSY);
  assert_int_equal(load(child, page(1)), 3);
  move_at(page(1), 2);
  /* all of them let go of every lock they had tried */
  store(mm, page(1), 4);
  store(child, page(1), 5);
  mm_put(child);
  move_at(page(1), 1);
}

static void test_shared_refused(void **state) {
  (void)state;
  map(0, 1, RW, SHARED);
  store(mm, page(0), 3);
  struct port_lock *lock = &find_vma(mm, page(0))->vm_shared->lock;
  port_flags_t irq = port_irq_save();
  port_lock_acquire(lock);
  stays(page(0), MOVE_BUSY);
  port_lock_release(lock);
  port_irq_restore(irq);
  move_at(page(0), 1);
}

/* ---- In the middle of a move: what the core's callers cannot see, through the table of operations ---- */

static const struct migrate_ops *ops;
void __real_migrate_set_ops(const struct migrate_ops *given);
void __wrap_migrate_set_ops(const struct migrate_ops *given);
void __wrap_migrate_set_ops(const struct migrate_ops *given) {
  ops = given;
  __real_migrate_set_ops(given);
}

/* Called off after freeze: all is as it was, for every process. */
static void test_called_off(void **state) {
  (void)state;
  map(0, 1, RW, ANON);
  store(mm, page(0), 21);
  struct mm_struct *child = fork_and_run(mm);
  pfn_t frame = pfn(frame_at(mm, page(0)));
  struct machine_pte pte;
  port_flags_t irq = port_irq_save();
  assert_int_equal(ops->freeze(frame, 0, OWNER_USER, frame_of(frame)->rmap), ERR_OK);
  assert_false(machine_walk(mm, page(0), &pte) || machine_walk(child, page(0), &pte));
  ops->thaw(frame, 0, OWNER_USER);
  port_irq_restore(irq);
  assert_int_equal(frame_at(mm, page(0)), frame.v);
  assert_int_equal(frame_at(child, page(0)), frame.v);
  assert_int_equal(load(child, page(0)), 21);
  mm_put(child);
}

/*
 * Missed because it was on the move, back before the fault got the lock, and no memory is left: the page is there, so the access goes on.
 */
static void test_fault_in_the_window(void **state) {
  (void)state;
  map(0, 2, RW, ANON);
  store(mm, page(0), 5);
  machine_fail_allocation(1);
  assert_int_equal(handle_mm_fault(mm, page(0), FAULT_FLAG_WRITE), VM_FAULT_OK);
  machine_fail_allocation(1);
  assert_int_equal(handle_mm_fault(mm, page(1), FAULT_FLAG_WRITE), VM_FAULT_OOM);
  machine_fail_allocation(0);
  assert_int_equal(load(mm, page(0)), 5);
}

static int boot(void **state) {
  (void)state;
  machine_boot(8192);
  return 0;
}

static uint64_t free_before;

static int setup(void **state) {
  (void)state;
  free_before = machine_free_frames();
  return mm_alloc(&mm) == ERR_OK ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  machine_check_mm(mm);
  machine_check_refs(&mm, 1);
  mm_put(mm);
  assert_int_equal(machine_free_frames(), free_before);
  return 0;
}

#define CASE(test_) cmocka_unit_test_setup_teardown(test_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_one_mapping), CASE(test_family),  CASE(test_orphans),        CASE(test_shared),     CASE(test_executable),
      CASE(test_unreachable), CASE(test_refused), CASE(test_shared_refused), CASE(test_called_off), CASE(test_fault_in_the_window),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
