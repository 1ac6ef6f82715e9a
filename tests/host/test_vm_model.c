/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations in several address spaces against an oracle that knows nothing of VMAs, trees or page tables: a flat array of pages for
 * each process, saying of each page whether it is mapped, how, and what it holds. The number of VMAs must be the number of maximal runs of
 * like pages; placement must be the highest free run; every access must give the oracle's value or its verdict.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "vm_file.h"
#include "vm_machine.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define PROCS 4u
#define OBJECTS 64u
#define OBJECT_PAGES 32u
#define FILES 2u

/* Pages of a process: the window just below MMAP_BASE, then its heap, then its stack. */
#define WINDOW_PAGES 96u
#define HEAP_PAGES 16u
#define STACK_PAGES 32u
#define STACK_LIMIT_PAGES 24u
#define PAGES (WINDOW_PAGES + HEAP_PAGES + STACK_PAGES)
#define HEAP_BASE ((uint64_t)0x12345000)

struct page {
  bool mapped, shared, noreserve, account, stack;
  uint8_t prot;
  uint8_t backing; /* 0 none, 1..FILES a file, FILES + 1.. a shared object */
  uint32_t pgoff;
  uint64_t value; /* word 0, of private pages */
};

struct proc {
  struct mm_struct *mm;
  struct page pages[PAGES];
  unsigned heap_pages;
};

static struct proc procs[PROCS];
static struct {
  bool live;
  unsigned charged;
  uint64_t value[OBJECT_PAGES];
} objects[OBJECTS];
static struct test_file files[FILES] = {TEST_FILE(1), TEST_FILE(2)};
static uint64_t committed_at_start;
static unsigned rng_state;

static unsigned rnd(unsigned below) {
  rng_state = rng_state * 1664525u + 1013904223u;
  return (unsigned)(((uint64_t)(rng_state >> 8) * below) >> 24);
}

static uint64_t address(unsigned n) {
  if (n < WINDOW_PAGES)
    return MMAP_BASE - (WINDOW_PAGES - n) * PAGE_SIZE;
  if (n < WINDOW_PAGES + HEAP_PAGES)
    return HEAP_BASE + (n - WINDOW_PAGES) * PAGE_SIZE;
  return STACK_TOP - (PAGES - n) * PAGE_SIZE;
}

/* ---- What the oracle expects ---- */

static bool is_object(const struct page *p) {
  return p->backing > FILES;
}

static uint64_t fresh_value(const struct page *p) {
  return p->backing && !is_object(p) ? vm_file_word(files[p->backing - 1].id, (uint64_t)p->pgoff << PAGE_SHIFT) : 0;
}

static uint64_t *value_of(struct page *p) {
  return is_object(p) ? &objects[p->backing - FILES - 1].value[p->pgoff] : &p->value;
}

static bool one_run(const struct page *a, const struct page *b) {
  return a->mapped && b->mapped && a->prot == b->prot && a->shared == b->shared && a->noreserve == b->noreserve &&
         a->account == b->account && a->stack == b->stack && a->backing == b->backing && (!a->backing || a->pgoff + 1 == b->pgoff);
}

static bool starts_window(unsigned n) {
  return n == 0 || n == WINDOW_PAGES || n == WINDOW_PAGES + HEAP_PAGES;
}

static unsigned count_runs(const struct proc *proc) {
  unsigned runs = 0;
  for (unsigned n = 0; n < PAGES; n++)
    runs += proc->pages[n].mapped && (starts_window(n) || !one_run(&proc->pages[n - 1], &proc->pages[n]));
  return runs;
}

static bool has_hole(const struct proc *proc, unsigned n, unsigned pages) {
  for (; pages > 0; pages--, n++) {
    if (!proc->pages[n].mapped)
      return true;
  }
  return false;
}

static bool has_any(const struct proc *proc, unsigned n, unsigned pages) {
  for (; pages > 0; pages--, n++) {
    if (proc->pages[n].mapped)
      return true;
  }
  return false;
}

/* Objects that no process maps any more are gone. */
static void reap_objects(void) {
  bool used[OBJECTS] = {false};
  for (unsigned i = 0; i < PROCS; i++) {
    for (unsigned n = 0; procs[i].mm && n < PAGES; n++) {
      const struct page *p = &procs[i].pages[n];
      if (p->mapped && is_object(p))
        used[p->backing - FILES - 1] = true;
    }
  }
  for (unsigned i = 0; i < OBJECTS; i++)
    objects[i].live &= used[i];
}

static uint64_t expected_commit(void) {
  uint64_t pages = 0;
  for (unsigned i = 0; i < PROCS; i++) {
    for (unsigned n = 0; procs[i].mm && n < PAGES; n++)
      pages += procs[i].pages[n].mapped && procs[i].pages[n].account;
  }
  for (unsigned i = 0; i < OBJECTS; i++)
    pages += objects[i].live ? objects[i].charged : 0;
  return pages;
}

