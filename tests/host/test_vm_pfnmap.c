/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows (guest/vm/pfnmap.c): blocks where they fit, pages where not, edges through blocks; then random operations of several address
 * spaces over one window, beside anonymous memory in the same places, against an oracle that knows of each page only whether it is mapped,
 * how, and which word of the window it shows.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "core/bits.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "vm_file.h"
#include "vm_machine.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define RW (PROT_READ | PROT_WRITE)
#define BLOCK_PAGES 512u
#define WINDOW_PAGES (3 * BLOCK_PAGES + 7)
#define BASE ((uint64_t)0x40000000)
#define AREA_PAGES (5 * BLOCK_PAGES)
#define PROCS 3u

static const struct vm_window window = {.start = {MACHINE_WINDOW_PFN << PAGE_SHIFT}, .bytes = (uint64_t)WINDOW_PAGES << PAGE_SHIFT};
static struct test_file device = {.file = {.ops = &test_file_ops, .name = "window", .window = &window}};
static uint64_t *words; /* of the window */
static uint64_t free_at_start;
static struct mm_struct *mm;

static uint64_t page(uint64_t n) {
  return BASE + n * PAGE_SIZE;
}

static err_t map_window(struct mm_struct *in, uint64_t n, uint64_t pages, unsigned prot, uint64_t pgoff) {
  uint64_t out = 0;
  err_t err = do_mmap(in, page(n), pages * PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED, &device.file, pgoff, &out);
  assert_true(err != ERR_OK || out == page(n));
  return err;
}

static void store(struct mm_struct *in, uint64_t n, uint64_t value) {
  assert_int_equal(machine_access(in, page(n), ACCESS_STORE, &value), VM_FAULT_OK);
}

static uint64_t load(struct mm_struct *in, uint64_t n) {
  uint64_t value = ~(uint64_t)0;
  assert_int_equal(machine_access(in, page(n), ACCESS_LOAD, &value), VM_FAULT_OK);
  return value;
}

static enum vm_fault try(uint64_t n, enum access kind) {
  uint64_t value = 0;
  return machine_access(mm, page(n), kind, &value);
}

static bool is_block(const struct mm_struct *in, uint64_t n) {
  struct machine_pte pte;
  return machine_walk(in, page(n), &pte) && pte.block;
}

static bool is_mapped(const struct mm_struct *in, uint64_t n) {
  struct machine_pte pte;
  return machine_walk(in, page(n), &pte);
}

static uint64_t *word_of(uint64_t pgoff) {
  return &words[pgoff * (PAGE_SIZE / 8)];
}

static int setup(void **state) {
  (void)state;
  free_at_start = machine_free_frames();
  machine_set_cpu(0);
  words = machine_create_window(WINDOW_PAGES);
  return mm_alloc(&mm) == ERR_OK ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  machine_check_mm(mm);
  machine_check_refs(&mm, 1);
  mm_put(mm);
  assert_int_equal(device.refs, 0);
  assert_int_equal(machine_free_frames(), free_at_start);
  return 0;
}

/* ---- One thing at a time ---- */

static void test_blocks_and_pages(void **state) {
  (void)state;
  assert_int_equal(map_window(mm, 0, WINDOW_PAGES, RW, 0), ERR_OK);
  store(mm, 5, 55);
  store(mm, 3 * BLOCK_PAGES + 6, 66);
  assert_int_equal(*word_of(5), 55);
  assert_int_equal(*word_of(3 * BLOCK_PAGES + 6), 66);
  assert_true(is_block(mm, 5) && is_block(mm, 0) && is_block(mm, 511));
  assert_false(is_block(mm, 3 * BLOCK_PAGES + 6));
  assert_false(is_mapped(mm, BLOCK_PAGES)); /* not touched yet */
  assert_int_equal(mm->faults[FAULT_SHARED], 2);
  assert_int_equal(mm->rss[MM_SHMEMPAGES], 0); /* as in Linux: not this kernel's memory */
  assert_int_equal(vm_committed_pages(), 0);
}

/* Where the two addresses do not agree modulo 2 MiB there are pages only. */
static void test_misaligned_is_pages(void **state) {
  (void)state;
  assert_int_equal(map_window(mm, 1, 2 * BLOCK_PAGES, RW, 0), ERR_OK);
  store(mm, BLOCK_PAGES, 7);
  assert_false(is_block(mm, BLOCK_PAGES));
  assert_int_equal(*word_of(BLOCK_PAGES - 1), 7);
}

/* A table that pages have left makes room for the block. */
static void test_empty_table_makes_room(void **state) {
  (void)state;
  uint64_t out;
  assert_int_equal(do_mmap(mm, page(3), PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0, &out), ERR_OK);
  store(mm, 3, 1);
  assert_int_equal(do_munmap(mm, page(3), PAGE_SIZE), ERR_OK);
  assert_int_equal(map_window(mm, 0, BLOCK_PAGES, RW, 0), ERR_OK);
  store(mm, 3, 2);
  assert_true(is_block(mm, 3));
}

