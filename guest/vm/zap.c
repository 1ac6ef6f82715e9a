/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Taking pages out: zap_page_range() for a range, exit_mmap() for all there is.
 *
 * The engine makes entries invalid, has the TLB forget them, and only then hands over each frame, so a frame is never freed while some
 * CPU can still reach it. Lock: mmap_lock for a range; exit_mmap() runs when nobody else knows the mm, and needs none.
 */

#include "guest/vm/internal.h"

static void zap_leaf(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  struct mm_struct *mm = ctx;
  pfn_t f = pa_pfn(out);
  (void)ia, (void)level, (void)desc;
  if (pfn_eq(f, zero_pfn))
    return;
  mm->rss[rmap_rss_kind(frame_of(f)->rmap)]--;
  user_page_put(f);
}

void vm_update_hiwater(struct mm_struct *mm) {
  uint64_t rss = mm->rss[MM_ANONPAGES] + mm->rss[MM_FILEPAGES] + mm->rss[MM_SHMEMPAGES];
  mm->hiwater_rss = max_u64(mm->hiwater_rss, rss);
}

void zap_page_range(struct mm_struct *mm, uint64_t start, uint64_t end) {
  vm_update_hiwater(mm);
  /* All leaves are pages: none needs a split, so this cannot fail. */
  err_t err = pt_unmap(&mm->pt, start, end - start, zap_leaf, mm);
  CHECK(err == ERR_OK);
}

/* The whole TLB first, once: from then on nobody can know anything of this space, and the flushes of each range fall away. */
static void forget_translations(struct mm_struct *mm) {
  if (mm->context.id)
    vm_home_tlb_flush_mm(&mm->context);
  mm->context.id = 0;
}

/* VMA by VMA, and not by a sweep over all tables: most of their entries are empty. A table goes with its last page, one that was kept at the end. */
void exit_mmap(struct mm_struct *mm) {
  forget_translations(mm);
  for (struct vm_area_struct *vma = mm->mmap, *next; vma; vma = next) {
    next = vma->vm_next;
    if (vma->faulted)
      zap_page_range(mm, vma->vm_start, vma->vm_end);
    if (vma->vm_ops)
      vma->vm_ops->close(vma);
    vm_area_free(mm, vma);
  }
  pt_trim(&mm->pt);
  vm_area_drop_spares(mm);
  mm->mmap = mm->mmap_cache = NULL;
  vm_uncommit(mm->committed_vm);
  CHECK(mm->pt.table_frames == 1); /* the root */
  for (unsigned kind = 0; kind < MM_RSS_KINDS; kind++)
    CHECK(mm->rss[kind] == 0);
}
