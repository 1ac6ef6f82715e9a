/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Merge, split and placement of VMAs, drawn as strips: one character for each page, '|' where a VMA begins. All invariants of the address
 * space are checked after every step, and every frame is back at the end.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "vm_file.h"
#include "vm_machine.h"
#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

#define WINDOW ((uint64_t)0x40000000)
#define STRIP_PAGES 16u

static struct test_file file = TEST_FILE(1);
static struct mm_struct *mm;

/* ---- A letter for each kind of mapping ---- */

static const struct kind {
  char letter;
  unsigned prot, flags;
} kinds[] = {
    {'w', PROT_READ | PROT_WRITE, MAP_PRIVATE},
    {'r', PROT_READ, MAP_PRIVATE},
    {'x', PROT_READ | PROT_EXEC, MAP_PRIVATE},
    {'n', PROT_NONE, MAP_PRIVATE},
    {'N', PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE},
    {'S', PROT_READ | PROT_WRITE, MAP_SHARED},
    {'s', PROT_READ, MAP_SHARED},
    {'K', PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_GROWSDOWN},
    {'f', PROT_READ, MAP_PRIVATE},              /* file, offset as in the strip */
    {'F', PROT_READ | PROT_WRITE, MAP_PRIVATE}, /* the same */
    {'g', PROT_READ, MAP_PRIVATE},              /* file, somewhere else in it */
};

static const struct kind *kind_of(char letter) {
  for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
    if (kinds[i].letter == letter)
      return &kinds[i];
  }
  fail_msg("no kind '%c'", letter);
  return NULL;
}

static uint64_t at(unsigned page) {
  return WINDOW + page * PAGE_SIZE;
}

static char letter_of(const struct vm_area_struct *vma) {
  vm_flags_t access = vma->vm_flags & VM_ACCESS_FLAGS;
  if (vma->vm_flags & VM_SHARED)
    return access & VM_WRITE ? 'S' : 's';
  if (vma->vm_ops)
    return access & VM_WRITE ? 'F' : vma->vm_pgoff < 1000 ? 'f' : 'g';
  if (vma->vm_flags & VM_GROWSDOWN)
    return 'K';
  if (vma->vm_flags & VM_NORESERVE)
    return 'N';
  return access == VM_READ ? 'r' : access & VM_WRITE ? 'w' : access ? 'x' : 'n';
}

static void render(char *to) {
  const struct vm_area_struct *vma = mm->mmap;
  for (unsigned page = 0; page < STRIP_PAGES; page++) {
    while (vma && vma->vm_end <= at(page))
      vma = vma->vm_next;
    if (vma && vma->vm_start == at(page))
      *to++ = '|';
    *to++ = vma && vma->vm_start <= at(page) ? letter_of(vma) : '.';
  }
  *to = 0;
}

/* ---- Scripts: m0+4w mmap fixed, u unmap, p mprotect, t touch by a write, d madvise(DONTNEED) ---- */

static err_t map_pages(unsigned page, unsigned pages, char letter) {
  const struct kind *k = kind_of(letter);
  bool is_file = strchr("fFg", letter) != NULL;
  uint64_t pgoff = page + (letter == 'g' ? 1000 : 0), out;
  unsigned flags = k->flags | MAP_FIXED | (is_file ? 0 : MAP_ANONYMOUS);
  return do_mmap(mm, at(page), pages * PAGE_SIZE, k->prot, flags, is_file ? &file.file : NULL, is_file ? pgoff : 0, &out);
}

static void touch(unsigned page, unsigned pages) {
  for (; pages-- > 0; page++) {
    uint64_t value = page;
    assert_int_equal(machine_access(mm, at(page), ACCESS_STORE, &value), VM_FAULT_OK);
  }
}

