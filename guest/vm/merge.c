/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Merge and split of VMAs.
 *
 * Invariant: no two adjacent VMAs are alike, so the number of VMAs is the least that describes the address space. Two are alike
 * when flags, kind and backing agree and the page offset runs on; private anonymous memory counts its offset from address 0, so
 * there it always does. Lock: mmap_lock. Nothing here can fail: whoever splits has reserved the second VMA.
 */

#include "guest/vm/internal.h"

static bool is_kind(const struct vm_area_struct *vma, const struct vma_kind *kind) {
  return vma->vm_flags == kind->flags && vma->vm_ops == kind->ops && vma->vm_backing == kind->backing;
}

bool can_vma_merge_before(const struct vm_area_struct *vma, const struct vma_kind *kind, uint64_t end, uint64_t end_pgoff) {
  return vma && vma->vm_start == end && is_kind(vma, kind) && vma->vm_pgoff == end_pgoff;
}

bool can_vma_merge_after(const struct vm_area_struct *vma, const struct vma_kind *kind, uint64_t start, uint64_t pgoff) {
  return vma && vma->vm_end == start && is_kind(vma, kind) && vma->vm_pgoff + vma_pages(vma) == pgoff;
}

void vma_remove(struct mm_struct *mm, struct vm_area_struct *vma) {
  vma_unlink(mm, vma);
  if (vma->vm_ops)
    vma->vm_ops->close(vma);
  vm_area_free(mm, vma);
}

/* `vma` swallows its successor, which begins where it ends and is alike. */
static ALWAYS_INLINE void absorb_next(struct mm_struct *mm, struct vm_area_struct *vma) {
  struct vm_area_struct *next = vma->vm_next;
  vma->faulted |= next->faulted;
  vma->vm_end = next->vm_end;
  vma_unlink_upper(mm, next, vma);
  if (next->vm_ops)
    next->vm_ops->close(next);
  vm_area_free(mm, next);
}

/*
 *     PPPP....NNNN  both fit    PPPPPPPPPPPP
 *     PPPP....      prev fits   PPPPPPPP
 *         ....NNNN  next fits       NNNNNNNN
 */
struct vm_area_struct *vma_merge(struct mm_struct *mm, struct vm_area_struct *prev, uint64_t start, uint64_t end,
                                 const struct vma_kind *kind, uint64_t pgoff) {
  struct vm_area_struct *next = prev ? prev->vm_next : mm->mmap;
  bool fits_next = can_vma_merge_before(next, kind, end, pgoff + ((end - start) >> PAGE_SHIFT));
  if (can_vma_merge_after(prev, kind, start, pgoff)) {
    vma_set_end(prev, end);
    if (fits_next)
      absorb_next(mm, prev);
    return prev;
  }
  if (!fits_next)
    return NULL;
  vma_set_start(next, start);
  return next;
}

struct vm_area_struct *vma_merge_alike(struct mm_struct *mm, struct vm_area_struct *vma) {
  struct vm_area_struct *prev = vma->vm_prev;
  struct vma_kind kind = vma_kind_of(vma);
  if (!can_vma_merge_after(prev, &kind, vma->vm_start, vma->vm_pgoff))
    return vma;
  absorb_next(mm, prev);
  return prev;
}

struct vm_area_struct *split_vma(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t addr) {
  struct vm_area_struct *upper = vm_area_take(mm);
  CHECK(addr > vma->vm_start && addr < vma->vm_end);
  vma_copy(upper, vma);
  upper->vm_pgoff = linear_page_index(vma, addr);
  upper->vm_start = addr;
  vma->vm_end = addr;
  vma_link_upper(mm, upper, vma);
  if (upper->vm_ops)
    upper->vm_ops->open(upper);
  return upper;
}