/* ---- Checks ---- */

static void check_page(struct proc *proc, unsigned n) {
  struct page *p = &proc->pages[n];
  struct machine_pte pte;
  if (!machine_walk(proc->mm, address(n), &pte)) {
    if (p->mapped && !is_object(p))
      assert_int_equal(p->value, fresh_value(p)); /* what was written is not lost */
    return;
  }
  assert_true(p->mapped);
  const uint64_t *words = port_frame_ptr(pfn(pte.frame));
  assert_int_equal(words[0], *value_of(p));
  assert_int_equal(words[255], fresh_value(p) ? fresh_value(p) + 255 * 8 : 0);
}

static void check_proc(struct proc *proc) {
  uint64_t mapped = 0;
  for (unsigned n = 0; n < PAGES; n++)
    mapped += proc->pages[n].mapped;
  assert_int_equal(proc->mm->total_vm, mapped);
  assert_int_equal(proc->mm->map_count, count_runs(proc));
  machine_check_mm(proc->mm);
}

static void check_everything(void) {
  struct mm_struct *mms[PROCS];
  unsigned count = 0;
  for (unsigned i = 0; i < PROCS; i++) {
    if (!procs[i].mm)
      continue;
    mms[count++] = procs[i].mm;
    check_proc(&procs[i]);
    for (unsigned n = 0; n < PAGES; n++)
      check_page(&procs[i], n);
  }
  machine_check_refs(mms, count);
  assert_int_equal(vm_committed_pages() - committed_at_start, expected_commit());
}

/* ---- Operations: the real thing and the oracle, side by side ---- */

static const uint8_t prots[] = {PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_WRITE,
                                PROT_READ,
                                PROT_NONE,
                                PROT_READ | PROT_EXEC,
                                PROT_EXEC,
                                PROT_READ | PROT_WRITE | PROT_EXEC};

static uint8_t random_prot(void) {
  return prots[rnd(sizeof prots)];
}

static void pick_range(unsigned *n, unsigned *pages) {
  *n = rnd(WINDOW_PAGES);
  *pages = 1 + rnd(rnd(3) ? 6 : 30);
  if (*pages > WINDOW_PAGES - *n)
    *pages = WINDOW_PAGES - *n;
}

/* A free object for a shared mapping, or 0. */
static unsigned new_object(unsigned pages, bool noreserve) {
  for (unsigned i = 0; i < OBJECTS; i++) {
    if (objects[i].live)
      continue;
    memset(&objects[i], 0, sizeof objects[i]);
    objects[i].live = true;
    objects[i].charged = noreserve ? 0 : pages;
    return FILES + 1 + i;
  }
  return 0;
}

struct request {
  struct page page;
  unsigned flags;
  struct vm_file *file;
};

static bool random_request(unsigned pages, struct request *r) {
  unsigned kind = rnd(10);
  *r = (struct request){.page = {.mapped = true, .prot = random_prot()}, .flags = MAP_PRIVATE | MAP_ANONYMOUS};
  if (rnd(6) == 0) {
    r->page.noreserve = true;
    r->flags |= MAP_NORESERVE;
  }
  if (kind == 0) {
    r->page.shared = true;
    r->flags ^= MAP_PRIVATE | MAP_SHARED;
    r->page.backing = (uint8_t)(pages <= OBJECT_PAGES ? new_object(pages, r->page.noreserve) : 0);
    return r->page.backing != 0;
  }
  if (kind <= 2) {
    unsigned f = rnd(FILES);
    r->flags &= ~MAP_ANONYMOUS;
    r->file = &files[f].file;
    r->page.backing = (uint8_t)(f + 1);
    r->page.pgoff = rnd(3) ? 0 : rnd(50);
  }
  r->page.account = (r->page.prot & PROT_WRITE) && !r->page.noreserve;
  return true;
}

static void oracle_map(struct proc *proc, unsigned n, unsigned pages, const struct request *r) {
  for (unsigned i = 0; i < pages; i++) {
    struct page *p = &proc->pages[n + i];
    *p = r->page;
    p->pgoff += r->page.backing ? i : 0;
    p->value = fresh_value(p);
  }
}

static void op_mmap_fixed(struct proc *proc) {
  unsigned n, pages;
  struct request r;
  uint64_t out;
  pick_range(&n, &pages);
  bool noreplace = rnd(4) == 0, taken = has_any(proc, n, pages);
  if (!random_request(pages, &r))
    return;
  /* Offsets that follow the address, so that neighbours of one file often go together. */
  if (r.file && !r.page.pgoff)
    r.page.pgoff = n;
  err_t err = do_mmap(proc->mm, address(n), pages * PAGE_SIZE, r.page.prot, r.flags | (noreplace ? MAP_FIXED_NOREPLACE : MAP_FIXED), r.file,
                      r.page.pgoff, &out);
  if (noreplace && taken) {
    assert_int_equal(err, ERR_EXIST);
    return;
  }
  assert_int_equal(err, ERR_OK);
  assert_int_equal(out, address(n));
  oracle_map(proc, n, pages, &r);
}