static void run_step(const char *step) {
  unsigned page, pages;
  char letter = 0;
  assert_true(sscanf(step + 1, "%u+%u%c", &page, &pages, &letter) >= 2);
  switch (step[0]) {
  case 'm':
    assert_int_equal(map_pages(page, pages, letter), ERR_OK);
    break;
  case 'u':
    assert_int_equal(do_munmap(mm, at(page), pages * PAGE_SIZE), ERR_OK);
    break;
  case 'p':
    assert_int_equal(do_mprotect(mm, at(page), pages * PAGE_SIZE, kind_of(letter)->prot), ERR_OK);
    break;
  case 't':
    touch(page, pages);
    break;
  case 'd':
    assert_int_equal(do_madvise(mm, at(page), pages * PAGE_SIZE, MADV_DONTNEED), ERR_OK);
    break;
  default:
    fail_msg("no step '%s'", step);
  }
  machine_check_mm(mm);
}

static void run_script(const char *script, const char *expected) {
  char strip[2 * STRIP_PAGES + 1];
  uint64_t free_before = machine_free_frames(), committed = vm_committed_pages();
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  for (const char *s = script; *s; s += strcspn(s, " "), s += *s == ' ')
    run_step(s);
  render(strip);
  if (strcmp(strip, expected) != 0)
    fail_msg("%s\n  gives   %s\n  instead %s", script, strip, expected);
  mm_put(mm);
  assert_int_equal(machine_free_frames(), free_before);
  assert_int_equal(vm_committed_pages(), committed);
  assert_int_equal(file.refs, 0);
}

