/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Mappings of a device's window: physical memory that is not this kernel's, so without struct frame, count or reverse mapping (Linux:
 * VM_PFNMAP, vmf_insert_pfn(), vmf_insert_pfn_pmd()). Its leaves carry PT_SW0 (Linux: pte_special()), by which zap.c and access.c know that
 * there is no frame to look at.
 *
 * Where addresses allow, a leaf is a block of 2 MiB, so that what another stage of translation does with the memory is not hidden behind
 * many small leaves of this one. Invariant: a block lies in one VMA. When an edge is to be cut through a block, pfnmap_cut() drops it;
 * nothing is lost by that, since a page of the window is always there to be mapped again. So nothing is ever split, and nothing here
 * allocates when memory is given up. Lock: mmap_lock. Refuses private and executable mappings (mmap.c, mprotect.c).
 */

#include "guest/vm/internal.h"

static void pfnmap_open(struct vm_area_struct *vma) {
  vma->vm_file->ops->get(vma->vm_file);
}

static void pfnmap_close(struct vm_area_struct *vma) {
  vma->vm_file->ops->put(vma->vm_file);
}

static pa_t window_pa(const struct vm_area_struct *vma, uint64_t addr) {
  return pa(vma->vm_file->window->start.v + (linear_page_index(vma, addr) << PAGE_SHIFT));
}

/* The 2 MiB around `addr` are all of this VMA, and are 2 MiB of the window as well. */
static bool block_fits(const struct vm_area_struct *vma, uint64_t addr) {
  uint64_t start = align_down(addr, SZ_2M);
  return start >= vma->vm_start && vma->vm_end - start >= SZ_2M && is_aligned(window_pa(vma, addr).v - (addr - start), SZ_2M);
}

/* An empty table that was kept for pages (PT_FEAT_KEEP) makes room. ERR_EXIST: pages are mapped there, or the block is. */
static err_t map_block(struct vm_area_struct *vma, uint64_t start) {
  struct mm_struct *mm = vma->vm_mm;
  err_t err = pt_map_leaf(&mm->pt, start, window_pa(vma, start), 2, vma->vm_page_prot);
  if (err == ERR_EXIST) {
    pt_trim(&mm->pt);
    err = pt_map_leaf(&mm->pt, start, window_pa(vma, start), 2, vma->vm_page_prot);
  }
  mm->pfn_blocks += err == ERR_OK;
  return err;
}

static err_t pfnmap_map(struct vm_area_struct *vma, uint64_t addr) {
  err_t err = ERR_EXIST;
  if (block_fits(vma, addr))
    err = map_block(vma, align_down(addr, SZ_2M));
  if (err == ERR_EXIST)
    err = pt_map_leaf(&vma->vm_mm->pt, addr, window_pa(vma, addr), 3, vma->vm_page_prot);
  if (err != ERR_OK)
    return err;
  vma->faulted = true;
  count_fault(vma->vm_mm, FAULT_SHARED);
  return ERR_OK;
}

static void drop_block_around(struct mm_struct *mm, uint64_t edge) {
  struct pt_leaf leaf;
  if (!is_aligned(edge, SZ_2M) && pt_lookup(&mm->pt, edge, &leaf) == ERR_OK && leaf.level == 2)
    zap_page_range(mm, leaf.ia, leaf.ia + SZ_2M);
}

void pfnmap_cut_slow(struct mm_struct *mm, uint64_t start, uint64_t end) {
  drop_block_around(mm, start);
  drop_block_around(mm, end);
}

const struct vm_operations pfnmap_vm_ops = {
    .name = "window",
    .open = pfnmap_open,
    .close = pfnmap_close,
    .map = pfnmap_map,
};
