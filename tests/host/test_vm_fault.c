/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults one by one: which kind serves which access, and what it costs in frames; files; what becomes of them when memory ends. All
 * accesses go through the modelled TLBs of vm_machine.
 */
// sources: tests/host/vm_machine.c tests/host/vm_single.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "mm/page_alloc.h"
#include "vm_single.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---- Anonymous memory ---- */

static void test_read_gets_the_zero_page(void **state) {
  (void)state;
  map(0, 4, RW, ANON);
  assert_int_equal(load(mm, page(0)), 0);
  uint64_t free = page_free_frames();
  assert_int_equal(load(mm, page(1) + 4088), 0);
  assert_int_equal(page_free_frames(), free); /* no frame, the table being there */
  assert_int_equal(mm->faults[FAULT_ZERO_PAGE], 2);
  assert_int_equal(pte(mm, page(0)).frame, pte(mm, page(1)).frame);
  assert_false(pte(mm, page(0)).writable);
  assert_int_equal(mm->rss[MM_ANONPAGES], 0);
  store(mm, page(0), 7);
  assert_int_equal(mm->faults[FAULT_COW_ZERO], 1);
  assert_int_equal(load(mm, page(0)), 7);
  assert_int_equal(load(mm, page(0) + 8), 0);
  assert_int_equal(load(mm, page(1)), 0);
  assert_int_equal(mm->rss[MM_ANONPAGES], 1);
}

static void test_write_gets_a_zeroed_frame(void **state) {
  (void)state;
  map(0, 2, RW, ANON);
  store(mm, page(0) + 8, 1);
  assert_int_equal(mm->faults[FAULT_ANON], 1);
  assert_true(pte(mm, page(0)).writable);
  for (unsigned i = 0; i < 512; i++)
    assert_int_equal(load(mm, page(0) + i * 8), i == 1);
  uint64_t total = 0;
  for (unsigned kind = 0; kind < FAULT_KINDS; kind++)
    total += mm->faults[kind];
  assert_int_equal(total, 1);
}

/* A frame that comes back from one use shows nothing of it in the next. */
static void test_frames_do_not_leak_contents(void **state) {
  (void)state;
  map(0, 64, RW, ANON);
  for (unsigned round = 0; round < 3; round++) {
    for (unsigned n = 0; n < 64; n++) {
      assert_int_equal(load(mm, page(n) + 16), 0);
      store(mm, page(n) + 16, 0x5ec3e7);
    }
    assert_int_equal(do_madvise(mm, page(0), 64 * PAGE_SIZE, MADV_DONTNEED), ERR_OK);
  }
}

