/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Taking pages out: zap_page_range() for a range, exit_mmap() for all there is.
 *
 * The engine makes entries invalid, has the TLB forget them, and only then hands over each frame, so a frame is never freed while some CPU
 * can still reach it. From then on nobody knows it, and it can wait for others to be freed with. Lock: mmap_lock for a range; exit_mmap()
 * runs when nobody else knows the mm, and needs none.
 */

#include "guest/vm/internal.h"

/* Frames on their way out, freed many at a time (Linux: struct mmu_gather). */
#define GATHER_FRAMES 64u

struct mmu_gather {
  struct mm_struct *mm;
  pfn_t *next;
  pfn_t frames[GATHER_FRAMES];
};

/* Field by field: an initialiser would clear the frames as well. */
static void gather_start(struct mmu_gather *tlb, struct mm_struct *mm) {
  tlb->mm = mm;
  tlb->next = tlb->frames;
}

/* Apart, so that zap_leaf() needs no stack. */
static NOINLINE void gather_flush(struct mmu_gather *tlb) {
  unsigned count = (unsigned)(tlb->next - tlb->frames);
  tlb->next = tlb->frames;
  if (count == 1)
    page_free(tlb->frames[0], 0);
  else
    page_free_bulk(count, tlb->frames);
}

static void zap_leaf(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  struct mmu_gather *tlb = ctx;
  pfn_t f = pa_pfn(out);
  (void)ia;
  if (pfn_eq(f, zero_pfn))
    return;
  if (unlikely(desc & PT_DESC_SW0)) {
    tlb->mm->pfn_blocks -= level == 2;
    return;
  }
  tlb->mm->rss[rmap_rss_kind(frame_of(f)->rmap)]--;
  if (!user_page_drop(f))
    return;
  *tlb->next++ = f;
  if (unlikely(tlb->next == tlb->frames + GATHER_FRAMES))
    gather_flush(tlb);
}

uint64_t mm_hiwater_rss(const struct mm_struct *mm) {
  return max_u64(mm->hiwater_rss, mm->rss[MM_ANONPAGES] + mm->rss[MM_FILEPAGES] + mm->rss[MM_SHMEMPAGES]);
}

void vm_update_hiwater(struct mm_struct *mm) {
  mm->hiwater_rss = mm_hiwater_rss(mm);
}

/* No leaf needs a split, so this cannot fail: all are pages, but the blocks of pfnmap.c, which lie inside the range or outside. */
static void zap(struct mmu_gather *tlb, uint64_t start, uint64_t end) {
  err_t err = pt_unmap(&tlb->mm->pt, start, end - start, zap_leaf, tlb);
  CHECK(err == ERR_OK);
}

void zap_page_range(struct mm_struct *mm, uint64_t start, uint64_t end) {
  struct mmu_gather tlb;
  gather_start(&tlb, mm);
  vm_update_hiwater(mm);
  zap(&tlb, start, end);
  gather_flush(&tlb);
}

/* The whole TLB first, once: from then on nobody can know anything of this space, and the flushes of each range fall away. */
static void forget_translations(struct mm_struct *mm) {
  if (mm->context.id)
    vm_home_tlb_flush_mm(&mm->context);
  mm->context.id = 0;
}

/*
 * VMA by VMA, and not by a sweep over all tables: most of their entries are empty. A table goes with its last page, one that was kept at
 * the end.
 */
void exit_mmap(struct mm_struct *mm) {
  struct mmu_gather tlb;
  CHECK(list_is_empty(&mm->rmap_node)); /* no move can find it: rmap.c */
  gather_start(&tlb, mm);
  vm_update_hiwater(mm);
  forget_translations(mm);
  for (struct vm_area_struct *vma = mm->mmap, *next; vma; vma = next) {
    next = vma->vm_next;
    if (vma->faulted)
      zap(&tlb, vma->vm_start, vma->vm_end);
    if (vma->vm_ops)
      vma->vm_ops->close(vma);
    vm_area_free(mm, vma);
  }
  gather_flush(&tlb);
  pt_trim(&mm->pt);
  vm_area_drop_spares(mm);
  mm->mmap = mm->mmap_cache = NULL;
  vm_uncommit(mm->committed_vm);
  CHECK(mm->pt.table_frames == 1); /* the root */
  CHECK(mm->pfn_blocks == 0);
  for (unsigned kind = 0; kind < MM_RSS_KINDS; kind++)
    CHECK(mm->rss[kind] == 0);
}
