/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every allocation of every operation of guest/vm fails in turn, until the operation succeeds. After each failure VMAs, counters, contents,
 * references and free frames are as before.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "core/format.h"
#include "guest/vm/internal.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "vm_file.h"
#include "vm_machine.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define BASE ((uint64_t)0x40000000)
#define FAR ((uint64_t)0x2000000000) /* in another level-1 entry: nothing of its branch is there */
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
#define RW (PROT_READ | PROT_WRITE)
#define TRIES_MAX 40u

static struct test_file file = TEST_FILE(2);
static struct mm_struct *mm, *made;

static uint64_t page(unsigned n) {
  return BASE + n * PAGE_SIZE;
}

static err_t map_at(uint64_t addr, unsigned pages, unsigned prot, unsigned flags) {
  uint64_t out;
  struct vm_file *f = flags & MAP_ANONYMOUS ? NULL : &file.file;
  return do_mmap(mm, addr, pages * PAGE_SIZE, prot, flags, f, f ? 5 : 0, &out);
}

static void must(err_t err) {
  assert_int_equal(err, ERR_OK);
}

static void store(uint64_t addr, uint64_t value) {
  assert_int_equal(machine_access(mm, addr, ACCESS_STORE, &value), VM_FAULT_OK);
}

/* ---- Before and after ---- */

struct contents {
  uint64_t count, sum;
};

static void add_page(void *ctx, uint64_t addr, const struct machine_pte *pte) {
  struct contents *c = ctx;
  const uint64_t *word = port_frame_ptr(pfn(pte->frame));
  c->count++;
  c->sum = c->sum * 31 + addr + pte->frame + *word;
}

struct snapshot {
  char maps[4096];
  struct mm_stats stats;
  struct contents contents;
  uint64_t committed, free, brk;
  unsigned file_refs;
};

/* With no VMA kept back, so that the next operation has to ask for each. */
static void take(struct snapshot *s) {
  struct vm_region region = {0};
  size_t at = 0;
  vm_area_drop_spares(mm);
  memset(s, 0, sizeof *s);
  while (mm_next_region(mm, &region)) {
    at += (size_t)vm_region_format(&region, s->maps + at, sizeof s->maps - at);
    assert_true(at < sizeof s->maps - 64);
    s->maps[at++] = '\n';
  }
  mm_read_stats(mm, &s->stats);
  machine_each_page(mm, add_page, &s->contents);
  memset(s->stats.faults, 0, sizeof s->stats.faults);
  s->committed = vm_committed_pages();
  s->free = machine_free_frames();
  s->brk = mm->brk;
  s->file_refs = file.refs;
}

static void assert_same(const struct snapshot *a, const struct snapshot *b) {
  assert_string_equal(a->maps, b->maps);
  assert_memory_equal(&a->stats, &b->stats, sizeof a->stats);
  assert_memory_equal(&a->contents, &b->contents, sizeof a->contents);
  assert_int_equal(a->committed, b->committed);
  assert_int_equal(a->free, b->free);
  assert_int_equal(a->brk, b->brk);
  assert_int_equal(a->file_refs, b->file_refs);
}

/* ---- The operations ---- */

/* ERR_OK, or ERR_NOMEM after an allocation failed. */
typedef err_t operation(void);

static err_t access_at(uint64_t addr, enum access kind) {
  uint64_t value = 1;
  enum vm_fault f = machine_access(mm, addr, kind, &value);
  assert_true(f == VM_FAULT_OK || f == VM_FAULT_OOM);
  return f == VM_FAULT_OK ? ERR_OK : ERR_NOMEM;
}

/* The hardware reports a permission fault. */
static err_t cow_at(uint64_t addr) {
  enum vm_fault f = handle_mm_fault(mm, addr, FAULT_FLAG_WRITE | FAULT_FLAG_PRESENT);
  assert_true(f == VM_FAULT_OK || f == VM_FAULT_OOM);
  return f == VM_FAULT_OK ? ERR_OK : ERR_NOMEM;
}

