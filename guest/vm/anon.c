/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Private anonymous memory: first touches (Linux: do_anonymous_page). A read gets the zero page, read-only, which costs no frame; a write
 * gets a zeroed frame of its own. Owns the zero page, which is never counted, never freed and never mapped writable.
 * Lock: mmap_lock.
 */

#include "guest/vm/internal.h"

pfn_t zero_pfn;

err_t vm_zero_page_init(void) {
  return page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ZERO | ALLOC_RETURN_CORE, &zero_pfn);
}

static err_t read_touch(struct vm_area_struct *vma, uint64_t addr) {
  err_t err = vm_map_page(vma, addr, zero_pfn, vma->vm_page_prot & ~PT_W);
  if (likely(err == ERR_OK))
    count_fault(vma->vm_mm, FAULT_ZERO_PAGE);
  return err;
}

err_t do_anonymous_page(struct vm_area_struct *vma, uint64_t addr, bool write) {
  struct mm_struct *mm = vma->vm_mm;
  pfn_t frame;
  if (!write)
    return read_touch(vma, addr);
  err_t err = user_page_alloc_zeroed(rmap_key(RMAP_ANON, mm->rmap_id, addr), &frame);
  if (unlikely(err != ERR_OK))
    return err;
  err = vm_map_page(vma, addr, frame, vma->vm_page_prot);
  if (unlikely(err != ERR_OK)) {
    user_page_put(frame);
    return err;
  }
  mm->rss[MM_ANONPAGES]++;
  count_fault(mm, FAULT_ANON);
  return ERR_OK;
}