/* The highest run of `pages` free pages in the window; -1: it would lie outside. */
static int highest_free(const struct proc *proc, unsigned pages) {
  for (int n = (int)(WINDOW_PAGES - pages); n >= 0; n--) {
    if (!has_any(proc, (unsigned)n, pages))
      return n;
  }
  return -1;
}

static void op_mmap_anywhere(struct proc *proc) {
  unsigned pages = 1 + rnd(12);
  int n = highest_free(proc, pages);
  struct request r;
  uint64_t out;
  if (n < 0 || !random_request(pages, &r))
    return;
  assert_int_equal(do_mmap(proc->mm, 0, pages * PAGE_SIZE, r.page.prot, r.flags, r.file, r.page.pgoff, &out), ERR_OK);
  assert_int_equal(out, address((unsigned)n));
  oracle_map(proc, (unsigned)n, pages, &r);
}

static void op_munmap(struct proc *proc) {
  unsigned n, pages;
  pick_range(&n, &pages);
  assert_int_equal(do_munmap(proc->mm, address(n), pages * PAGE_SIZE - rnd(2) * 100), ERR_OK);
  memset(&proc->pages[n], 0, pages * sizeof proc->pages[0]);
}

static void op_dontneed(struct proc *proc) {
  unsigned n, pages;
  pick_range(&n, &pages);
  err_t err = do_madvise(proc->mm, address(n), pages * PAGE_SIZE, MADV_DONTNEED);
  assert_int_equal(err, has_hole(proc, n, pages) ? ERR_NOMEM : ERR_OK);
  for (; pages > 0; pages--, n++)
    proc->pages[n].value = proc->pages[n].mapped ? fresh_value(&proc->pages[n]) : 0;
}

static void op_brk(struct proc *proc) {
  static const struct page heap = {.mapped = true, .prot = PROT_READ | PROT_WRITE, .account = true};
  unsigned pages = rnd(HEAP_PAGES + 1);
  uint64_t brk = HEAP_BASE + pages * PAGE_SIZE;
  if (pages > 0)
    brk -= rnd(2) * 77;
  assert_int_equal(do_brk(proc->mm, brk), brk);
  for (unsigned i = 0; i < HEAP_PAGES; i++) {
    struct page *p = &proc->pages[WINDOW_PAGES + i];
    if (i >= pages)
      *p = (struct page){0};
    else if (!p->mapped)
      *p = heap;
  }
}

static enum vm_fault expected_verdict(const struct page *p, enum access kind) {
  static const uint8_t needed[] = {PROT_READ | PROT_WRITE | PROT_EXEC, PROT_WRITE, PROT_EXEC};
  if (!p->mapped)
    return VM_FAULT_SEGV_MAPERR;
  return p->prot & needed[kind] ? VM_FAULT_OK : VM_FAULT_SEGV_ACCERR;
}

/* Touching the stack below its start makes it reach down to there. */
static void oracle_grow(struct proc *proc, unsigned n) {
  static const struct page stack = {.mapped = true, .prot = PROT_READ | PROT_WRITE, .account = true, .stack = true};
  if (n < PAGES - STACK_LIMIT_PAGES)
    return;
  for (; n < PAGES && !proc->pages[n].mapped; n++)
    proc->pages[n] = stack;
}

static void access_page(struct proc *proc, unsigned n) {
  enum access kind = rnd(8) == 0 ? ACCESS_FETCH : rnd(2) ? ACCESS_STORE : ACCESS_LOAD;
  uint64_t value = (uint64_t)rnd(1u << 24) << 24 | rnd(1u << 24);
  machine_set_cpu(rnd(MACHINE_CPUS));
  oracle_grow(proc, n);
  struct page *p = &proc->pages[n];
  uint64_t stored = value;
  assert_int_equal(machine_access(proc->mm, address(n), kind, &value), expected_verdict(p, kind));
  if (expected_verdict(p, kind) != VM_FAULT_OK)
    return;
  if (kind == ACCESS_STORE)
    *value_of(p) = stored;
  else
    assert_int_equal(value, *value_of(p));
}

static void op_access(struct proc *proc) {
  access_page(proc, rnd(PAGES));
}

