/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults one by one: which kind serves which access, what it costs in frames, what fork, COW, stacks, brk, shared objects and files do. All
 * accesses go through the modelled TLBs of vm_machine.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "guest/vm/rmap.h"
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
#define RW (PROT_READ | PROT_WRITE)

static struct mm_struct *mm;
static uint64_t free_at_start, committed_at_start;
static struct test_file file = TEST_FILE(3);

static int setup(void **state) {
  (void)state;
  free_at_start = machine_free_frames();
  committed_at_start = vm_committed_pages();
  machine_set_cpu(0);
  return mm_alloc(&mm) == ERR_OK ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  machine_check_mm(mm);
  machine_check_refs(&mm, 1);
  mm_put(mm);
  assert_int_equal(machine_free_frames(), free_at_start);
  assert_int_equal(vm_committed_pages(), committed_at_start);
  assert_int_equal(file.refs, 0);
  file.broken = false;
  return 0;
}

static uint64_t page(unsigned n) {
  return BASE + n * PAGE_SIZE;
}

static void map(unsigned n, unsigned pages, unsigned prot, unsigned flags) {
  uint64_t out;
  assert_int_equal(do_mmap(mm, page(n), pages * PAGE_SIZE, prot, flags, NULL, 0, &out), ERR_OK);
}

static uint64_t load(struct mm_struct *m, uint64_t addr) {
  uint64_t value = ~(uint64_t)0;
  assert_int_equal(machine_access(m, addr, ACCESS_LOAD, &value), VM_FAULT_OK);
  return value;
}

static void store(struct mm_struct *m, uint64_t addr, uint64_t value) {
  assert_int_equal(machine_access(m, addr, ACCESS_STORE, &value), VM_FAULT_OK);
}

static enum vm_fault try(struct mm_struct *m, uint64_t addr, enum access kind) {
  uint64_t value = 0;
  return machine_access(m, addr, kind, &value);
}

static struct machine_pte pte(struct mm_struct *m, uint64_t addr) {
  struct machine_pte p = {0};
  assert_true(machine_walk(m, addr, &p));
  return p;
}

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

/* ---- fork ---- */

static struct mm_struct *fork_mm(void) {
  struct mm_struct *child;
  assert_int_equal(mm_fork(mm, &child), ERR_OK);
  machine_check_mm(mm);
  machine_check_mm(child);
  struct mm_struct *both[] = {mm, child};
  machine_check_refs(both, 2);
  return child;
}

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

/* ---- Files ---- */

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

static int boot(void **state) {
  (void)state;
  machine_boot(8192);
  return 0;
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_read_gets_the_zero_page),
      TEST(test_write_gets_a_zeroed_frame),
      TEST(test_frames_do_not_leak_contents),
      TEST(test_verdicts),
      TEST(test_mprotect_takes_effect),
      TEST(test_mprotect_of_one_page),
      TEST(test_exec_syncs_the_instruction_cache),
      TEST(test_fork_copies_on_write),
      TEST(test_mprotect_respects_sharing),
      TEST(test_fork_of_fork),
      TEST(test_rmap_key_says_where),
      TEST(test_stale_entry_costs_one_fault),
      TEST(test_unmap_reaches_the_other_cpu),
      TEST(test_no_flush_for_nothing),
      TEST(test_shared_is_seen_by_all),
      TEST(test_shared_part_keeps_its_offset),
      TEST(test_shared_charges_once),
      TEST(test_file_pages),
      TEST(test_file_error_is_sigbus),
      TEST(test_stack_grows),
      TEST(test_stack_limit),
      TEST(test_stack_guard_gap),
      TEST(test_mprotect_growsdown),
      TEST(test_brk),
      TEST(test_commit),
      TEST(test_exhaustion),
      TEST(test_populate),
      TEST(test_read_and_write_from_outside),
      TEST(test_access_ok),
      TEST(test_stats),
      TEST(test_asid_rollover),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