static void test_edges_through_a_block(void **state) {
  (void)state;
  assert_int_equal(map_window(mm, 0, 3 * BLOCK_PAGES, RW, 0), ERR_OK);
  for (unsigned b = 0; b < 3; b++)
    store(mm, b * BLOCK_PAGES + 9, b);
  /* the outer two are cut, the one in the middle goes whole */
  assert_int_equal(do_munmap(mm, page(100), 2 * BLOCK_PAGES * PAGE_SIZE), ERR_OK);
  assert_false(is_mapped(mm, 9) || is_mapped(mm, 2 * BLOCK_PAGES + 9));
  assert_int_equal(load(mm, 9), 0);
  assert_false(is_block(mm, 9));
  assert_int_equal(try(100, ACCESS_LOAD), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(try(2 * BLOCK_PAGES + 99, ACCESS_LOAD), VM_FAULT_SEGV_MAPERR);
  assert_int_equal(load(mm, 2 * BLOCK_PAGES + 100), 0);
  assert_int_equal(*word_of(2 * BLOCK_PAGES + 9), 2);
}

/* On another CPU, which knows the block. */
static void test_protection_of_a_part(void **state) {
  (void)state;
  assert_int_equal(map_window(mm, 0, BLOCK_PAGES, RW, 0), ERR_OK);
  store(mm, 8, 8);
  machine_set_cpu(1);
  store(mm, 9, 9);
  machine_set_cpu(0);
  assert_int_equal(do_mprotect(mm, page(8), 2 * PAGE_SIZE, PROT_READ), ERR_OK);
  machine_set_cpu(1);
  assert_int_equal(try(9, ACCESS_STORE), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(load(mm, 9), 9);
  store(mm, 10, 10);
  machine_set_cpu(0);
  assert_int_equal(do_mprotect(mm, page(8), 2 * PAGE_SIZE, RW), ERR_OK);
  assert_int_equal(mm->map_count, 1);
  store(mm, 9, 19);
  assert_int_equal(*word_of(9), 19);
}

static void test_protection_of_a_whole_block(void **state) {
  (void)state;
  assert_int_equal(map_window(mm, 0, BLOCK_PAGES, RW, 0), ERR_OK);
  store(mm, 8, 8);
  assert_int_equal(do_mprotect(mm, page(0), BLOCK_PAGES * PAGE_SIZE, PROT_READ), ERR_OK);
  assert_true(is_block(mm, 8));
  assert_int_equal(try(8, ACCESS_STORE), VM_FAULT_SEGV_ACCERR);
  assert_int_equal(do_mprotect(mm, page(0), BLOCK_PAGES * PAGE_SIZE, RW), ERR_OK);
  store(mm, 8, 9);
  assert_true(is_block(mm, 8));
}

static void test_fork_shares(void **state) {
  (void)state;
  struct mm_struct *child;
  assert_int_equal(map_window(mm, 0, BLOCK_PAGES + 4, RW, 0), ERR_OK);
  store(mm, 1, 1);
  assert_int_equal(mm_fork(mm, &child), ERR_OK);
  assert_int_equal(device.refs, 2);
  store(child, 1, 2);
  store(child, BLOCK_PAGES, 3);
  assert_int_equal(load(mm, 1), 2);
  assert_int_equal(load(mm, BLOCK_PAGES), 3);
  assert_true(is_block(child, 1));
  machine_check_mm(child);
  mm_put(child);
  assert_int_equal(device.refs, 1);
}

static void test_refused(void **state) {
  (void)state;
  uint64_t out, bytes = BLOCK_PAGES * PAGE_SIZE;
  unsigned char buf[8];
  assert_int_equal(do_mmap(mm, page(0), bytes, RW, MAP_PRIVATE | MAP_FIXED, &device.file, 0, &out), ERR_INVAL);
  assert_int_equal(map_window(mm, 0, WINDOW_PAGES + 1, RW, 0), ERR_INVAL);
  assert_int_equal(map_window(mm, 0, 8, RW, WINDOW_PAGES - 7), ERR_INVAL);
  assert_int_equal(map_window(mm, 0, 1, RW, ~(uint64_t)0 >> PAGE_SHIFT), ERR_INVAL);
  assert_int_equal(map_window(mm, 0, 8, RW | PROT_EXEC, 0), ERR_PERM);
  assert_int_equal(map_window(mm, 0, 8, RW, WINDOW_PAGES - 8), ERR_OK);
  store(mm, 0, 1);
  assert_int_equal(do_mprotect(mm, page(0), PAGE_SIZE, PROT_EXEC), ERR_PERM);
  assert_int_equal(do_mmap(mm, page(8), PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0, &out), ERR_OK);
  assert_int_equal(do_mprotect(mm, page(0), 9 * PAGE_SIZE, PROT_READ | PROT_EXEC), ERR_PERM);
  assert_int_equal(do_madvise(mm, page(0), PAGE_SIZE, MADV_DONTNEED), ERR_INVAL);
  assert_int_equal(mm_read(mm, page(0), buf, sizeof buf), ERR_FAULT);
  assert_int_equal(mm_write(mm, page(1), buf, sizeof buf), ERR_FAULT);
  store(mm, 0, 2);
}

/* Nothing is mapped ahead: whose memory it is may depend on who touches it. Its name is the device's. */
static void test_not_populated(void **state) {
  (void)state;
  uint64_t out;
  struct vm_region region = {0};
  assert_int_equal(do_mmap(mm, page(0), PAGE_SIZE, RW, MAP_SHARED_VALIDATE | MAP_FIXED | MAP_POPULATE, &device.file, 0, &out), ERR_OK);
  assert_false(is_mapped(mm, 0));
  assert_true(mm_next_region(mm, &region));
  assert_string_equal(region.name, "window");
}

/* A multiple of 2 MiB is placed so that blocks fit. */
static void test_placed_for_blocks(void **state) {
  (void)state;
  uint64_t out, value = 1;
  assert_int_equal(do_mmap(mm, 0, 2 * SZ_2M, RW, MAP_SHARED, &device.file, BLOCK_PAGES, &out), ERR_OK);
  assert_true(is_aligned(out, SZ_2M));
  assert_int_equal(machine_access(mm, out, ACCESS_STORE, &value), VM_FAULT_OK);
  assert_int_equal(mm->pfn_blocks, 1);
  assert_int_equal(*word_of(BLOCK_PAGES), 1);
}

static void test_no_memory_for_tables(void **state) {
  (void)state;
  uint64_t value = 4;
  assert_int_equal(map_window(mm, 0, WINDOW_PAGES, RW, 0), ERR_OK);
  for (unsigned n = 0; n < 2; n++) {
    uint64_t at = page(n * 3 * BLOCK_PAGES);
    machine_fail_allocation(1);
    assert_int_equal(machine_access(mm, at, ACCESS_STORE, &value), VM_FAULT_OOM);
    machine_fail_allocation(0);
    assert_int_equal(machine_access(mm, at, ACCESS_STORE, &value), VM_FAULT_OK);
  }
}

/* ---- Random operations ---- */

struct oracle_page {
  bool mapped, anon;
  uint8_t prot;
  uint32_t pgoff;
  uint64_t value; /* of anonymous memory */
};

static struct proc {
  struct mm_struct *mm;
  struct oracle_page pages[AREA_PAGES];
} procs[PROCS];

static uint64_t truth[WINDOW_PAGES];
static unsigned rng_state, seed_now, step_now;

static unsigned rnd(unsigned below) {
  rng_state = rng_state * 1664525u + 1013904223u;
  return (unsigned)(((uint64_t)(rng_state >> 8) * below) >> 24);
}

/* Often whole blocks, or with an edge right beside one. */
static void pick_range(unsigned *n, unsigned *pages) {
  unsigned kind = rnd(3), b = rnd(5);
  *n = kind == 0 ? rnd(AREA_PAGES) : kind == 1 ? b * BLOCK_PAGES : b * BLOCK_PAGES + rnd(3);
  *pages = rnd(2) ? BLOCK_PAGES * (1 + rnd(3)) : 1 + rnd(600);
  if (*pages > AREA_PAGES - *n)
    *pages = AREA_PAGES - *n;
}

static bool has_hole(const struct proc *p, unsigned n, unsigned pages) {
  for (; pages > 0; pages--, n++) {
    if (!p->pages[n].mapped)
      return true;
  }
  return false;
}

static void op_map(struct proc *p) {
  unsigned n, pages;
  uint64_t out;
  pick_range(&n, &pages);
  struct oracle_page o = {.mapped = true, .anon = rnd(4) == 0, .prot = rnd(3) ? RW : PROT_READ};
  if (o.anon) {
    assert_int_equal(
        do_mmap(p->mm, page(n), pages * PAGE_SIZE, o.prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, NULL, 0, &out), ERR_OK);
  } else {
    o.pgoff = rnd(3) ? n % BLOCK_PAGES : rnd(WINDOW_PAGES);
    if (pages > WINDOW_PAGES - o.pgoff)
      pages = WINDOW_PAGES - o.pgoff;
    assert_int_equal(map_window(p->mm, n, pages, o.prot, o.pgoff), ERR_OK);
  }
  for (unsigned i = 0; i < pages; i++, o.pgoff += !o.anon)
    p->pages[n + i] = o;
}

static void op_unmap(struct proc *p) {
  unsigned n, pages;
  pick_range(&n, &pages);
  assert_int_equal(do_munmap(p->mm, page(n), pages * PAGE_SIZE), ERR_OK);
  memset(&p->pages[n], 0, pages * sizeof p->pages[0]);
}

static void op_protect(struct proc *p) {
  static const uint8_t prots[] = {RW, RW, PROT_READ, PROT_NONE};
  unsigned n, pages, prot = prots[rnd(4)];
  pick_range(&n, &pages);
  pages = rnd(3) ? pages : 1;
  err_t err = do_mprotect(p->mm, page(n), pages * PAGE_SIZE, prot);
  assert_int_equal(err, has_hole(p, n, pages) ? ERR_NOMEM : ERR_OK);
  for (unsigned i = 0; err == ERR_OK && i < pages; i++)
    p->pages[n + i].prot = (uint8_t)prot;
}

static void op_access(struct proc *p) {
  unsigned n = rnd(3) ? rnd(AREA_PAGES) : rnd(5) * BLOCK_PAGES + rnd(2);
  struct oracle_page *o = &p->pages[n];
  enum access kind = rnd(2) ? ACCESS_STORE : ACCESS_LOAD;
  uint64_t value = rng_state, stored = value, *want = o->anon ? &o->value : &truth[o->pgoff];
  bool allowed = kind == ACCESS_STORE ? o->prot == RW : o->prot != PROT_NONE;
  enum vm_fault verdict = !o->mapped ? VM_FAULT_SEGV_MAPERR : allowed ? VM_FAULT_OK : VM_FAULT_SEGV_ACCERR;
  machine_set_cpu(rnd(MACHINE_CPUS));
  assert_int_equal(machine_access(p->mm, page(n), kind, &value), verdict);
  if (verdict != VM_FAULT_OK)
    return;
  if (kind == ACCESS_STORE)
    *want = stored;
  else
    assert_int_equal(value, *want);
}

static void op_fork(struct proc *p) {
  struct proc *child = &procs[rnd(PROCS)];
  if (child == p)
    return;
  mm_put(child->mm);
  memcpy(child->pages, p->pages, sizeof child->pages);
  assert_int_equal(mm_fork(p->mm, &child->mm), ERR_OK);
}

static void random_op(struct proc *p) {
  unsigned dice = rnd(100);
  if (dice < 70)
    op_access(p);
  else if (dice < 80)
    op_map(p);
  else if (dice < 86)
    op_unmap(p);
  else if (dice < 97)
    op_protect(p);
  else
    op_fork(p);
}

/* No leaf outlives its mapping; and every block is whole, which the walk of machine_check_mm() has shown page by page. */
static void check(const struct proc *p) {
  machine_check_mm(p->mm);
  for (unsigned n = 0; n < AREA_PAGES; n += 1 + n % 7)
    assert_true(p->pages[n].mapped || !is_mapped(p->mm, n));
}

static void run_seed(unsigned seed) {
  rng_state = seed_now = seed;
  memset(truth, 0, sizeof truth);
  words = machine_create_window(WINDOW_PAGES);
  memset(procs, 0, sizeof procs);
  for (unsigned i = 0; i < PROCS; i++)
    assert_int_equal(mm_alloc(&procs[i].mm), ERR_OK);
  for (step_now = 0; step_now < 1500; step_now++) {
    struct proc *p = &procs[rnd(PROCS)];
    random_op(p);
    if (step_now % 16 == 0)
      check(p);
  }
  for (unsigned i = 0; i < WINDOW_PAGES; i++)
    assert_int_equal(*word_of(i), truth[i]);
  for (unsigned i = 0; i < PROCS; i++)
    mm_put(procs[i].mm);
  assert_int_equal(device.refs, 0);
  seed_now = 0;
}

static void test_random(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 12; seed++) {
    uint64_t before = machine_free_frames();
    run_seed(seed * 104729);
    assert_int_equal(machine_free_frames(), before);
  }
}

static int say_where(void **state) {
  (void)state;
  if (seed_now)
    print_message("seed %u, step %u\n", seed_now, step_now);
  return 0;
}

static int boot(void **state) {
  (void)state;
  machine_boot(16384);
  return 0;
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_blocks_and_pages),
      TEST(test_misaligned_is_pages),
      TEST(test_empty_table_makes_room),
      TEST(test_edges_through_a_block),
      TEST(test_protection_of_a_part),
      TEST(test_protection_of_a_whole_block),
      TEST(test_fork_shares),
      TEST(test_refused),
      TEST(test_not_populated),
      TEST(test_placed_for_blocks),
      TEST(test_no_memory_for_tables),
      cmocka_unit_test_teardown(test_random, say_where),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