static void mprotect(struct proc *proc, unsigned n, unsigned pages, uint8_t prot) {
  err_t err = do_mprotect(proc->mm, address(n), pages * PAGE_SIZE, prot);
  if (has_hole(proc, n, pages)) {
    assert_int_equal(err, ERR_NOMEM);
    return;
  }
  assert_int_equal(err, ERR_OK);
  for (; pages > 0; pages--, n++) {
    struct page *p = &proc->pages[n];
    p->prot = prot;
    p->account |= (prot & PROT_WRITE) && !p->shared && !p->noreserve;
  }
}

/* There and back a few times, and accesses by all CPUs in between: their TLBs know the page from before. */
static void op_mprotect(struct proc *proc) {
  unsigned n, pages, touched;
  pick_range(&n, &pages);
  pages = rnd(2) ? 1 : pages;
  touched = n + rnd(pages);
  uint8_t old = proc->pages[n].prot, new = random_prot();
  for (unsigned i = 0; i <= rnd(6); i++) {
    access_page(proc, touched);
    mprotect(proc, n, pages, i % 2 ? old : new);
    check_proc(proc);
    access_page(proc, touched);
    access_page(proc, touched);
  }
}

static void start_proc(struct proc *proc) {
  uint64_t out;
  memset(proc, 0, sizeof *proc);
  assert_int_equal(mm_alloc(&proc->mm), ERR_OK);
  proc->mm->stack_limit = STACK_LIMIT_PAGES * PAGE_SIZE;
  mm_set_brk(proc->mm, HEAP_BASE);
  assert_int_equal(do_mmap(proc->mm, STACK_TOP - PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, NULL, 0, &out),
                   ERR_OK);
  oracle_grow(proc, PAGES - 1);
}

static void op_exit(struct proc *proc) {
  mm_put(proc->mm);
  proc->mm = NULL;
}

static void op_fork(struct proc *proc) {
  struct proc *child = &procs[rnd(PROCS)];
  if (child == proc)
    return;
  if (child->mm)
    op_exit(child);
  memcpy(child->pages, proc->pages, sizeof child->pages);
  assert_int_equal(mm_fork(proc->mm, &child->mm), ERR_OK);
  check_proc(child);
}

/* Whoever maps it goes on with it elsewhere. A process that has not run yet holds its pages where they are. */
static void op_move(struct proc *proc) {
  struct machine_pte pte;
  if (!machine_walk(proc->mm, address(rnd(PAGES)), &pte))
    return;
  if (frame_state(pfn(pte.frame)) != FRAME_OWNED) {
    assert_int_equal(machine_move(pte.frame), MOVE_UNMOVABLE); /* the zero page */
    return;
  }
  bool all_ran = true;
  for (unsigned i = 0; i < PROCS; i++)
    all_ran &= !procs[i].mm || procs[i].mm->context.id != 0;
  enum move_result r = machine_move(pte.frame);
  assert_true(r == MOVE_DONE || (!all_ran && r == MOVE_BUSY));
}

static void random_op(struct proc *proc) {
  unsigned dice = rnd(110);
  if (dice >= 100)
    op_move(proc);
  else if (dice < 60)
    op_access(proc);
  else if (dice < 68)
    op_mmap_fixed(proc);
  else if (dice < 74)
    op_mmap_anywhere(proc);
  else if (dice < 80)
    op_munmap(proc);
  else if (dice < 88)
    op_mprotect(proc);
  else if (dice < 92)
    op_dontneed(proc);
  else if (dice < 95)
    op_brk(proc);
  else if (dice < 98)
    op_fork(proc);
  else
    op_exit(proc);
}

static unsigned seed_now, step_now;

static void run_seed(unsigned seed, unsigned steps) {
  uint64_t free_before = machine_free_frames();
  committed_at_start = vm_committed_pages();
  rng_state = seed_now = seed;
  for (step_now = 0; step_now < steps; step_now++) {
    struct proc *proc = &procs[rnd(PROCS)];
    if (!proc->mm)
      start_proc(proc);
    random_op(proc);
    reap_objects();
    if (proc->mm)
      check_proc(proc);
    if (step_now % 32 == 0)
      check_everything();
  }
  check_everything();
  for (unsigned i = 0; i < PROCS; i++) {
    if (procs[i].mm)
      op_exit(&procs[i]);
  }
  reap_objects();
  assert_int_equal(machine_free_frames(), free_before);
  assert_int_equal(vm_committed_pages(), committed_at_start);
  for (unsigned i = 0; i < FILES; i++)
    assert_int_equal(files[i].refs, 0);
  seed_now = 0;
}

static void test_random(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 24; seed++)
    run_seed(seed * 7919, 1500);
}

static int boot(void **state) {
  (void)state;
  machine_boot(8192);
  return 0;
}

static int say_where(void **state) {
  (void)state;
  if (seed_now)
    print_message("seed %u, step %u\n", seed_now, step_now);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(test_random, say_where),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
