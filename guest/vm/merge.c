/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Merge and split of VMAs.
 *
 * Invariant: no two adjacent VMAs are alike, so the number of VMAs is the least that describes the address space. Two are alike when flags,
 * kind and backing agree and the page offset runs on; private anonymous memory counts its offset from address 0, so there it always does.
 * Whoever is looked at stays: a VMA that is cut keeps the part that matters to the caller, one that merges swallows its neighbours, so an
 * mprotect there and back makes and unmakes two leaves of the tree beside it. Lock: mmap_lock. Nothing here can fail: whoever splits has
 * reserved the second VMA.
 */

#include "guest/vm/vma_tree.h"

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

/* `vma` has swallowed `gone`, which is out of the tree. */
static ALWAYS_INLINE void absorbed(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *gone) {
  vma->faulted |= gone->faulted;
  if (gone->vm_ops)
    gone->vm_ops->close(gone);
  vm_area_free(mm, gone);
}

/* `vma` swallows its successor, which begins where it ends and is alike. */
static ALWAYS_INLINE void absorb_next(struct mm_struct *mm, struct vm_area_struct *vma) {
  struct vm_area_struct *next = vma->vm_next;
  vma->vm_end = next->vm_end;
  vma_unlink_upper(mm, next, vma);
  absorbed(mm, vma, next);
}

static ALWAYS_INLINE void absorb_prev(struct mm_struct *mm, struct vm_area_struct *vma) {
  struct vm_area_struct *prev = vma->vm_prev;
  vma->vm_start = prev->vm_start;
  vma->vm_pgoff = prev->vm_pgoff;
  vma_unlink_lower(mm, prev, vma);
  absorbed(mm, vma, prev);
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

/* Two neighbours, flags compared by the caller. */
static ALWAYS_INLINE bool are_alike(const struct vm_area_struct *lower, const struct vm_area_struct *upper) {
  return lower->vm_end == upper->vm_start && lower->vm_ops == upper->vm_ops && lower->vm_backing == upper->vm_backing &&
         lower->vm_pgoff + vma_pages(lower) == upper->vm_pgoff;
}

void vma_merge_alike(struct mm_struct *mm, struct vm_area_struct *vma) {
  const struct vm_area_struct *prev = vma->vm_prev, *next = vma->vm_next;
  if (prev && prev->vm_flags == vma->vm_flags && are_alike(prev, vma))
    absorb_prev(mm, vma);
  if (next && next->vm_flags == vma->vm_flags && are_alike(vma, next))
    absorb_next(mm, vma);
}

void split_vma_above(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t addr) {
  struct vm_area_struct *upper = vm_area_take(mm);
  CHECK(addr > vma->vm_start && addr < vma->vm_end);
  vma_copy(upper, vma);
  upper->vm_pgoff = linear_page_index(vma, addr);
  upper->vm_start = addr;
  vma->vm_end = addr;
  vma_link_upper(mm, upper, vma);
  if (upper->vm_ops)
    upper->vm_ops->open(upper);
}

void split_vma_below(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t addr) {
  struct vm_area_struct *lower = vm_area_take(mm);
  CHECK(addr > vma->vm_start && addr < vma->vm_end);
  vma_copy(lower, vma);
  lower->vm_end = addr;
  vma->vm_pgoff = linear_page_index(vma, addr);
  vma->vm_start = addr;
  vma_link_lower(mm, lower, vma);
  if (lower->vm_ops)
    lower->vm_ops->open(lower);
}
