/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages pinned for somebody outside (guest/vm/pin.c): while they are, they are not freed and do not move, whatever the process does; what
 * is not the process's alone is refused; an error, or an allocation that fails, pins nothing; what is withdrawn is in no list ever after.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "mm/frame.h"
#include "mm/migrate.h"
#include "mm/page_alloc.h"
#include "vm_machine.h"
#include <stdarg.h>
#include <stddef.h>

#include <setjmp.h>

#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define BASE ((uint64_t)0x40000000)
#define PAGES 8u

static struct mm_struct *mm;
static uint64_t free_at_start;
static pfn_t frames[PAGES];

static uint64_t page(uint64_t n) {
  return BASE + n * PAGE_SIZE;
}

static void map(unsigned flags, unsigned prot) {
  uint64_t out;
  assert_int_equal(do_mmap(mm, BASE, PAGES * PAGE_SIZE, prot, flags | MAP_FIXED | MAP_ANONYMOUS, NULL, 0, &out), ERR_OK);
}

static void store(uint64_t n, uint64_t value) {
  assert_int_equal(machine_access(mm, page(n), ACCESS_STORE, &value), VM_FAULT_OK);
}

static uint64_t refs(unsigned n) {
  return frame_of(frames[n])->refs;
}

static void test_pinned_pages_stay(void **state) {
  (void)state;
  map(MAP_PRIVATE, RW);
  store(1, 77);
  assert_int_equal(pin_user_pages(mm, BASE, PAGES, frames), ERR_OK);
  for (unsigned i = 0; i < PAGES; i++)
    assert_int_equal(refs(i), 2);
  assert_int_not_equal(machine_move(frames[1].v), MOVE_DONE);
  assert_int_equal(do_munmap(mm, BASE, PAGES * PAGE_SIZE), ERR_OK);
  for (unsigned i = 0; i < PAGES; i++)
    assert_int_equal(refs(i), 1);
  assert_int_equal(frame_state(frames[1]), FRAME_OWNED);
  unpin_user_pages(PAGES, frames);
}

static void test_moves_again_when_let_go(void **state) {
  (void)state;
  map(MAP_PRIVATE, RW);
  store(2, 3);
  assert_int_equal(pin_user_pages(mm, page(2), 1, frames), ERR_OK);
  unpin_user_pages(1, frames);
  assert_int_equal(machine_move(frames[0].v), MOVE_DONE);
}

/* A page that was only read is the zero page, which must not be given: it is replaced by one of the process's own. */
static void test_the_zero_page_is_nobodys(void **state) {
  (void)state;
  uint64_t value = 1;
  map(MAP_PRIVATE, RW);
  assert_int_equal(machine_access(mm, page(0), ACCESS_LOAD, &value), VM_FAULT_OK);
  assert_int_equal(pin_user_pages(mm, BASE, 2, frames), ERR_OK);
  store(0, 5);
  assert_int_equal(refs(0), 2);
  unpin_user_pages(2, frames);
}

static void test_refused(void **state) {
  (void)state;
  map(MAP_SHARED, RW);
  assert_int_equal(pin_user_pages(mm, BASE, 1, frames), ERR_PERM);
  map(MAP_PRIVATE, PROT_READ);
  assert_int_equal(pin_user_pages(mm, BASE, 1, frames), ERR_FAULT);
  map(MAP_PRIVATE, RW);
  assert_int_equal(pin_user_pages(mm, BASE + 8, 1, frames), ERR_INVAL);
  assert_int_equal(pin_user_pages(mm, BASE, 0, frames), ERR_INVAL);
  assert_int_equal(pin_user_pages(mm, ~(uint64_t)0 & ~(PAGE_SIZE - 1), 2, frames), ERR_FAULT);
  assert_int_equal(pin_user_pages(mm, page(PAGES - 2), 3, frames), ERR_FAULT); /* its end is not mapped: nothing is pinned */
  assert_int_equal(refs(0), 1);
  assert_int_equal(pin_user_pages(mm, BASE, 1, frames), ERR_OK);
  pfn_t again;
  assert_int_equal(pin_user_pages(mm, BASE, 1, &again), ERR_PERM); /* it is under way already */
  unpin_user_pages(1, frames);
}

/* What a child may see as well is copied first, by the fault: the pin is on a page of the parent's own. */
static void test_after_a_fork(void **state) {
  (void)state;
  struct mm_struct *child;
  map(MAP_PRIVATE, RW);
  store(3, 9);
  assert_int_equal(mm_fork(mm, &child), ERR_OK);
  assert_int_equal(pin_user_pages(mm, page(3), 1, frames), ERR_OK);
  assert_int_equal(refs(0), 2);
  uint64_t value = 0;
  store(3, 10);
  assert_int_equal(machine_access(child, page(3), ACCESS_LOAD, &value), VM_FAULT_OK);
  assert_int_equal(value, 9);
  unpin_user_pages(1, frames);
  mm_put(child);
}

static void test_no_memory(void **state) {
  (void)state;
  for (unsigned nth = 1;; nth++) {
    map(MAP_PRIVATE, RW);
    machine_fail_allocation(nth);
    err_t err = pin_user_pages(mm, BASE, PAGES, frames);
    machine_fail_allocation(0);
    if (err == ERR_OK)
      break;
    assert_int_equal(err, ERR_NOMEM);
  }
  unpin_user_pages(PAGES, frames);
}

static void test_withdrawn(void **state) {
  (void)state;
  map(MAP_PRIVATE, RW);
  assert_int_equal(pin_user_pages(mm, BASE, PAGES, frames), ERR_OK);
  assert_int_equal(do_munmap(mm, BASE, PAGES * PAGE_SIZE), ERR_OK);
  withdraw_user_pages(PAGES, frames);
  for (unsigned i = 0; i < PAGES; i++) {
    assert_int_equal(frame_state(frames[i]), FRAME_BAD);
    assert_int_equal(page_alloc_at(frames[i], 0, ALLOC_MOVABLE), ERR_BUSY);
  }
  free_at_start -= PAGES;
}

static int setup(void **state) {
  (void)state;
  free_at_start = machine_free_frames();
  return mm_alloc(&mm) == ERR_OK ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  mm_put(mm);
  (void)vm_shrink_slabs();
  return machine_free_frames() == free_at_start ? 0 : -1;
}

static int boot(void **state) {
  (void)state;
  machine_boot(16384);
  return 0;
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_pinned_pages_stay),
      TEST(test_moves_again_when_let_go),
      TEST(test_the_zero_page_is_nobodys),
      TEST(test_refused),
      TEST(test_after_a_fork),
      TEST(test_no_memory),
      TEST(test_withdrawn),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
