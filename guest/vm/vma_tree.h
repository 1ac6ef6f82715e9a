/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_VMA_TREE_H
#define GUEST_VM_VMA_TREE_H

/*
 * How two VMAs that touch come apart and together again: the hot half of vma.c's business, inline for merge.c. The space they cover stays
 * the same, so the only gap there is, that below the lower one, just changes hands. Lock: mmap_lock.
 *
 * In-order neighbours share an edge of the tree: if neither has the other in the subtree on its side, nobody has, so exactly one of the two
 * links between them is free.
 */

#include "guest/vm/internal.h"

/* `upper`, new, takes over what `lower` had up to its end. */
static ALWAYS_INLINE void vma_link_upper(struct mm_struct *mm, struct vm_area_struct *upper, struct vm_area_struct *lower) {
  struct vm_area_struct *next = lower->vm_next;
  upper->vm_mm = mm;
  upper->vm_prev = lower;
  upper->vm_next = next;
  lower->vm_next = upper;
  if (next)
    next->vm_prev = upper;
  upper->vm_rb.bound = 0;
  if (!next || !lower->vm_rb.right) /* without one after it, nothing is on its right */
    rb_insert(&mm->mm_rb, &upper->vm_rb, &lower->vm_rb, &lower->vm_rb.right);
  else
    rb_insert(&mm->mm_rb, &upper->vm_rb, &next->vm_rb, &next->vm_rb.left);
  mm->map_count++;
}

/* `lower`, new, takes over what `upper` had from its start, and the gap below. */
static ALWAYS_INLINE void vma_link_lower(struct mm_struct *mm, struct vm_area_struct *lower, struct vm_area_struct *upper) {
  struct vm_area_struct *prev = upper->vm_prev;
  lower->vm_mm = mm;
  lower->vm_prev = prev;
  lower->vm_next = upper;
  upper->vm_prev = lower;
  if (prev)
    prev->vm_next = lower;
  else
    mm->mmap = lower;
  lower->vm_rb.bound = vma_gap_below(lower);
  if (!prev || !upper->vm_rb.left) /* without one before it, nothing is on its left */
    rb_insert(&mm->mm_rb, &lower->vm_rb, &upper->vm_rb, &upper->vm_rb.left);
  else
    rb_insert(&mm->mm_rb, &lower->vm_rb, &prev->vm_rb, &prev->vm_rb.right);
  mm->map_count++;
}

/* `lower` covers `upper` too, which goes. */
static ALWAYS_INLINE void vma_unlink_upper(struct mm_struct *mm, struct vm_area_struct *upper, struct vm_area_struct *lower) {
  lower->vm_next = upper->vm_next;
  if (upper->vm_next)
    upper->vm_next->vm_prev = lower;
  rb_erase(&mm->mm_rb, &upper->vm_rb);
  mm->map_count--;
  mm->mmap_cache = lower;
}

/* `upper` covers `lower` too, which goes; the gap below comes to `upper`, by way of a bound of it. */
static ALWAYS_INLINE void vma_unlink_lower(struct mm_struct *mm, struct vm_area_struct *lower, struct vm_area_struct *upper) {
  upper->vm_prev = lower->vm_prev;
  if (lower->vm_prev)
    lower->vm_prev->vm_next = upper;
  else
    mm->mmap = upper;
  rb_erase(&mm->mm_rb, &lower->vm_rb);
  rb_raise(&upper->vm_rb, lower->vm_rb.bound);
  mm->map_count--;
  mm->mmap_cache = upper;
}

#endif
