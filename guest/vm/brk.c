/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * brk(2): the heap, one private anonymous read-write region [start_brk, brk), rounded to pages. brk() never fails: it answers the break as
 * it is afterwards (Linux: mm/mmap.c). Growth stops short of any mapping and of a stack's guard gap. Lock: mmap_lock.
 */

#include "guest/vm/internal.h"

#define HEAP_FLAGS (VM_READ | VM_WRITE | VM_ACCOUNT)

void mm_set_brk(struct mm_struct *mm, uint64_t start) {
  port_flags_t irq = mmap_lock(mm);
  mm->start_brk = mm->brk = align_up(start, PAGE_SIZE);
  mmap_unlock(mm, irq);
}

/* Map [start, end), which lies right above the heap. */
static err_t do_brk_flags(struct mm_struct *mm, uint64_t start, uint64_t end) {
  static const struct vma_kind heap = {.flags = HEAP_FLAGS};
  struct vm_area_struct *prev;
  struct vm_area_struct *next = find_vma_prev(mm, start, &prev);
  uint64_t pages = (end - start) >> PAGE_SHIFT;
  /* A page is left free between the heap and what follows, as Linux does. */
  if (next && end + PAGE_SIZE > vm_start_gap(next))
    return ERR_NOMEM;
  bool grows = can_vma_merge_after(prev, &heap, start, start >> PAGE_SHIFT);
  if (!grows && (mm->map_count >= MAX_MAP_COUNT || vm_area_reserve(mm, 1) != ERR_OK))
    return ERR_NOMEM;
  err_t err = vm_commit(pages);
  if (err != ERR_OK)
    return err;
  mm->committed_vm += pages;
  (void)mmap_region(mm, prev, start, end - start, &heap, start >> PAGE_SHIFT);
  return ERR_OK;
}

static err_t set_brk(struct mm_struct *mm, uint64_t brk) {
  if (mm->start_brk == 0 || brk < mm->start_brk || brk > TASK_SIZE - PAGE_SIZE)
    return ERR_NOMEM;
  uint64_t old_end = align_up(mm->brk, PAGE_SIZE), new_end = align_up(brk, PAGE_SIZE);
  if (new_end > old_end)
    return do_brk_flags(mm, old_end, new_end);
  return new_end < old_end ? do_munmap_locked(mm, new_end, old_end) : ERR_OK;
}

uint64_t do_brk(struct mm_struct *mm, uint64_t brk) {
  port_flags_t irq = mmap_lock(mm);
  if (set_brk(mm, brk) == ERR_OK)
    mm->brk = brk;
  uint64_t now = mm->brk;
  mmap_unlock(mm, irq);
  return now;
}