static const struct {
  const char *script, *strip;
} scripts[] = {
    /* Neighbours that are alike become one, from either side and from both. */
    {"m0+4w m4+4w", "|wwwwwwww........"},
    {"m4+4w m0+4w", "|wwwwwwww........"},
    {"m0+4w m8+4w m4+4w", "|wwwwwwwwwwww...."},
    {"m0+4w m8+4w m5+2w", "|wwww.|ww.|wwww...."},
    /* ... and only if they are alike. */
    {"m0+4w m4+4r", "|wwww|rrrr........"},
    {"m0+4r m4+4w m8+4r", "|rrrr|wwww|rrrr...."},
    {"m0+4w m4+4N", "|wwww|NNNN........"},
    {"m0+4w m4+4K", "|wwww|KKKK........"},
    {"m0+4S m4+4S", "|SSSS|SSSS........"},
    {"m0+4r m4+4f", "|rrrr|ffff........"},
    /* A file goes on where its offset does. */
    {"m0+4f m4+4f", "|ffffffff........"},
    {"m4+4f m0+4f m8+2f", "|ffffffffff......"},
    {"m0+4f m4+4g", "|ffff|gggg........"},
    {"m0+4f m8+4f m4+4g u4+4 m4+4f", "|ffffffffffff...."},
    /* munmap: all, head, tail, middle, several at once, and across holes. */
    {"m0+8w u0+8", "................"},
    {"m0+8w u0+2", "..|wwwwww........"},
    {"m0+8w u6+2", "|wwwwww.........."},
    {"m0+8w u2+4", "|ww....|ww........"},
    {"m0+8w u2+4 m2+4w", "|wwwwwwww........"},
    {"m0+4w m4+4r m8+4x u2+8", "|ww........|xx...."},
    {"m0+2w m4+2w m8+2r u0+16", "................"},
    {"m0+8f u2+4", "|ff....|ff........"},
    {"m0+8f u2+4 m2+4f", "|ffffffff........"},
    {"m0+8S u2+4", "|SS....|SS........"},
    {"u0+16", "................"},
    /* MAP_FIXED replaces what is there. */
    {"m0+8w m2+4r", "|ww|rrrr|ww........"},
    {"m0+8w m2+4w", "|wwwwwwww........"},
    {"m0+4w m4+4r m2+4x", "|ww|xxxx|rr........"},
    {"m0+4w m8+4w m2+8w", "|wwwwwwwwwwww...."},
    {"m0+8r m2+4w p2+4r", "|rr|rrrr|rr........"}, /* charged once, charged for good */
    {"m0+8S m2+4S", "|SS|SSSS|SS........"},
    /* mprotect: whole, head, tail, middle, and back. */
    {"m0+8w p0+8r", "|rrrrrrrr........"},
    {"m0+8w p0+2r", "|rr|wwwwww........"},
    {"m0+8w p6+2r", "|wwwwww|rr........"},
    {"m0+8w p2+4r", "|ww|rrrr|ww........"},
    {"m0+8w p2+4r p2+4w", "|wwwwwwww........"},
    {"m0+8w p2+4r p2+2w", "|wwww|rr|ww........"},
    {"m0+8w p2+4r p4+2w", "|ww|rr|wwww........"},
    {"m0+8w p2+4r p3+2w", "|ww|r|ww|r|ww........"},
    {"m0+8w p2+4r p3+2w p0+8r", "|rrrrrrrr........"},
    {"m0+8w p2+4r p3+2w p0+8w", "|wwwwwwww........"},
    {"m0+8w p2+4r p1+3x", "|w|xxx|rr|ww........"},
    {"m0+8w p2+4r p4+3x", "|ww|rr|xxx|w........"},
    {"m0+8w p2+4r p2+4r", "|ww|rrrr|ww........"},
    {"m0+8w p2+4r p1+6r", "|w|rrrrrr|w........"},
    {"m0+8w p2+4n p4+4n", "|ww|nnnnnn........"},
    {"m0+4w m4+4x p2+4r", "|ww|rr|rr|xx........"}, /* the left half is charged */
    {"m0+4f m4+4F p4+4r", "|ffff|ffff........"},
    {"m0+8F p2+4r p2+4w", "|FFFFFFFF........"},
    {"m0+8S p2+4r", "|SS|ssss|SS........"},
    {"m0+8S p2+4r p2+4w", "|SSSSSSSS........"},
    {"m0+4w p0+2r p2+2r", "|rrrr............"}, /* who stays takes over the gap below */
    {"m0+4w p2+2r p0+2r", "|rrrr............"},
    {"m0+2w m6+4f p6+2w p8+2w p6+1r p7+3r", "|ww....|ffff......"},
    {"m0+8K p2+4r p2+4w", "|KKKKKKKK........"},
    {"m0+4r m4+4r p0+2w p0+2r", "|rr|rrrrrr........"},
    /* The same with pages in them: edges that move take "has pages" along. */
    {"m0+8w t0+8 p2+4r", "|ww|rrrr|ww........"},
    {"m0+8w t0+8 p2+4r p2+2w p4+2w", "|wwwwwwww........"},
    {"m0+4w m4+4r p4+4w t6+2 p2+4r p2+6r d2+6", "|ww|rrrrrr........"},
    {"m0+8w t0+8 u2+4 m2+4w d0+8 t3+1", "|wwwwwwww........"},
    {"m0+8r p2+4w t2+4 p0+2w p2+2r p4+4w t0+2", "|ww|rr|wwww........"},
    {"m0+8F t0+8 p2+4r u3+2", "|FF|f..|f|FF........"},
    {"m0+8w p0+4r t4+4 p4+2r", "|rrrrrr|ww........"},
    {"m0+8w p4+4r t0+4 p2+2r", "|ww|rrrrrr........"},
    {"m0+8S t0+8 p2+4r u3+2 m3+2w t3+2", "|SS|s|ww|s|SS........"},
};

static void test_strips(void **state) {
  (void)state;
  for (unsigned i = 0; i < ARRAY_SIZE(scripts); i++)
    run_script(scripts[i].script, scripts[i].strip);
}

/* An edge that moves must not cost memory: an mprotect that only shifts a boundary works with no VMA to be had. */
static void test_edge_moves_without_memory(void **state) {
  (void)state;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  run_step("m0+4w");
  run_step("m4+4x");
  run_step("p4+4n");
  run_step("m8+4w");
  run_step("p2+2n");
  machine_fail_allocation(1);
  assert_int_equal(do_mprotect(mm, at(1), PAGE_SIZE, PROT_NONE), ERR_OK);
  assert_int_equal(do_mprotect(mm, at(0), 1 * PAGE_SIZE, PROT_NONE), ERR_OK);
  assert_int_equal(machine_allocations(), 0);
  machine_fail_allocation(0);
  machine_check_mm(mm);
  mm_put(mm);
}

/* ---- Placement ---- */

static err_t place(uint64_t hint, uint64_t pages, unsigned flags, uint64_t *out) {
  err_t err = do_mmap(mm, hint, pages * PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | flags, NULL, 0, out);
  machine_check_mm(mm);
  return err;
}