static err_t op_mm_alloc(void) {
  return mm_alloc(&made);
}
static err_t op_mmap(void) {
  return map_at(page(40), 2, RW, ANON);
}
static err_t op_mmap_cut(void) {
  return map_at(page(2), 2, PROT_READ, ANON);
}
static err_t op_mmap_over_many(void) {
  return map_at(page(2), 20, PROT_READ, ANON);
}
static err_t op_mmap_shared(void) {
  return map_at(page(2), 4, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);
}
static err_t op_mmap_file(void) {
  return map_at(page(2), 4, RW, MAP_PRIVATE | MAP_FIXED);
}
static err_t op_munmap_cut(void) {
  return do_munmap(mm, page(2), 2 * PAGE_SIZE);
}
static err_t op_mprotect_cut(void) {
  return do_mprotect(mm, page(2), 2 * PAGE_SIZE, PROT_READ);
}
static err_t op_mprotect_two(void) {
  return do_mprotect(mm, page(6), 4 * PAGE_SIZE, PROT_EXEC);
}
static err_t op_brk(void) {
  uint64_t brk = mm->start_brk + 3 * PAGE_SIZE;
  return do_brk(mm, brk) == brk ? ERR_OK : ERR_NOMEM;
}
static err_t op_write_fault(void) {
  return access_at(page(20), ACCESS_STORE);
}
static err_t op_far_write_fault(void) {
  return access_at(FAR, ACCESS_STORE);
}
static err_t op_far_read_fault(void) {
  return access_at(FAR, ACCESS_LOAD);
}
static err_t op_cow_of_zero(void) {
  return cow_at(page(19));
}
static err_t op_cow_copy(void) {
  return cow_at(page(0));
}
static err_t op_shared_fault(void) {
  return access_at(page(1300), ACCESS_LOAD);
}
static err_t op_file_fault(void) {
  return access_at(page(31), ACCESS_LOAD);
}
static err_t op_outside_write(void) {
  static char buf[8];
  return mm_write(mm, FAR + PAGE_SIZE, buf, sizeof buf);
}

static err_t op_fork(void) {
  return mm_fork(mm, &made);
}

/*
 *   page   0      8     12       18..20    30..34  40      1024..2047   FAR
 *          wwwwwwww|rrrr|        wwww      file            shared       ww
 *          written               19 read                   1024 touched
 */
static struct mm_struct *forked;

static void build(void) {
  must(mm_alloc(&mm));
  mm_set_brk(mm, 0x30000000);
  must(map_at(page(0), 8, RW, ANON));
  must(map_at(page(8), 4, PROT_READ, ANON));
  must(map_at(page(18), 4, RW, ANON));
  must(map_at(page(30), 4, RW, MAP_PRIVATE | MAP_FIXED));
  must(map_at(page(1024), 1024, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED));
  must(map_at(FAR, 2, RW, ANON));
  for (unsigned n = 0; n < 8; n++)
    store(page(n), n + 100);
  store(page(30), 5);
  store(page(1024), 6);
  must(mm_fork(mm, &forked));
  for (unsigned n = 1; n < 8; n++)
    store(page(n), n + 200);
  must(access_at(page(19), ACCESS_LOAD));
}

static void tear_down(void) {
  struct mm_struct *all[] = {mm, forked, made};
  machine_check_mm(mm);
  machine_check_refs(all, made ? 3 : 2);
  if (made)
    mm_put(made);
  made = NULL;
  mm_put(forked);
  mm_put(mm);
}

