/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How backing leaves a VM's RAM: blocks split, ranges released, all of it torn down.
 *
 * A frame is freed only after every TLB has forgotten it (pt_unmap sees to the order), and a table of stage 1 that EL2 keeps a view of is
 * forgotten before. What is pinned, because it is shared or about to be handed over, is refused (ERR_BUSY).
 *
 * Lock: s2->lock, over all of a release and over each step of the end.
 */
#include "core/bits.h"
#include "core/check.h"
#include "hyp/core/vm.h"
#include "hyp/mem/stage2.h"
#include "hyp/mem/view.h"
#include "mm/page_alloc.h"

#define DESTROY_TABLES_PER_STEP 1u /* 512 pages that lie scattered take some 75,000 instructions */

void stage2_forget_views(struct stage2 *s2, ipa_t start, uint64_t bytes) {
  for (unsigned i = 0; i < s2->vm->vcpu_count; i++)
    view_forget(s2->vm->vcpus[i], start, bytes);
}

static void free_leaf(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  struct stage2 *s2 = ctx;
  unsigned order = 9 * (3 - level);
  (void)desc;
  stage2_count(s2, ia, -((int64_t)1 << order));
  page_free(pa_pfn(out), order);
}

err_t stage2_split(struct stage2 *s2, uint64_t a) {
  struct pt_leaf leaf;
  if (pt_lookup(&s2->pt, a, &leaf) != ERR_OK || leaf.level != 2)
    return ERR_OK;
  if (frame_of(pa_pfn(pa(align_down(leaf.out.v, SZ_2M))))->pins > 0)
    return ERR_BUSY; /* under way to another VM */
  err_t err = pt_split(&s2->pt, a);
  if (err == ERR_OK)
    frame_split_block(pa_pfn(pa(align_down(leaf.out.v, SZ_2M))), PAGEBLOCK_ORDER, 0);
  return err;
}

/* No page of it is pinned: what is shared, or about to be handed over, has others who rely on it. */
static bool may_be_released(struct stage2 *s2, uint64_t start, uint64_t bytes) {
  struct pt_leaf leaf;
  for (uint64_t at = start, step; s2->vm->handover && at - start < bytes; at += step) {
    err_t err = pt_lookup(&s2->pt, at, &leaf);
    uint64_t size = (uint64_t)1 << (PAGE_SHIFT + 9 * (3 - leaf.level));
    if (err == ERR_OK && frame_of(frame_head(pa_pfn(leaf.out)))->pins > 0)
      return false;
    step = align_down(at, size) + size - at;
  }
  return true;
}

static err_t release(struct stage2 *s2, uint64_t start, uint64_t bytes) {
  if (!may_be_released(s2, start, bytes))
    return ERR_BUSY;
  err_t err = is_aligned(start, SZ_2M) ? ERR_OK : stage2_split(s2, start);
  if (err == ERR_OK && !is_aligned(start + bytes, SZ_2M))
    err = stage2_split(s2, start + bytes);
  if (err == ERR_OK)
    err = pt_unmap(&s2->pt, start, bytes, free_leaf, s2);
  return err;
}

err_t stage2_release(struct stage2 *s2, ipa_t start, uint64_t bytes) {
  if (!stage2_is_ram_range(s2, start, bytes) || !is_aligned(start.v | bytes, PAGE_SIZE))
    return ERR_RANGE;
  spin_lock(&s2->lock);
  stage2_forget_views(s2, start, bytes);
  err_t err = release(s2, start.v, bytes);
  spin_unlock(&s2->lock);
  return err;
}

err_t stage2_destroy_step(struct stage2 *s2) {
  if (!s2->pt.root)
    return ERR_OK; /* never made, or gone already */
  spin_lock(&s2->lock);
  err_t err = pt_destroy(&s2->pt, DESTROY_TABLES_PER_STEP, free_leaf, s2);
  spin_unlock(&s2->lock);
  if (err == ERR_OK) {
    CHECK(s2->populated_frames + s2->window_frames == 0);
    page_free(s2->pt.root_pfn, s2->pt.root_order);
    s2->pt.root = NULL;
  }
  return err;
}