static uint64_t must_place(uint64_t hint, uint64_t pages, unsigned flags) {
  uint64_t out = 0;
  assert_int_equal(place(hint, pages, flags, &out), ERR_OK);
  return out;
}

static void test_placement_is_top_down(void **state) {
  (void)state;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  uint64_t a = must_place(0, 4, 0), b = must_place(0, 4, 0), c = must_place(0, 8, 0);
  assert_int_equal(a, MMAP_BASE - 4 * PAGE_SIZE);
  assert_int_equal(b, a - 4 * PAGE_SIZE);
  assert_int_equal(c, b - 8 * PAGE_SIZE);
  assert_int_equal(do_munmap(mm, b, 4 * PAGE_SIZE), ERR_OK);
  assert_int_equal(must_place(0, 5, 0), c - 5 * PAGE_SIZE); /* the hole is too small */
  assert_int_equal(must_place(0, 3, 0), b + PAGE_SIZE);     /* the upper end of the hole */
  assert_int_equal(must_place(0, 1, 0), b);
  mm_put(mm);
}

static void test_hints(void **state) {
  (void)state;
  uint64_t out;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  assert_int_equal(must_place(WINDOW, 4, 0), WINDOW);
  assert_int_equal(must_place(WINDOW + 4 * PAGE_SIZE + 123, 4, 0), WINDOW + 4 * PAGE_SIZE);
  assert_int_equal(must_place(WINDOW + 2 * PAGE_SIZE, 4, 0), MMAP_BASE - 4 * PAGE_SIZE); /* taken */
  assert_int_equal(must_place(WINDOW - 2 * PAGE_SIZE, 4, 0), MMAP_BASE - 8 * PAGE_SIZE); /* would overlap */
  assert_int_equal(must_place(PAGE_SIZE, 1, 0), MMAP_MIN_ADDR);
  assert_int_equal(must_place(TASK_SIZE - PAGE_SIZE, 2, 0), MMAP_BASE - 10 * PAGE_SIZE); /* beyond the end */
  assert_int_equal(must_place(~(uint64_t)0, 1, 0), MMAP_BASE - 11 * PAGE_SIZE);
  assert_int_equal(place(WINDOW, 1, MAP_FIXED_NOREPLACE, &out), ERR_EXIST);
  assert_int_equal(place(WINDOW - 3 * PAGE_SIZE, 4, MAP_FIXED_NOREPLACE, &out), ERR_EXIST);
  assert_int_equal(must_place(WINDOW - 3 * PAGE_SIZE, 3, MAP_FIXED_NOREPLACE), WINDOW - 3 * PAGE_SIZE);
  mm_put(mm);
}

static void test_stack_keeps_its_gap(void **state) {
  (void)state;
  uint64_t out;
  const uint64_t stack = MMAP_BASE - 64 * PAGE_SIZE;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  assert_int_equal(
      do_mmap(mm, stack, 64 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, NULL, 0, &out),
      ERR_OK);
  assert_int_equal(must_place(0, 4, 0), stack - STACK_GUARD_GAP - 4 * PAGE_SIZE);
  assert_int_equal(must_place(stack - 4 * PAGE_SIZE, 4, 0), stack - STACK_GUARD_GAP - 8 * PAGE_SIZE); /* a hint may not enter it */
  assert_int_equal(must_place(stack - 4 * PAGE_SIZE, 4, MAP_FIXED), stack - 4 * PAGE_SIZE);           /* MAP_FIXED may */
  mm_put(mm);
}

