/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * munmap(2): pages first, in one pass over the tables with one TLB flush, then the VMAs.
 *
 * The only thing that can fail is the second VMA of one that is cut in two; it is reserved before the first change. Lock: mmap_lock. A
 * range with nothing in it is a success, as in Linux.
 */

#include "guest/vm/internal.h"

bool unmap_splits(struct mm_struct *mm, uint64_t start, uint64_t end) {
  const struct vm_area_struct *vma = find_vma(mm, start);
  return vma && vma->vm_start < start && vma->vm_end > end;
}

static void account_unmap(struct mm_struct *mm, const struct vm_area_struct *vma, uint64_t bytes) {
  uint64_t pages = bytes >> PAGE_SHIFT;
  mm->total_vm -= pages;
  if (vma->vm_flags & VM_ACCOUNT) {
    mm->committed_vm -= pages;
    vm_uncommit(pages);
  }
}

/*
 *   VVVVVVVV   VVVVVVVV   VVVVVVVV   VVVVVVVV
 *     xxxx     xxxx           xxxx   xxxxxxxx
 *   VV    UU       VVVV   VVVV
 */
static void cut(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t start, uint64_t end) {
  uint64_t from = max_u64(start, vma->vm_start), to = min_u64(end, vma->vm_end);
  account_unmap(mm, vma, to - from);
  if (from == vma->vm_start && to == vma->vm_end) {
    vma_remove(mm, vma);
  } else if (from == vma->vm_start) {
    vma_set_start(vma, to);
  } else {
    if (to != vma->vm_end)
      split_vma_above(mm, vma, to);
    vma_set_end(vma, from);
  }
}

/* True if any VMA from `vma` on that begins below `end` ever had a page. */
static bool any_faulted(const struct vm_area_struct *vma, uint64_t end) {
  for (; vma && vma->vm_start < end; vma = vma->vm_next) {
    if (vma->faulted)
      return true;
  }
  return false;
}

void unmap_region(struct mm_struct *mm, uint64_t start, uint64_t end) {
  struct vm_area_struct *vma = find_vma(mm, start);
  pfnmap_cut(mm, start, end);
  if (any_faulted(vma, end))
    zap_page_range(mm, start, end);
  while (vma && vma->vm_start < end) {
    struct vm_area_struct *next = vma->vm_next;
    cut(mm, vma, start, end);
    vma = next;
  }
}

err_t do_munmap_locked(struct mm_struct *mm, uint64_t start, uint64_t end) {
  if (unmap_splits(mm, start, end) && (mm->map_count >= MAX_MAP_COUNT || vm_area_reserve(mm, 1) != ERR_OK))
    return ERR_NOMEM;
  unmap_region(mm, start, end);
  return ERR_OK;
}

err_t do_munmap(struct mm_struct *mm, uint64_t addr, uint64_t len) {
  if (!is_aligned(addr, PAGE_SIZE) || len == 0 || len > TASK_SIZE || addr > TASK_SIZE - len)
    return ERR_INVAL;
  port_flags_t irq = mmap_lock(mm);
  err_t err = do_munmap_locked(mm, addr, addr + align_up(len, PAGE_SIZE));
  mmap_unlock(mm, irq);
  return err;
}
