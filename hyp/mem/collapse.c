/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Collapsing: the pages of a 2 MiB range are moved, one by one, into the parts of one free block, each to its place; then the table of 512
 * leaves gives way to one leaf, and the 512 frames become one block.
 *
 *      stage 2   |p|p|p|p| ... |p|      frames   .p...p....pp...p..    ->    |pppp...p|   a block of 2 MiB
 *
 * Between steps everything is as valid as ever: some pages live in the block already, the rest of its parts are CACHED and belong to the
 * collapse. It is given up when a page is missing or will not move; what has moved stays where it is.
 *
 * Lock: the VM's s2->lock for each look at its tables, and for the last step as a whole. Runs as EL2 work, on CPU 0, where VMs are
 * destroyed as well; hence the id and not a pointer from one step to the next.
 */
#include "hyp/mem/collapse.h"
#include "core/bits.h"
#include "core/check.h"
#include "hyp/core/vm.h"
#include "mm/migrate.h"
#include "mm/page_alloc.h"

#define ORDER_2M 9u
#define PAGES (1u << ORDER_2M)
#define TRIES 8u

static struct stage2 *stage2_of(const struct collapse *c) {
  struct vm *vm = vm_by_id(c->vm_id);
  return vm && vm->s2.pt.root ? &vm->s2 : NULL;
}

/* The pages lie side by side in `block`: one leaf, one block of frames. */
static err_t join(struct stage2 *s2, uint64_t ia, pfn_t block) {
  stage2_forget_views(s2, ipa(ia), SZ_2M);
  err_t err = frame_join_block(block, 0, ORDER_2M);
  if (err != ERR_OK)
    return err;
  err = pt_collapse(&s2->pt, ia, 2);
  if (err != ERR_OK)
    frame_split_block(block, ORDER_2M, 0);
  return err;
}

/* Are the pages where a block's would be? Then they need no moving. */
static err_t join_in_place(struct stage2 *s2, uint64_t ia) {
  struct pt_leaf first;
  if (pt_lookup(&s2->pt, ia, &first) != ERR_OK || first.level != 3 || !is_aligned(first.out.v, SZ_2M))
    return ERR_BUSY;
  return join(s2, ia, pa_pfn(first.out));
}

static err_t inspect(struct stage2 *s2, uint64_t ia) {
  if (!is_aligned(ia, SZ_2M) || !stage2_is_ram(s2, ipa(ia)) || pt_count_pages(&s2->pt, ia) != PAGES)
    return ERR_NOENT;
  return join_in_place(s2, ia) == ERR_OK ? ERR_EXIST : ERR_OK;
}

err_t collapse_begin(struct collapse *c, struct vm *vm, ipa_t at) {
  *c = (struct collapse){.vm_id = vm->id, .ia = at.v};
  struct stage2 *s2 = stage2_of(c);
  if (!s2)
    return ERR_NOENT;
  spin_lock(&s2->lock);
  err_t err = inspect(s2, at.v);
  spin_unlock(&s2->lock);
  if (err == ERR_OK)
    err = page_alloc(ORDER_2M, ALLOC_MOVABLE, &c->block); /* at once or not: its caller's step is short, and compactd frees blocks first */
  if (err == ERR_OK)
    frame_split_block(c->block, ORDER_2M, 0);
  return err;
}

/* The parts that no page has come to. */
static void free_rest(struct collapse *c) {
  for (; c->next < PAGES; c->next++)
    page_free(pfn_add(c->block, c->next), 0);
}

void collapse_cancel(struct collapse *c) {
  free_rest(c);
}

static err_t find(struct stage2 *s2, uint64_t ia, pfn_t *out) {
  struct pt_leaf leaf;
  spin_lock(&s2->lock);
  err_t err = pt_lookup(&s2->pt, ia, &leaf);
  spin_unlock(&s2->lock);
  *out = pa_pfn(leaf.out);
  return err == ERR_OK && leaf.level != 3 ? ERR_EXIST : err;
}

/* The next page to its place. It may be on its way elsewhere at this moment: then it is looked for again. */
static bool place_next(struct collapse *c, struct stage2 *s2) {
  enum move_result result = MOVE_GONE;
  pfn_t from;
  for (unsigned tries = 0; result == MOVE_GONE && tries < TRIES; tries++) {
    if (find(s2, c->ia + (uint64_t)c->next * PAGE_SIZE, &from) != ERR_OK)
      return false;
    result = frame_move(from, 0, pfn_add(c->block, c->next));
  }
  c->next += result == MOVE_DONE;
  return result == MOVE_DONE;
}

static err_t finish(struct collapse *c, struct stage2 *s2) {
  spin_lock(&s2->lock);
  err_t err = join(s2, c->ia, c->block);
  spin_unlock(&s2->lock);
  return err == ERR_OK ? ERR_OK : ERR_BUSY;
}

err_t collapse_step(struct collapse *c, unsigned max_moves) {
  struct stage2 *s2 = stage2_of(c);
  for (unsigned i = 0; s2 && i < max_moves && c->next < PAGES; i++, c->moved++) {
    if (!place_next(c, s2))
      s2 = NULL;
  }
  if (!s2) {
    free_rest(c);
    return ERR_BUSY;
  }
  return c->next < PAGES ? ERR_AGAIN : finish(c, s2);
}