static void test_big_mappings_are_aligned(void **state) {
  (void)state;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  assert_int_equal(must_place(0, 1, 0), MMAP_BASE - PAGE_SIZE);
  assert_int_equal(must_place(0, 512, 0), MMAP_BASE - 2 * SZ_2M);
  assert_int_equal(must_place(0, 1024, MAP_NORESERVE), MMAP_BASE - 4 * SZ_2M);
  assert_int_equal(must_place(0, 513, 0), MMAP_BASE - 4 * SZ_2M - 513 * PAGE_SIZE);
  assert_int_equal(must_place(0, 1, 0), MMAP_BASE - 2 * PAGE_SIZE);
  /* Room, but no boundary in it: still better than above MMAP_BASE. */
  uint64_t low = MMAP_BASE - 4 * SZ_2M - 513 * PAGE_SIZE - MMAP_MIN_ADDR;
  assert_int_equal(must_place(0, (low >> PAGE_SHIFT) - 600, 0), MMAP_MIN_ADDR + 600 * PAGE_SIZE);
  assert_int_equal(must_place(0, 512, 0), MMAP_MIN_ADDR + 88 * PAGE_SIZE);
  mm_put(mm);
}

/* No room below MMAP_BASE: the space above is used; then there is none at all. */
static void test_full(void **state) {
  (void)state;
  uint64_t out, low = MMAP_BASE - MMAP_MIN_ADDR;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  assert_int_equal(must_place(0, low >> PAGE_SHIFT, 0), MMAP_MIN_ADDR);
  uint64_t top = TASK_SIZE - MMAP_BASE;
  assert_int_equal(must_place(0, 1, 0), TASK_SIZE - PAGE_SIZE);
  assert_int_equal(place(0, top >> PAGE_SHIFT, 0, &out), ERR_NOMEM);
  assert_int_equal(must_place(0, (top >> PAGE_SHIFT) - 1, 0), MMAP_BASE);
  assert_int_equal(place(0, 1, 0, &out), ERR_NOMEM);
  assert_int_equal(do_munmap(mm, WINDOW, PAGE_SIZE), ERR_OK);
  assert_int_equal(must_place(0, 1, 0), WINDOW);
  assert_int_equal(do_munmap(mm, 0, TASK_SIZE), ERR_OK);
  assert_null(mm->mmap);
  assert_int_equal(place(0, (TASK_SIZE - MMAP_MIN_ADDR) >> PAGE_SHIFT, 0, &out), ERR_OK);
  assert_int_equal(out, MMAP_MIN_ADDR);
  mm_put(mm);
}

/* Gaps of every size in a comb: the search finds the highest that fits, as a linear scan does. */
static void test_comb(void **state) {
  (void)state;
  enum {
    TEETH = 64
  };
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  uint64_t base = MMAP_BASE - 4096 * PAGE_SIZE, addr = MMAP_BASE, gap_end[TEETH];
  /* From the top: a gap of (i * 7) % 13 pages, then a tooth of one page, alternating kinds so that nothing merges. */
  for (unsigned i = 0; i < TEETH; i++) {
    gap_end[i] = addr;
    addr -= (i * 7 % 13 + 1) * PAGE_SIZE;
    uint64_t out;
    assert_int_equal(do_mmap(mm, addr, PAGE_SIZE, i & 1 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0, &out),
                     ERR_OK);
  }
  machine_check_mm(mm);
  assert_true(addr > base);
  for (unsigned pages = 1; pages < 13; pages++) {
    unsigned i = 0;
    while (i < TEETH && i * 7 % 13 < pages)
      i++;
    uint64_t expected = (i < TEETH ? gap_end[i] : addr) - pages * PAGE_SIZE;
    uint64_t out = must_place(0, pages, MAP_NORESERVE);
    assert_int_equal(out, expected);
    assert_int_equal(do_munmap(mm, out, pages * PAGE_SIZE), ERR_OK);
  }
  mm_put(mm);
}

/* Depth-first; the number of nodes whose bound lets a search for `len` in. */
static unsigned open_nodes(const struct rb_node *n, uint64_t len) {
  return n && n->bound >= len ? 1 + open_nodes(n->left, len) + open_nodes(n->right, len) : 0;
}