static unsigned fail_each(operation *op) {
  static struct snapshot before, after;
  uint64_t free_before = machine_free_frames(), committed_before = vm_committed_pages();
  unsigned nth = 1;
  build();
  take(&before);
  for (;; nth++) {
    assert_true(nth < TRIES_MAX);
    machine_fail_allocation(nth);
    err_t err = op();
    unsigned asked = machine_allocations();
    machine_fail_allocation(0);
    if (err == ERR_OK) {
      assert_true(asked < nth); /* no failure was swallowed */
      break;
    }
    assert_int_equal(err, ERR_NOMEM);
    take(&after);
    assert_same(&before, &after);
    machine_check_mm(mm);
    struct mm_struct *both[] = {mm, forked};
    machine_check_refs(both, 2);
  }
  tear_down();
  assert_int_equal(machine_free_frames(), free_before);
  assert_int_equal(vm_committed_pages(), committed_before);
  assert_int_equal(file.refs, 0);
  return nth - 1;
}

/* With the allocations each is known to make at the least: fewer failures would mean that the test misses some. */
static const struct {
  const char *name;
  operation *op;
  unsigned at_least;
} operations[] = {
    {"mm_alloc", op_mm_alloc, 2},
    {"mmap", op_mmap, 1},
    {"mmap that cuts", op_mmap_cut, 2},
    {"mmap over many", op_mmap_over_many, 1},
    {"mmap shared", op_mmap_shared, 3},
    {"mmap file", op_mmap_file, 2},
    {"munmap that cuts", op_munmap_cut, 1},
    {"mprotect that cuts", op_mprotect_cut, 2},
    {"mprotect over two", op_mprotect_two, 2},
    {"brk", op_brk, 1},
    {"write fault", op_write_fault, 1},
    {"write fault without tables", op_far_write_fault, 3},
    {"read fault without tables", op_far_read_fault, 2},
    {"cow of the zero page", op_cow_of_zero, 1},
    {"cow copy", op_cow_copy, 1},
    {"shared fault", op_shared_fault, 1},
    {"file fault", op_file_fault, 1},
    {"write from outside", op_outside_write, 3},
    {"fork", op_fork, 10},
};

static void test_each_operation(void **state) {
  (void)state;
  for (unsigned i = 0; i < ARRAY_SIZE(operations); i++) {
    unsigned failures = fail_each(operations[i].op);
    if (failures < operations[i].at_least)
      fail_msg("%s: only %u allocations failed", operations[i].name, failures);
  }
}

/* A heap that somebody mapped right behind: shrinking cuts a VMA, and brk says no if it cannot. */
static void test_brk_that_cuts(void **state) {
  (void)state;
  uint64_t free_before = machine_free_frames();
  build();
  must(op_brk());
  must(map_at(mm->start_brk + 3 * PAGE_SIZE, 4, RW, ANON));
  vm_area_drop_spares(mm);
  machine_fail_allocation(1);
  assert_int_equal(do_brk(mm, mm->start_brk + PAGE_SIZE), mm->start_brk + 3 * PAGE_SIZE);
  machine_fail_allocation(0);
  assert_int_equal(do_brk(mm, mm->start_brk + PAGE_SIZE), mm->start_brk + PAGE_SIZE);
  tear_down();
  assert_int_equal(machine_free_frames(), free_before);
}

/* After a fork that failed the parent's pages are its own again at the next write. */
static void test_parent_recovers_from_failed_fork(void **state) {
  (void)state;
  build();
  for (unsigned nth = 1; nth < TRIES_MAX; nth++) {
    struct mm_struct *child = NULL;
    machine_fail_allocation(nth);
    err_t err = mm_fork(mm, &child);
    machine_fail_allocation(0);
    for (unsigned n = 1; n < 8; n++)
      store(page(n), nth);
    if (err == ERR_OK) {
      mm_put(child);
      break;
    }
  }
  tear_down();
}

static int boot(void **state) {
  (void)state;
  machine_boot(8192);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_operation),
      cmocka_unit_test(test_brk_that_cuts),
      cmocka_unit_test(test_parent_recovers_from_failed_fork),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
