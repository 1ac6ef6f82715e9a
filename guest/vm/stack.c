/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Stacks that grow by being touched (Linux: expand_downwards). A stack is a private anonymous VMA with VM_GROWSDOWN. It may grow up
 * to mm->stack_limit bytes, never below MMAP_MIN_ADDR, and never closer than STACK_GUARD_GAP to the mapping below, unless
 * that is inaccessible or itself a stack. Lock: mmap_lock.
 */

#include "guest/vm/internal.h"

static bool leaves_guard_gap(const struct vm_area_struct *vma, uint64_t start) {
  const struct vm_area_struct *prev = vma->vm_prev;
  if (!prev)
    return true;
  if (start < prev->vm_end)
    return false;
  return (prev->vm_flags & VM_GROWSDOWN) || !(prev->vm_flags & VM_ACCESS_FLAGS) || start - prev->vm_end >= STACK_GUARD_GAP;
}

err_t expand_stack(struct vm_area_struct *vma, uint64_t addr) {
  struct mm_struct *mm = vma->vm_mm;
  uint64_t start = addr & PAGE_MASK;
  if (start < MMAP_MIN_ADDR || vma->vm_end - start > mm->stack_limit || !leaves_guard_gap(vma, start))
    return ERR_NOMEM;
  uint64_t pages = (vma->vm_start - start) >> PAGE_SHIFT;
  if (vma->vm_flags & VM_ACCOUNT) {
    err_t err = vm_commit(pages);
    if (err != ERR_OK)
      return err;
    mm->committed_vm += pages;
  }
  mm->total_vm += pages;
  vma_set_start(vma, start);
  vma_merge_neighbours(mm, vma);
  count_fault(mm, FAULT_STACK_GROW);
  return ERR_OK;
}
