/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * get_unmapped_area: where a new mapping goes. Top-down from MMAP_BASE; the highest gap that is large enough wins, found by descending the
 * tree along its bounds of gaps in O(log n), amortised (Linux: unmapped_area_topdown). When there is none below MMAP_BASE, the space above
 * it, left for the stack, is used too. A hint is honoured if its place is free; a fixed address is taken as it is, and with
 * MAP_FIXED_NOREPLACE only if free. Lock: mmap_lock. Changes nothing but bounds. Never places anything into a stack's guard gap or below
 * MMAP_MIN_ADDR.
 */

#include "guest/vm/internal.h"

static struct vm_area_struct *vma_of(struct rb_node *n) {
  return n ? container_of(n, struct vm_area_struct, vm_rb) : NULL;
}

static bool has_gap(const struct rb_node *n, uint64_t len) {
  return n && n->bound >= len;
}

static uint64_t end_below(const struct vm_area_struct *vma) {
  return vma->vm_prev ? vma->vm_prev->vm_end : 0;
}

/* The part of the gap below `vma` that lies in [MMAP_MIN_ADDR, high) holds `len` bytes. */
static bool gap_fits(const struct vm_area_struct *vma, uint64_t len, uint64_t high) {
  uint64_t low = max_u64(end_below(vma), MMAP_MIN_ADDR);
  uint64_t top = min_u64(vm_start_gap(vma), high);
  return top >= low && top - low >= len;
}

/*
 * The next lower VMA in the tree that may have a fitting gap below it, `n` and its right subtree being done. A subtree that is left without
 * a find has promised too much, perhaps: its bound is made to fit.
 */
static struct rb_node *next_lower(struct rb_node *n, uint64_t len, bool *enter_right) {
  *enter_right = true;
  if (has_gap(n->left, len))
    return n->left;
  for (;;) {
    struct rb_node *up = n->parent;
    rb_tighten(n, vma_gap_below(vma_of(n)));
    if (!up)
      return NULL;
    if (n == up->right) {
      *enter_right = false;
      return up;
    }
    n = up;
  }
}

/* The highest VMA with a fitting gap below it. Gaps that end above `high` are skipped without being entered. */
static struct vm_area_struct *highest_gap(struct mm_struct *mm, uint64_t len, uint64_t high) {
  struct rb_node *n = has_gap(mm->mm_rb.node, len) ? mm->mm_rb.node : NULL;
  bool enter_right = true;
  while (n) {
    struct vm_area_struct *vma = vma_of(n);
    if (enter_right && vma->vm_end < high && has_gap(n->right, len)) {
      n = n->right;
      continue;
    }
    if (gap_fits(vma, len, high))
      return vma;
    n = next_lower(n, len, &enter_right);
  }
  return NULL;
}

static err_t place_below(struct mm_struct *mm, uint64_t len, uint64_t high, uint64_t *addr, struct vm_area_struct **prev) {
  uint64_t low = max_u64(mm->highest_vm_end, MMAP_MIN_ADDR);
  if (low <= high && high - low >= len) {
    *addr = high - len;
    (void)find_vma_prev(mm, *addr, prev);
    return ERR_OK;
  }
  struct vm_area_struct *above = highest_gap(mm, len, high);
  if (!above)
    return ERR_NOMEM;
  *addr = min_u64(vm_start_gap(above), high) - len;
  *prev = above->vm_prev;
  return ERR_OK;
}

/* Multiples of 2 MiB lie on a 2 MiB boundary (Linux: thp_get_unmapped_area): whole tables come and go with them. */
static err_t place_aligned(struct mm_struct *mm, uint64_t len, uint64_t *addr, struct vm_area_struct **prev) {
  err_t err = place_below(mm, len + SZ_2M - PAGE_SIZE, MMAP_BASE, addr, prev);
  *addr = align_up(*addr, SZ_2M);
  return err;
}

/* True if [addr, addr + len) is free and in reach; `prev` gets the VMA before it. */
static bool range_is_free(struct mm_struct *mm, uint64_t addr, uint64_t len, bool keep_gap, struct vm_area_struct **prev) {
  struct vm_area_struct *next = find_vma_prev(mm, addr, prev);
  return !next || addr + len <= (keep_gap ? vm_start_gap(next) : next->vm_start);
}

static err_t place_fixed(struct mm_struct *mm, uint64_t addr, uint64_t len, unsigned flags, struct vm_area_struct **prev) {
  if (!is_aligned(addr, PAGE_SIZE))
    return ERR_INVAL;
  if (addr > TASK_SIZE - len)
    return ERR_NOMEM;
  if (addr < MMAP_MIN_ADDR)
    return ERR_PERM;
  bool is_free = range_is_free(mm, addr, len, false, prev);
  return (flags & MAP_FIXED_NOREPLACE) && !is_free ? ERR_EXIST : ERR_OK;
}

err_t get_unmapped_area(struct mm_struct *mm, uint64_t hint, uint64_t len, unsigned flags, uint64_t *addr, struct vm_area_struct **prev) {
  if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
    *addr = hint;
    return place_fixed(mm, hint, len, flags, prev);
  }
  /* As Linux's round_hint_to_min(): a small hint becomes the lowest address. */
  hint &= PAGE_MASK;
  if (hint && hint < MMAP_MIN_ADDR)
    hint = MMAP_MIN_ADDR;
  if (hint && hint <= TASK_SIZE - len && range_is_free(mm, hint, len, true, prev)) {
    *addr = hint;
    return ERR_OK;
  }
  if (is_aligned(len, SZ_2M) && place_aligned(mm, len, addr, prev) == ERR_OK)
    return ERR_OK;
  err_t err = place_below(mm, len, MMAP_BASE, addr, prev);
  return err == ERR_OK ? err : place_below(mm, len, TASK_SIZE, addr, prev);
}