static void test_verdicts(void **state) {
  (void)state;
  map(0, 1, PROT_READ, ANON);
  map(1, 1, PROT_NONE, ANON);
  map(2, 1, PROT_WRITE, ANON);
  map(3, 1, PROT_EXEC, ANON);
  map(4, 1, RW, ANON);
  assert_int_equal(try(mm, page(0), ACCESS_LOAD), VM_FAULT_OK);
  assert_int_equal(try(mm, page(0), ACCESS_STORE), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(try(mm, page(0), ACCESS_FETCH), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(try(mm, page(1), ACCESS_LOAD), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(try(mm, page(1), ACCESS_STORE), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(try(mm, page(2), ACCESS_LOAD), VM_FAULT_OK);
  assert_int_equal(try(mm, page(2), ACCESS_STORE), VM_FAULT_OK);
  assert_int_equal(try(mm, page(3), ACCESS_FETCH), VM_FAULT_OK);
  assert_int_equal(try(mm, page(3), ACCESS_LOAD), VM_FAULT_OK);
  assert_int_equal(try(mm, page(3), ACCESS_STORE), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(try(mm, page(4), ACCESS_FETCH), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(try(mm, page(5), ACCESS_LOAD), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(try(mm, page(0) - 8, ACCESS_STORE), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(try(mm, 0, ACCESS_LOAD), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(try(mm, TASK_SIZE, ACCESS_LOAD), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(try(mm, ~(uint64_t)7, ACCESS_FETCH), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(mm->faults[FAULT_SEGV], 11);
}

/* ---- Files ---- */

static struct test_file file = TEST_FILE(3);

static int teardown_file(void **state) {
  teardown(state);
  assert_int_equal(file.refs, 0);
  return 0;
}

static void map_file(unsigned n, unsigned pages, unsigned prot, uint64_t pgoff) {
  uint64_t out;
  assert_int_equal(do_mmap(mm, page(n), pages * PAGE_SIZE, prot, MAP_PRIVATE | MAP_FIXED, &file.file, pgoff, &out), ERR_OK);
}

static void test_file_pages(void **state) {
  (void)state;
  map_file(0, 4, PROT_READ | PROT_EXEC, 10);
  map_file(4, 4, RW, 14);
  unsigned reads = file.reads;
  assert_int_equal(load(mm, page(1) + 8), vm_file_word(3, 11 * PAGE_SIZE + 8));
  assert_int_equal(try(mm, page(1), ACCESS_FETCH), VM_FAULT_OK);
  assert_int_equal(file.reads, reads + 1);
  store(mm, page(5), 77);
  assert_int_equal(load(mm, page(5)), 77);
  assert_int_equal(load(mm, page(5) + 8), vm_file_word(3, 15 * PAGE_SIZE + 8));
  assert_int_equal(mm->faults[FAULT_FILE], 2);
  assert_int_equal(mm->rss[MM_FILEPAGES], 2);
  struct mm_struct *child = fork_mm();
  store(child, page(5), 78);
  assert_int_equal(load(mm, page(5)), 77);
  assert_int_equal(child->rss[MM_FILEPAGES], 1);
  assert_int_equal(child->rss[MM_ANONPAGES], 1);
  mm_put(child);
  assert_int_equal(do_madvise(mm, page(4), 4 * PAGE_SIZE, MADV_DONTNEED), ERR_OK);
  assert_int_equal(load(mm, page(5)), vm_file_word(3, 15 * PAGE_SIZE));
}

static void test_file_error_is_sigbus(void **state) {
  (void)state;
  map_file(0, 1, PROT_READ, 0);
  file.broken = true;
  assert_int_equal(try(mm, page(0), ACCESS_LOAD), VM_FAULT_BUS);
  file.broken = false;
  assert_int_equal(load(mm, page(0)), vm_file_word(3, 0));
}

/* ---- Out of memory ---- */

static void test_exhaustion(void **state) {
  (void)state;
  uint64_t pages = machine_free_frames() + 100, n = 0, value = 1;
  map(0, (unsigned)pages, RW, ANON | MAP_NORESERVE);
  enum vm_fault f = VM_FAULT_OK;
  while (f == VM_FAULT_OK && n < pages)
    f = machine_access(mm, page((unsigned)n++), ACCESS_STORE, &value);
  assert_int_equal(f, VM_FAULT_OOM);
  assert_int_equal(mm->faults[FAULT_OOM], 1);
  assert_int_equal(load(mm, page(0)), 1);
  machine_check_mm(mm);
  assert_int_equal(do_munmap(mm, page(0), pages * PAGE_SIZE), ERR_OK);
  map(0, 1, RW, ANON);
  store(mm, page(0), 2);
}

/* ---- The rest ---- */

static void test_populate(void **state) {
  (void)state;
  map(0, 8, RW, ANON | MAP_POPULATE);
  map(8, 8, PROT_READ, ANON | MAP_POPULATE);
  map(16, 8, PROT_NONE, ANON | MAP_POPULATE);
  map(24, 8, PROT_EXEC, ANON | MAP_LOCKED);
  assert_int_equal(mm->faults[FAULT_ANON], 8);
  assert_int_equal(mm->faults[FAULT_ZERO_PAGE], 16);
}

static void test_read_and_write_from_outside(void **state) {
  (void)state;
  static unsigned char in[3 * PAGE_SIZE], out[3 * PAGE_SIZE];
  for (unsigned i = 0; i < sizeof in; i++)
    in[i] = (unsigned char)(i * 7 + i / 251);
  map(0, 4, RW, ANON);
  map(4, 1, PROT_READ, ANON);
  struct mm_struct *child = fork_mm();
  assert_int_equal(mm_write(mm, page(0) + 100, in, sizeof in), ERR_OK);
  assert_int_equal(mm_read(mm, page(0) + 100, out, sizeof out), ERR_OK);
  assert_memory_equal(in, out, sizeof in);
  assert_int_equal(load(child, page(1)), 0);
  assert_int_equal(mm_write(mm, page(3), in, 2 * PAGE_SIZE), ERR_FAULT);
  assert_int_equal(mm_read(mm, page(3), out, 2 * PAGE_SIZE), ERR_OK);
  assert_int_equal(mm_read(mm, page(4), out, 2 * PAGE_SIZE), ERR_FAULT);
  assert_int_equal(mm_read(mm, TASK_SIZE - 8, out, 16), ERR_FAULT);
  assert_int_equal(mm_read(mm, ~(uint64_t)0, out, 16), ERR_FAULT);
  mm_put(child);
}

static void test_access_ok(void **state) {
  (void)state;
  assert_true(access_ok(0, 0));
  assert_true(access_ok(TASK_SIZE - 8, 8));
  assert_true(access_ok(TASK_SIZE, 0));
  assert_true(access_ok(0, TASK_SIZE));
  assert_false(access_ok(TASK_SIZE - 8, 9));
  assert_false(access_ok(~(uint64_t)0, 1));
  assert_false(access_ok(8, ~(uint64_t)0));
}

static void test_stats(void **state) {
  (void)state;
  struct mm_stats stats;
  map(0, 8, RW, ANON);
  for (unsigned n = 0; n < 8; n++)
    store(mm, page(n), 1);
  assert_int_equal(do_madvise(mm, page(0), 4 * PAGE_SIZE, MADV_DONTNEED), ERR_OK);
  mm_read_stats(mm, &stats);
  assert_int_equal(stats.total_vm, 8);
  assert_int_equal(stats.rss[MM_ANONPAGES], 4);
  assert_int_equal(stats.hiwater_rss, 8);
  assert_int_equal(stats.faults[FAULT_ANON], 8);
  assert_int_equal(stats.table_frames, 3);
  assert_int_equal(stats.map_count, 1);
}

/* More address spaces than ASIDs, on two CPUs: every one still sees its own memory. */
static void test_asid_rollover(void **state) {
  (void)state;
  enum {
    SPACES = 300
  };
  static struct mm_struct *spaces[SPACES];
  for (unsigned i = 0; i < SPACES; i++) {
    uint64_t out;
    assert_int_equal(mm_alloc(&spaces[i]), ERR_OK);
    assert_int_equal(do_mmap(spaces[i], BASE, PAGE_SIZE, RW, ANON, NULL, 0, &out), ERR_OK);
    machine_set_cpu(i & 1);
    store(spaces[i], BASE, i);
  }
  for (unsigned round = 0; round < 4; round++) {
    for (unsigned i = 0; i < SPACES; i++) {
      machine_set_cpu((i + round) & 1);
      assert_int_equal(load(spaces[i], BASE), i);
    }
  }
  machine_set_cpu(0);
  for (unsigned i = 0; i < SPACES; i++)
    mm_put(spaces[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_read_gets_the_zero_page),
      TEST(test_write_gets_a_zeroed_frame),
      TEST(test_frames_do_not_leak_contents),
      TEST(test_verdicts),
      cmocka_unit_test_setup_teardown(test_file_pages, setup, teardown_file),
      cmocka_unit_test_setup_teardown(test_file_error_is_sigbus, setup, teardown_file),
      TEST(test_exhaustion),
      TEST(test_populate),
      TEST(test_read_and_write_from_outside),
      TEST(test_access_ok),
      TEST(test_stats),
      TEST(test_asid_rollover),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
