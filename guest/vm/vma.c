/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The tree of VMAs: look-up, linking, edges, and the bounds of gaps that get_unmapped_area() descends by.
 *
 * Owns mm->mm_rb, mm->mmap, the vm_next/vm_prev chain, mm->highest_vm_end, mm->mmap_cache and vm_rb.bound. Invariants: VMAs are page
 * aligned, not empty, disjoint and in address order; the chain and the tree hold the same ones; vm_rb.bound bounds vma_gap_below()
 * (core/rbtree.h): a VMA that comes or goes makes the gap of its successor smaller or larger, and only the latter is passed on. Lock:
 * mmap_lock. Refuses nothing: callers have checked that a range is free, and CHECK() catches those who have not.
 */

#include "guest/vm/internal.h"

static struct vm_area_struct *vma_of(struct rb_node *n) {
  return container_of(n, struct vm_area_struct, vm_rb);
}

struct vm_area_struct *find_vma_slow(struct mm_struct *mm, uint64_t addr) {
  struct vm_area_struct *best = NULL;
  for (struct rb_node *n = mm->mm_rb.node; n;) {
    struct vm_area_struct *vma = vma_of(n);
    if (addr >= vma->vm_end) {
      n = n->right;
      continue;
    }
    best = vma;
    if (addr >= vma->vm_start)
      break;
    n = n->left;
  }
  if (best)
    mm->mmap_cache = best;
  return best;
}

static struct vm_area_struct *last_vma(struct mm_struct *mm) {
  struct rb_node *n = rb_last(&mm->mm_rb);
  return n ? vma_of(n) : NULL;
}

struct vm_area_struct *find_vma_prev(struct mm_struct *mm, uint64_t addr, struct vm_area_struct **prev) {
  struct vm_area_struct *vma = find_vma(mm, addr);
  *prev = vma ? vma->vm_prev : last_vma(mm);
  return vma;
}

static void chain_insert(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *prev) {
  struct vm_area_struct *next = prev ? prev->vm_next : mm->mmap;
  CHECK((!prev || prev->vm_end <= vma->vm_start) && (!next || vma->vm_end <= next->vm_start));
  vma->vm_prev = prev;
  vma->vm_next = next;
  if (prev)
    prev->vm_next = vma;
  else
    mm->mmap = vma;
  if (next)
    next->vm_prev = vma;
  else
    mm->highest_vm_end = vma->vm_end;
}

/* As in vma_tree.h: the link that is free between the two neighbours. */
static void tree_insert(struct mm_struct *mm, struct vm_area_struct *vma) {
  struct vm_area_struct *prev = vma->vm_prev, *next = vma->vm_next;
  if (prev && !prev->vm_rb.right)
    rb_insert(&mm->mm_rb, &vma->vm_rb, &prev->vm_rb, &prev->vm_rb.right);
  else if (next)
    rb_insert(&mm->mm_rb, &vma->vm_rb, &next->vm_rb, &next->vm_rb.left);
  else
    rb_insert(&mm->mm_rb, &vma->vm_rb, NULL, &mm->mm_rb.node);
}

void vma_link(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *prev) {
  vma->vm_mm = mm;
  chain_insert(mm, vma, prev);
  vma->vm_rb.bound = vma_gap_below(vma);
  tree_insert(mm, vma);
  mm->map_count++;
  mm->mmap_cache = vma;
}

void vma_unlink(struct mm_struct *mm, struct vm_area_struct *vma) {
  struct vm_area_struct *prev = vma->vm_prev, *next = vma->vm_next;
  if (prev)
    prev->vm_next = next;
  else
    mm->mmap = next;
  if (next)
    next->vm_prev = prev;
  else
    mm->highest_vm_end = prev ? prev->vm_end : 0;
  rb_erase(&mm->mm_rb, &vma->vm_rb);
  if (next)
    rb_raise(&next->vm_rb, vma_gap_below(next));
  mm->map_count--;
  mm->mmap_cache = prev;
}

void vma_set_start(struct vm_area_struct *vma, uint64_t start) {
  CHECK(start < vma->vm_end && (!vma->vm_prev || vma->vm_prev->vm_end <= start));
  /* Unsigned arithmetic wraps back when the start moves down. */
  vma->vm_pgoff += (start >> PAGE_SHIFT) - (vma->vm_start >> PAGE_SHIFT);
  vma->vm_start = start;
  rb_raise(&vma->vm_rb, vma_gap_below(vma));
}

void vma_set_end(struct vm_area_struct *vma, uint64_t end) {
  CHECK(end > vma->vm_start && (!vma->vm_next || end <= vma->vm_next->vm_start));
  vma->vm_end = end;
  if (vma->vm_next)
    rb_raise(&vma->vm_next->vm_rb, vma_gap_below(vma->vm_next));
  else
    vma->vm_mm->highest_vm_end = end;
}

void vma_move_edge(struct vm_area_struct *lower, struct vm_area_struct *upper, uint64_t edge) {
  CHECK(lower->vm_end == upper->vm_start && edge > lower->vm_start && edge < upper->vm_end);
  lower->vm_end = edge;
  vma_set_start(upper, edge);
}
