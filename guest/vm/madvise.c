/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * madvise(2): MADV_DONTNEED drops pages now, so that the next touch finds zeroes (private anonymous memory), the file's contents (private
 * file mappings) or the shared object's page. The hints about access patterns are accepted and change nothing. All other advice is
 * refused. As in Linux, holes are skipped and reported at the end. Lock: mmap_lock.
 */

#include "guest/vm/internal.h"

/* Drop what is mapped in the range. ERR_NOMEM if there are holes; ERR_INVAL at a device's memory, as in Linux. */
static err_t madvise_dontneed(struct mm_struct *mm, uint64_t start, uint64_t end) {
  err_t err = ERR_OK;
  uint64_t addr = start;
  for (struct vm_area_struct *vma = find_vma(mm, start); addr < end; vma = vma->vm_next) {
    if (!vma || vma->vm_start >= end)
      return ERR_NOMEM;
    if (vma->vm_start > addr)
      err = ERR_NOMEM;
    if (vma->vm_flags & VM_PFNMAP)
      return ERR_INVAL;
    uint64_t from = max_u64(vma->vm_start, start);
    addr = min_u64(vma->vm_end, end);
    if (vma->faulted)
      zap_page_range(mm, from, addr);
  }
  return err;
}

static bool is_known(int advice) {
  return advice >= MADV_NORMAL && advice <= MADV_DONTNEED;
}

err_t do_madvise(struct mm_struct *mm, uint64_t addr, uint64_t len, int advice) {
  if (!is_known(advice) || !is_aligned(addr, PAGE_SIZE) || len > TASK_SIZE || addr > TASK_SIZE - len)
    return ERR_INVAL;
  if (len == 0 || advice != MADV_DONTNEED)
    return ERR_OK;
  port_flags_t irq = mmap_lock(mm);
  err_t err = madvise_dontneed(mm, addr, addr + align_up(len, PAGE_SIZE));
  mmap_unlock(mm, irq);
  return err;
}
