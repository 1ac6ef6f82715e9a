/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What two address spaces have of the same pages: copies on write after fork, what mprotect may not give back while they last, the key of
 * the reverse mapping, and memory that stays shared.
 */
// sources: tests/host/vm_machine.c tests/host/vm_single.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "guest/vm/rmap.h"
#include "mm/frame.h"
#include "vm_single.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---- fork ---- */

static void test_fork_copies_on_write(void **state) {
  (void)state;
  map(0, 4, RW, ANON);
  store(mm, page(0), 10);
  store(mm, page(1), 11);
  assert_int_equal(load(mm, page(2)), 0);
  struct mm_struct *child = fork_mm();
  assert_int_equal(pte(mm, page(0)).frame, pte(child, page(0)).frame);
  assert_int_equal(load(child, page(0)), 10);
  assert_int_equal(load(child, page(2)), 0);
  store(mm, page(0), 20);
  assert_int_equal(mm->faults[FAULT_COW_COPY], 1);
  assert_int_equal(load(child, page(0)), 10);
  store(child, page(0), 30);
  assert_int_equal(child->faults[FAULT_COW_REUSE], 1); /* the child is the last one */
  assert_int_equal(load(mm, page(0)), 20);
  store(child, page(1), 31);
  assert_int_equal(load(mm, page(1)), 11);
  mm_put(child);
  store(mm, page(1), 21);
  assert_int_equal(mm->faults[FAULT_COW_REUSE], 1);
  assert_int_equal(load(mm, page(1)), 21);
  assert_int_equal(mm->rss[MM_ANONPAGES], 2);
}

/* While pages are shared, mprotect must not make them writable. */
static void test_mprotect_respects_sharing(void **state) {
  (void)state;
  map(0, 2, RW, ANON);
  store(mm, page(0), 1);
  struct mm_struct *child = fork_mm();
  assert_int_equal(do_mprotect(mm, page(0), PAGE_SIZE, PROT_READ), ERR_OK);
  assert_int_equal(do_mprotect(mm, page(0), PAGE_SIZE, RW), ERR_OK);
  assert_false(pte(mm, page(0)).writable);
  store(mm, page(0), 2);
  assert_int_equal(load(child, page(0)), 1);
  mm_put(child);
}

static void test_fork_of_fork(void **state) {
  (void)state;
  enum {
    GENERATIONS = 5
  };
  struct mm_struct *mms[GENERATIONS] = {mm};
  map(0, 1, RW, ANON);
  store(mm, page(0), 100);
  for (unsigned i = 1; i < GENERATIONS; i++)
    assert_int_equal(mm_fork(mms[i - 1], &mms[i]), ERR_OK);
  assert_int_equal(frame_of(pfn(pte(mm, page(0)).frame))->refs, GENERATIONS);
  machine_check_refs(mms, GENERATIONS);
  for (unsigned i = 1; i < GENERATIONS; i++) {
    assert_int_equal(load(mms[i], page(0)), 100);
    store(mms[i], page(0), 100 + i);
  }
  store(mm, page(0), 99);
  for (unsigned i = 1; i < GENERATIONS; i++)
    assert_int_equal(load(mms[i], page(0)), 100 + i);
  machine_check_refs(mms, GENERATIONS);
  for (unsigned i = 1; i < GENERATIONS; i++)
    mm_put(mms[i]);
}

static void test_rmap_key_says_where(void **state) {
  (void)state;
  map(0, 2, RW, ANON);
  store(mm, page(1), 1);
  struct mm_struct *child = fork_mm();
  store(child, page(1), 2);
  uint64_t key = frame_of(pfn(pte(child, page(1)).frame))->rmap;
  assert_int_equal(rmap_key_addr(key), page(1));
  assert_int_equal(rmap_key_kind(key), RMAP_ANON);
  assert_int_equal(rmap_key_id(key), mm->rmap_id); /* one family */
  assert_int_equal(key, frame_of(pfn(pte(mm, page(1)).frame))->rmap);
  mm_put(child);
}

/* ---- Shared memory ---- */

static void test_shared_is_seen_by_all(void **state) {
  (void)state;
  map(0, 1024, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);
  store(mm, page(0), 1);
  store(mm, page(1000), 2);
  struct mm_struct *child;
  assert_int_equal(mm_fork(mm, &child), ERR_OK);
  assert_int_equal(load(child, page(0)), 1);
  store(child, page(0), 5);
  store(child, page(700), 6);
  assert_int_equal(load(mm, page(0)), 5);
  assert_int_equal(load(mm, page(700)), 6);
  assert_int_equal(load(mm, page(999)), 0);
  assert_int_equal(mm->rss[MM_SHMEMPAGES], 4);
  assert_int_equal(child->rss[MM_SHMEMPAGES], 2);
  /* Dropping translations keeps the pages; so does unmapping in one of the two. */
  assert_int_equal(do_madvise(mm, page(0), PAGE_SIZE, MADV_DONTNEED), ERR_OK);
  assert_int_equal(load(mm, page(0)), 5);
  assert_int_equal(do_munmap(mm, page(0), 1024 * PAGE_SIZE), ERR_OK);
  assert_int_equal(load(child, page(1000)), 2);
  mm_put(child);
}

static void test_shared_part_keeps_its_offset(void **state) {
  (void)state;
  map(0, 8, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);
  for (unsigned n = 0; n < 8; n++)
    store(mm, page(n), n);
  struct mm_struct *child;
  assert_int_equal(mm_fork(mm, &child), ERR_OK);
  assert_int_equal(do_munmap(child, page(0), 3 * PAGE_SIZE), ERR_OK);
  assert_int_equal(do_mprotect(child, page(5), PAGE_SIZE, PROT_READ), ERR_OK);
  for (unsigned n = 3; n < 8; n++)
    assert_int_equal(load(child, page(n)), n);
  mm_put(child);
}

static void test_shared_charges_once(void **state) {
  (void)state;
  map(0, 100, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);
  assert_int_equal(vm_committed_pages() - committed_at_start, 100);
  struct mm_struct *child;
  assert_int_equal(mm_fork(mm, &child), ERR_OK);
  assert_int_equal(vm_committed_pages() - committed_at_start, 100);
  mm_put(child);
  assert_int_equal(do_munmap(mm, page(0), 50 * PAGE_SIZE), ERR_OK);
  assert_int_equal(vm_committed_pages() - committed_at_start, 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_fork_copies_on_write), TEST(test_mprotect_respects_sharing), TEST(test_fork_of_fork),
      TEST(test_rmap_key_says_where),  TEST(test_shared_is_seen_by_all),     TEST(test_shared_part_keeps_its_offset),
      TEST(test_shared_charges_once),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
