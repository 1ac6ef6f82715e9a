/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The tree of VMAs: look-up, linking, edges, and the gap summary that get_unmapped_area() descends by.
 *
 * Owns mm->mm_rb, mm->mmap, the vm_next/vm_prev chain, mm->highest_vm_end, mm->mmap_cache and rb_subtree_gap. Invariants: VMAs are
 * page aligned, not empty, disjoint and in address order; the chain and the tree hold the same ones; rb_subtree_gap is the
 * largest gap_below() of the subtree. Lock: mmap_lock. Refuses nothing: callers have checked that a range is free, and CHECK()
 * catches those who have not.
 */

#include "guest/vm/internal.h"

static struct vm_area_struct *vma_of(struct rb_node *n) {
  return container_of(n, struct vm_area_struct, vm_rb);
}

/* Free space between `vma` (with its guard gap, if a stack) and its predecessor. */
static uint64_t gap_below(const struct vm_area_struct *vma) {
  uint64_t low = vma->vm_prev ? vma->vm_prev->vm_end : 0;
  uint64_t high = vm_start_gap(vma);
  return high > low ? high - low : 0;
}

static ALWAYS_INLINE uint64_t subtree_gap(struct rb_node *n) {
  return n ? vma_of(n)->rb_subtree_gap : 0;
}

static ALWAYS_INLINE uint64_t compute_gap(struct rb_node *n) {
  return max_u64(gap_below(vma_of(n)), max_u64(subtree_gap(n->left), subtree_gap(n->right)));
}

static ALWAYS_INLINE bool update_gap(struct rb_node *n) {
  uint64_t gap = compute_gap(n);
  bool changed = gap != vma_of(n)->rb_subtree_gap;
  vma_of(n)->rb_subtree_gap = gap;
  return changed;
}

static bool augment_gap(struct rb_node *n) {
  return update_gap(n);
}

/* The whole way up, changed or not: somebody above has a new gap of his own. */
static bool augment_all(struct rb_node *n) {
  vma_of(n)->rb_subtree_gap = compute_gap(n);
  return true;
}

/* Up from `vma` as far as it makes a difference. */
void vma_gap_changed(struct vm_area_struct *vma) {
  for (struct rb_node *n = &vma->vm_rb; n; n = n->parent) {
    if (!update_gap(n))
      return;
  }
}

struct vm_area_struct *find_vma_slow(struct mm_struct *mm, uint64_t addr) {
  struct vm_area_struct *best = NULL;
  for (struct rb_node *n = mm->mm_rb.node; n;) {
    struct vm_area_struct *vma = vma_of(n);
    if (addr >= vma->vm_end) {
      n = n->right;
      continue;
    }
    best = vma;
    if (addr >= vma->vm_start)
      break;
    n = n->left;
  }
  if (best)
    mm->mmap_cache = best;
  return best;
}

static struct vm_area_struct *last_vma(struct mm_struct *mm) {
  struct rb_node *n = rb_last(&mm->mm_rb);
  return n ? vma_of(n) : NULL;
}

struct vm_area_struct *find_vma_prev(struct mm_struct *mm, uint64_t addr, struct vm_area_struct **prev) {
  struct vm_area_struct *vma = find_vma(mm, addr);
  *prev = vma ? vma->vm_prev : last_vma(mm);
  return vma;
}

static void chain_insert(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *prev) {
  struct vm_area_struct *next = prev ? prev->vm_next : mm->mmap;
  CHECK((!prev || prev->vm_end <= vma->vm_start) && (!next || vma->vm_end <= next->vm_start));
  vma->vm_prev = prev;
  vma->vm_next = next;
  if (prev)
    prev->vm_next = vma;
  else
    mm->mmap = vma;
  if (next)
    next->vm_prev = vma;
  else
    mm->highest_vm_end = vma->vm_end;
}

/*
 * How the summaries follow when `vma`, not in the tree yet or about to leave it, comes or goes, so that the gap of `next` changes. One that
 * touches its predecessor is most often half of a split or a merge: nothing changes, and a look at `next` beforehand makes sure. Else `next`
 * is found on the way to the root.
 */
static ALWAYS_INLINE rb_augment_fn *follow_gaps(const struct vm_area_struct *vma, struct vm_area_struct *next) {
  if (!vma->vm_prev || vma->vm_prev->vm_end < vma->vm_start)
    return augment_all;
  if (next && update_gap(&next->vm_rb) && next->vm_rb.parent)
    vma_gap_changed(vma_of(next->vm_rb.parent));
  return augment_gap;
}

/*
 * In-order neighbours share an edge of the tree: one of them has the free link between the two. Either way `next` lies on the path from the
 * new node to the root.
 */
static void tree_insert(struct mm_struct *mm, struct vm_area_struct *vma) {
  struct vm_area_struct *prev = vma->vm_prev, *next = vma->vm_next;
  rb_augment_fn *augment = follow_gaps(vma, next);
  if (prev && !prev->vm_rb.right)
    rb_insert(&mm->mm_rb, &vma->vm_rb, &prev->vm_rb, &prev->vm_rb.right, augment);
  else if (next)
    rb_insert(&mm->mm_rb, &vma->vm_rb, &next->vm_rb, &next->vm_rb.left, augment);
  else
    rb_insert(&mm->mm_rb, &vma->vm_rb, NULL, &mm->mm_rb.node, augment);
}

void vma_link(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *prev) {
  vma->vm_mm = mm;
  chain_insert(mm, vma, prev);
  tree_insert(mm, vma);
  mm->map_count++;
  mm->mmap_cache = vma;
}

void vma_unlink(struct mm_struct *mm, struct vm_area_struct *vma) {
  struct vm_area_struct *prev = vma->vm_prev, *next = vma->vm_next;
  if (prev)
    prev->vm_next = next;
  else
    mm->mmap = next;
  if (next)
    next->vm_prev = prev;
  else
    mm->highest_vm_end = prev ? prev->vm_end : 0;
  rb_erase(&mm->mm_rb, &vma->vm_rb, follow_gaps(vma, next));
  if (next && next->rb_subtree_gap < gap_below(next)) /* the path that rb_erase() went up may start above it */
    vma_gap_changed(next);
  mm->map_count--;
  mm->mmap_cache = prev;
}

void vma_set_start(struct vm_area_struct *vma, uint64_t start) {
  CHECK(start < vma->vm_end && (!vma->vm_prev || vma->vm_prev->vm_end <= start));
  /* Unsigned arithmetic wraps back when the start moves down. */
  vma->vm_pgoff += (start >> PAGE_SHIFT) - (vma->vm_start >> PAGE_SHIFT);
  vma->vm_start = start;
  vma_gap_changed(vma);
}

void vma_set_end(struct vm_area_struct *vma, uint64_t end) {
  CHECK(end > vma->vm_start && (!vma->vm_next || end <= vma->vm_next->vm_start));
  vma->vm_end = end;
  if (vma->vm_next)
    vma_gap_changed(vma->vm_next);
  else
    vma->vm_mm->highest_vm_end = end;
}

void vma_move_edge(struct vm_area_struct *lower, struct vm_area_struct *upper, uint64_t edge) {
  CHECK(lower->vm_end == upper->vm_start && edge > lower->vm_start && edge < upper->vm_end);
  lower->vm_end = edge;
  vma_set_start(upper, edge);
}
