/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * do_wp_page(): a write to a page that is mapped read-only in a VMA that allows writing.
 *
 *   zero page                      a zeroed frame replaces it
 *   frame with other references    a copy replaces it; the others keep the frame
 *   frame that is only ours        made writable in place (Linux: wp_page_reuse)
 *
 * Replacing is break-before-make in the engine, with a broadcast TLBI in between, so no CPU can write the new frame while another
 * still reads the old one. Making writable needs no break: the stale read-only entry of this CPU is dropped here, and another CPU's
 * costs that CPU one spurious fault. Lock: mmap_lock.
 */

#include "guest/vm/internal.h"

static err_t reuse(struct vm_area_struct *vma, uint64_t addr, const struct pt_leaf *leaf) {
  struct mm_struct *mm = vma->vm_mm;
  pt_protect_leaf(&mm->pt, leaf, vma->vm_page_prot);
  if (mm->context.id)
    vm_home_tlb_flush_local_page(&mm->context, addr);
  count_fault(mm, FAULT_COW_REUSE);
  return ERR_OK;
}

static void replace(struct vm_area_struct *vma, uint64_t addr, pfn_t frame) {
  if (vma->vm_page_prot & PT_UX)
    vm_home_sync_icache(frame);
  err_t err = pt_replace_leaf(&vma->vm_mm->pt, addr, pfn_pa(frame), 3, vma->vm_page_prot);
  CHECK(err == ERR_OK);
  vma->vm_mm->rss[MM_ANONPAGES]++;
}

static err_t replace_zero(struct vm_area_struct *vma, uint64_t addr) {
  struct mm_struct *mm = vma->vm_mm;
  pfn_t frame;
  err_t err = user_page_alloc_zeroed(rmap_key(RMAP_ANON, mm->rmap_id, addr), &frame);
  if (unlikely(err != ERR_OK))
    return err;
  replace(vma, addr, frame);
  count_fault(mm, FAULT_COW_ZERO);
  return ERR_OK;
}

static err_t copy(struct vm_area_struct *vma, uint64_t addr, pfn_t old) {
  struct mm_struct *mm = vma->vm_mm;
  pfn_t frame;
  err_t err = user_page_alloc(rmap_key(RMAP_ANON, mm->rmap_id, addr), &frame);
  if (unlikely(err != ERR_OK))
    return err;
  port_copy_frame(frame, old);
  mm->rss[rmap_rss_kind(frame_of(old)->rmap)]--;
  replace(vma, addr, frame);
  user_page_put(old);
  count_fault(mm, FAULT_COW_COPY);
  return ERR_OK;
}

err_t do_wp_page(struct vm_area_struct *vma, uint64_t addr, const struct pt_leaf *leaf) {
  pfn_t old = pa_pfn(leaf->out);
  if (pfn_eq(old, zero_pfn))
    return replace_zero(vma, addr);
  if ((vma->vm_flags & VM_SHARED) || user_page_is_exclusive(old))
    return reuse(vma, addr, leaf);
  return copy(vma, addr, old);
}