/* Gaps that were filled leave bounds behind that promise too much: the first search that falls for them is the last. */
static void test_bounds_tighten(void **state) {
  (void)state;
  enum {
    PAIRS = 200
  };
  uint64_t out;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  const unsigned flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  for (unsigned round = 0; round < 2; round++) {
    for (unsigned i = 0; i < PAIRS; i++) {
      uint64_t addr = MMAP_BASE - (2 * i + 1 + round) * PAGE_SIZE;
      assert_int_equal(do_mmap(mm, addr, PAGE_SIZE, round ? PROT_READ : PROT_NONE, flags, NULL, 0, &out), ERR_OK);
    }
    machine_check_mm(mm);
  }
  assert_true(open_nodes(mm->mm_rb.node, PAGE_SIZE) > 32);
  must_place(0, 1, MAP_NORESERVE);
  machine_check_mm(mm);
  assert_true(open_nodes(mm->mm_rb.node, PAGE_SIZE) <= 16); /* the way to the lowest, which has all the space below it */
  mm_put(mm);
}

/* ---- Arguments ---- */

static err_t map(uint64_t addr, uint64_t len, unsigned prot, unsigned flags) {
  uint64_t out;
  return do_mmap(mm, addr, len, prot, flags, NULL, 0, &out);
}

static void test_bad_arguments(void **state) {
  (void)state;
  const unsigned anon = MAP_PRIVATE | MAP_ANONYMOUS;
  uint64_t out;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  assert_int_equal(map(0, 0, PROT_READ, anon), ERR_INVAL);
  assert_int_equal(map(0, ~(uint64_t)0, PROT_READ, anon), ERR_NOMEM);
  assert_int_equal(map(0, TASK_SIZE + 1, PROT_READ, anon), ERR_NOMEM);
  assert_int_equal(map(0, TASK_SIZE, PROT_READ, anon), ERR_NOMEM);
  assert_int_equal(map(0, PAGE_SIZE, 0x8, anon), ERR_INVAL);
  assert_int_equal(map(0, PAGE_SIZE, PROT_READ, MAP_ANONYMOUS), ERR_INVAL);
  assert_int_equal(map(0, PAGE_SIZE, PROT_READ, MAP_ANONYMOUS | MAP_SHARED_VALIDATE), ERR_INVAL);
  assert_int_equal(map(0, PAGE_SIZE, PROT_READ, anon | MAP_HUGETLB), ERR_INVAL);
  assert_int_equal(map(0, PAGE_SIZE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN), ERR_INVAL);
  assert_int_equal(map(WINDOW + 1, PAGE_SIZE, PROT_READ, anon | MAP_FIXED), ERR_INVAL);
  assert_int_equal(map(0, PAGE_SIZE, PROT_READ, anon | MAP_FIXED), ERR_PERM);
  assert_int_equal(map(MMAP_MIN_ADDR - PAGE_SIZE, PAGE_SIZE, PROT_READ, anon | MAP_FIXED), ERR_PERM);
  assert_int_equal(map(TASK_SIZE, PAGE_SIZE, PROT_READ, anon | MAP_FIXED), ERR_NOMEM);
  assert_int_equal(map(~PAGE_MASK << 52, PAGE_SIZE, PROT_READ, anon | MAP_FIXED), ERR_NOMEM);
  assert_int_equal(do_mmap(mm, 0, PAGE_SIZE, PROT_READ, MAP_SHARED, &file.file, 0, &out), ERR_UNSUPPORTED);
  assert_int_equal(do_mmap(mm, 0, 2 * PAGE_SIZE, PROT_READ, MAP_PRIVATE, &file.file, ~(uint64_t)0, &out), ERR_RANGE);
  assert_int_equal(do_munmap(mm, WINDOW + 1, PAGE_SIZE), ERR_INVAL);
  assert_int_equal(do_munmap(mm, WINDOW, 0), ERR_INVAL);
  assert_int_equal(do_munmap(mm, WINDOW, TASK_SIZE), ERR_INVAL);
  assert_int_equal(do_munmap(mm, ~(uint64_t)0xfff, PAGE_SIZE), ERR_INVAL);
  assert_int_equal(do_mprotect(mm, WINDOW + 1, PAGE_SIZE, PROT_READ), ERR_INVAL);
  assert_int_equal(do_mprotect(mm, WINDOW, PAGE_SIZE, 0x10), ERR_INVAL);
  assert_int_equal(do_mprotect(mm, WINDOW, 0, PROT_READ), ERR_OK);
  assert_int_equal(do_mprotect(mm, WINDOW, PAGE_SIZE, PROT_READ), ERR_NOMEM);
  assert_int_equal(do_mprotect(mm, WINDOW, ~(uint64_t)0, PROT_READ), ERR_NOMEM);
  assert_int_equal(do_madvise(mm, WINDOW, PAGE_SIZE, MADV_DONTNEED), ERR_NOMEM);
  assert_int_equal(do_madvise(mm, WINDOW, PAGE_SIZE, 8), ERR_INVAL);
  assert_int_equal(do_madvise(mm, WINDOW, PAGE_SIZE, -1), ERR_INVAL);
  assert_int_equal(do_madvise(mm, WINDOW + 1, PAGE_SIZE, MADV_DONTNEED), ERR_INVAL);
  assert_int_equal(do_madvise(mm, WINDOW, PAGE_SIZE, MADV_WILLNEED), ERR_OK);
  assert_null(mm->mmap);
  mm_put(mm);
  assert_int_equal(file.refs, 0);
}

/* mprotect over a hole refuses before it changes anything. */
static void test_mprotect_hole(void **state) {
  (void)state;
  char before[2 * STRIP_PAGES + 1], after[2 * STRIP_PAGES + 1];
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  run_step("m0+4w");
  run_step("m6+4w");
  render(before);
  assert_int_equal(do_mprotect(mm, at(2), 6 * PAGE_SIZE, PROT_READ), ERR_NOMEM);
  assert_int_equal(do_mprotect(mm, at(8), 6 * PAGE_SIZE, PROT_READ), ERR_NOMEM);
  render(after);
  assert_string_equal(before, after);
  mm_put(mm);
}

static void test_map_count_limit(void **state) {
  (void)state;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  assert_int_equal(map(WINDOW, (MAX_MAP_COUNT + 8) * PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), ERR_OK);
  unsigned page = 0;
  while (mm->map_count + 2 <= MAX_MAP_COUNT) {
    assert_int_equal(do_mprotect(mm, at(page + 1), PAGE_SIZE, PROT_NONE), ERR_OK);
    page += 2;
  }
  machine_check_mm(mm);
  uint32_t count = mm->map_count;
  assert_true(count >= MAX_MAP_COUNT - 1);
  assert_int_equal(do_mprotect(mm, at(page + 3), PAGE_SIZE, PROT_NONE), ERR_NOMEM);
  assert_int_equal(mm->map_count, count);
  mm_put(mm);
}

static void test_maps_lines(void **state) {
  (void)state;
  char line[128];
  static const char *const expected[] = {
      "0040000000-0040002000 r--p 00000000 test-file",
      "0040004000-0040005000 rw-s 00000000 [shared]",
      "0040008000-0040009000 r-xp 00000000 ",
      "0040400000-0040401000 rw-p 00000000 [heap]",
  };
  struct vm_region region = {0};
  unsigned n = 0;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  run_step("m0+2f");
  run_step("m4+1S");
  run_step("m8+1x");
  mm_set_brk(mm, 0x40400000);
  assert_int_equal(do_brk(mm, 0x40400010), 0x40400010);
  for (; mm_next_region(mm, &region); n++) {
    vm_region_format(&region, line, sizeof line);
    assert_true(n < ARRAY_SIZE(expected));
    assert_string_equal(line, expected[n]);
  }
  assert_int_equal(n, ARRAY_SIZE(expected));
  mm_put(mm);
}

static int boot(void **state) {
  (void)state;
  machine_boot(16384);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_strips),
      cmocka_unit_test(test_edge_moves_without_memory),
      cmocka_unit_test(test_placement_is_top_down),
      cmocka_unit_test(test_hints),
      cmocka_unit_test(test_stack_keeps_its_gap),
      cmocka_unit_test(test_big_mappings_are_aligned),
      cmocka_unit_test(test_full),
      cmocka_unit_test(test_comb),
      cmocka_unit_test(test_bounds_tighten),
      cmocka_unit_test(test_bad_arguments),
      cmocka_unit_test(test_mprotect_hole),
      cmocka_unit_test(test_map_count_limit),
      cmocka_unit_test(test_maps_lines),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
