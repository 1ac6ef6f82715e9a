/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The frames of a hand-over, a step at a time: which are taken into a region, what becomes of their states, and who maps them.
 *
 *      step        frame state           pins   giver's leaf    borrower's leaf
 *      claim       owned                 0 > 1  stays           none
 *      give        owned > shared/lent   1      stays / goes    none
 *      map         shared/lent           1      -               made
 *      unmap       shared/lent           1      -               goes
 *      return      shared/lent > owned   1 > 0  - / made        none
 *      transfer    lent > owned (taker)  1 > 0  none            stays
 *      settle      as it is              1      -               none: contents, between two of these
 *
 * A frame that is pinned is moved, joined, split, freed and taken into another region by nobody, so what claim has found stays true until
 * the region is done with it. Descriptors that go do so before the state says it, TLBs included; those that come follow it. Blocks of 2 MiB
 * go as blocks.
 *
 * Lock: that of the giver's stage 2, and where a borrower's tables change that one's as well; the caller's.
 */
#include "hyp/mem/handover_frames.h"
#include "core/bits.h"
#include "core/check.h"
#include "hyp/mem/stage2.h"
#include "mm/page_alloc.h"

#define ORDER_2M 9u
#define PAGES_2M 512u

static struct frame *frame_at(uint32_t index) {
  return &frame_table[index];
}

static pfn_t pfn_at(uint32_t index) {
  return pfn(frame_base_pfn + index);
}

static uint64_t pages_of(const struct frame *f) {
  return (uint64_t)1 << f->order;
}

/* What a step over a block costs, in pages: that of one leaf, if one leaf can map it where it goes. */
static uint64_t weight(const struct frame *f, uint64_t at) {
  return is_aligned(at, PAGE_SIZE << f->order) ? 1 : PAGES_2M;
}

void handover_rewind(struct handover *h) {
  h->cursor = h->first;
  h->cursor_page = 0;
}

/* ---- into the region ---- */

/* Owned by `owner`, a whole block of `order`, and not pinned: two halves of a word say it all. */
static inline bool may_be_claimed(const struct frame *f, unsigned order, owner_t owner) {
  return (uint16_t)f->kind == (FRAME_OWNED | (unsigned)owner << 4) && f->claim == (order | FRAME_F_HEAD << 8);
}

static void append(struct handover *h, pfn_t head) {
  uint32_t index = (uint32_t)(head.v - frame_base_pfn);
  struct frame *f = frame_at(index);
  f->pins = 1;
  f->refs = 0;
  f->next = FRAME_LINK_NONE;
  if (h->first == FRAME_LINK_NONE)
    h->first = index;
  else
    frame_at(h->last)->next = index;
  h->last = index;
}

static err_t claim_leaf(struct vm *owner, struct handover *h, struct handover_range *left, const struct pt_leaf *leaf) {
  unsigned order = leaf->level == 2 ? ORDER_2M : 0;
  uint64_t pages = (uint64_t)1 << order;
  pfn_t head = pa_pfn(pa(align_down(leaf->out.v, PAGE_SIZE << order)));
  if (unlikely(!may_be_claimed(frame_of(head), order, owner->id)))
    return ERR_PERM;
  if (unlikely(leaf->ia != left->ia || left->pages < pages)) { /* an edge cuts the block */
    err_t err = stage2_split(&owner->s2, left->ia);
    return err == ERR_OK ? ERR_AGAIN : err;
  }
  append(h, head);
  left->ia += pages * PAGE_SIZE;
  left->pages -= pages;
  return ERR_OK;
}

static err_t claim_leaves(struct vm *owner, struct handover *h, struct handover_range *left) {
  struct stage2 *s2 = &owner->s2;
  struct pt_leaf leaf;
  for (unsigned i = 0; i < HANDOVER_STEP_PAGES && left->pages > 0; i++) {
    if (unlikely(pt_lookup(&s2->pt, left->ia, &leaf) != ERR_OK))
      return stage2_is_ram(s2, ipa(left->ia)) && !stage2_is_given(s2, left->ia, 1) ? ERR_NOENT : ERR_PERM;
    err_t err = claim_leaf(owner, h, left, &leaf);
    if (unlikely(err != ERR_OK))
      return err;
  }
  return left->pages > 0 ? ERR_AGAIN : ERR_OK;
}

/* [from, to) has come to the region; the window follows RAM at once. */
static void account(const struct stage2 *s2, struct handover *h, uint64_t from, uint64_t to) {
  uint64_t window = stage2_window(s2).v;
  h->pages += (to - from) >> PAGE_SHIFT;
  if (to > window)
    h->from_window += (to - (from > window ? from : window)) >> PAGE_SHIFT;
}

err_t handover_claim_frames(struct vm *owner, struct handover *h, struct handover_range *left) {
  uint64_t from = left->ia;
  if (!stage2_is_memory_range(&owner->s2, ipa(from), left->pages * PAGE_SIZE))
    return ERR_RANGE;
  err_t err = claim_leaves(owner, h, left);
  account(&owner->s2, h, from, left->ia);
  return err;
}

err_t handover_unpin_frames(struct handover *h) {
  for (unsigned i = 0; i < HANDOVER_STEP_PAGES && h->cursor != FRAME_LINK_NONE; i++) {
    struct frame *f = frame_at(h->cursor);
    f->pins = 0;
    h->cursor = f->next;
  }
  return h->cursor != FRAME_LINK_NONE ? ERR_AGAIN : ERR_OK;
}

/* ---- the giver's side ---- */

/* Heads from the cursor on that lie one behind the other in the giver, `max` at most; the cursor goes past them. */
static struct handover_range next_run(struct handover *h, unsigned *max) {
  struct handover_range run = {frame_at(h->cursor)->rmap, 0};
  while (*max > 0 && h->cursor != FRAME_LINK_NONE) {
    const struct frame *f = frame_at(h->cursor);
    if (f->rmap != run.ia + run.pages * PAGE_SIZE)
      break;
    run.pages += pages_of(f);
    h->cursor = f->next;
    (*max)--;
  }
  return run;
}

/* Of `count` heads at most, from `first` on; the one after them. */
static uint32_t set_states(const struct vm *owner, uint32_t first, unsigned count, enum frame_state to) {
  while (count > 0 && first != FRAME_LINK_NONE) {
    unsigned order = frame_at(first)->order;
    uint64_t frames;
    first = frame_set_state_chain(first, count, to, owner->id, FRAME_RMAP_KEPT, false, &frames);
    count -= (unsigned)(frames >> order);
  }
  return first;
}

static void give_up_run(struct vm *owner, struct handover_range run) {
  if (owner->config.trap_stage1_faults)
    stage2_forget_views(&owner->s2, ipa(run.ia), run.pages * PAGE_SIZE);
  err_t err = pt_unmap(&owner->s2.pt, run.ia, run.pages * PAGE_SIZE, NULL, NULL);
  CHECK(err == ERR_OK); /* both ends are ends of leaves: there is nothing to split */
  stage2_set_given(&owner->s2, run.ia, run.pages, true);
}

err_t handover_give_frames(struct vm *owner, struct handover *h) {
  unsigned max = HANDOVER_STEP_PAGES;
  uint32_t first = h->cursor;
  if (h->kind == HANDOVER_SHARE) {
    h->cursor = set_states(owner, first, max, FRAME_SHARED);
  } else {
    while (max > 0 && h->cursor != FRAME_LINK_NONE)
      give_up_run(owner, next_run(h, &max));
    (void)set_states(owner, first, HANDOVER_STEP_PAGES - max, FRAME_LENT);
  }
  return h->cursor != FRAME_LINK_NONE ? ERR_AGAIN : ERR_OK;
}

err_t handover_settle_frames(struct handover *h, bool zero) {
  for (uint64_t left = HANDOVER_STEP_PAGES; left > 0 && h->cursor != FRAME_LINK_NONE;) {
    const struct frame *f = frame_at(h->cursor);
    uint64_t n = min_u64(left, pages_of(f) - h->cursor_page);
    pfn_t at = pfn_add(pfn_at(h->cursor), h->cursor_page);
    if (zero)
      stage2_cleanse(at, n);
    else
      stage2_settle(at, n);
    left -= n;
    h->cursor_page += (uint32_t)n;
    if (h->cursor_page == pages_of(f)) {
      h->cursor = f->next;
      h->cursor_page = 0;
    }
  }
  return h->cursor != FRAME_LINK_NONE ? ERR_AGAIN : ERR_OK;
}

/* ---- the borrower's side ---- */

static err_t map_head(struct vm *borrower, const struct handover_borrower *b, const struct frame *f, uint64_t at) {
  struct pt *pt = &borrower->s2.pt;
  pa_t out = pfn_pa(frame_pfn(f));
  if (f->order == 0)
    return pt_map_leaf(pt, at, out, 3, b->prot);
  if (is_aligned(at, SZ_2M))
    return pt_map_leaf(pt, at, out, 2, b->prot);
  return pt_map(pt, at, out, SZ_2M, b->prot, SZ_4K);
}

err_t handover_map_frames(struct vm *borrower, struct handover_borrower *b) {
  uint64_t at = b->base + b->mapped * PAGE_SIZE, work = 0;
  uint32_t next = b->next;
  err_t err = ERR_OK;
  while (work < HANDOVER_STEP_PAGES && next != FRAME_LINK_NONE) {
    struct frame *f = frame_at(next);
    err = map_head(borrower, b, f, at);
    if (unlikely(err != ERR_OK))
      break;
    f->refs++;
    work += weight(f, at);
    at += PAGE_SIZE << f->order;
    next = f->next;
  }
  b->mapped = (at - b->base) >> PAGE_SHIFT;
  b->next = next;
  return err == ERR_OK && next != FRAME_LINK_NONE ? ERR_AGAIN : err;
}

err_t handover_unmap_frames(struct vm *borrower, struct handover *h, struct handover_borrower *b) {
  uint64_t from = b->base + b->gone * PAGE_SIZE, pages = 0;
  if (b->gone == 0)
    b->next = h->first;
  for (uint64_t work = 0; work < HANDOVER_STEP_PAGES && b->gone + pages < b->mapped;) {
    struct frame *f = frame_at(b->next);
    work += weight(f, from + pages * PAGE_SIZE);
    pages += pages_of(f);
    f->refs--;
    b->next = f->next;
  }
  if (pages > 0) {
    stage2_forget_views(&borrower->s2, ipa(from), pages * PAGE_SIZE);
    err_t err = pt_unmap(&borrower->s2.pt, from, pages * PAGE_SIZE, NULL, NULL);
    CHECK(err == ERR_OK); /* as above */
  }
  b->gone += pages;
  return b->gone < b->mapped ? ERR_AGAIN : ERR_OK;
}

/* ---- out of the region ---- */

/* The first head leaves the chain. */
static pfn_t pop(struct handover *h) {
  pfn_t head = pfn_at(h->first);
  struct frame *f = frame_at(h->first);
  h->first = f->next;
  h->pages -= pages_of(f);
  f->next = FRAME_LINK_NONE;
  f->refs = 0;
  f->pins = 0;
  return head;
}

/* From the front on, so that what is left of a donation begins at base + gone. */
err_t handover_transfer_frames(struct vm *owner, struct vm *taker, struct handover *h, struct handover_borrower *b) {
  for (unsigned left = HANDOVER_STEP_PAGES; left > 0 && h->first != FRAME_LINK_NONE;) {
    uint64_t at = b->base + b->gone * PAGE_SIZE, pages;
    pfn_t head = pfn_at(h->first);
    unsigned order = frame_of(head)->order;
    bool cut = weight(frame_of(head), at) > 1;
    h->first = frame_set_state_chain(h->first, cut ? 1 : left, FRAME_OWNED, taker->id, at, true, &pages);
    if (cut)
      frame_split_block(head, order, 0); /* its leaves there are of 4 KiB, and may go separate ways */
    left = cut ? 0 : left - (unsigned)(pages >> order);
    b->gone += pages;
  }
  if (h->first != FRAME_LINK_NONE)
    return ERR_AGAIN;
  stage2_frames_left(&owner->s2, h->pages - h->from_window);
  owner->s2.window_frames -= h->from_window;
  taker->s2.window_frames += h->pages;
  return ERR_OK;
}

/* Where it was, in the giver. ERR_NOMEM. */
static err_t map_back(struct vm *owner, const struct frame *f) {
  err_t err = pt_map_leaf(&owner->s2.pt, f->rmap, pfn_pa(frame_pfn(f)), f->order ? 2 : 3, PT_R | PT_W | PT_X);
  CHECK(err == ERR_OK || err == ERR_NOMEM); /* nobody populates what is given away */
  if (err == ERR_OK)
    stage2_set_given(&owner->s2, f->rmap, pages_of(f), false);
  return err;
}

err_t handover_return_frames(struct vm *owner, struct handover *h) {
  for (unsigned i = 0; i < HANDOVER_STEP_PAGES && h->first != FRAME_LINK_NONE; i++) {
    struct frame *f = frame_at(h->first);
    CHECK(f->refs == 0);
    if (f->state == FRAME_LENT) {
      err_t err = map_back(owner, f);
      if (err != ERR_OK)
        return err;
    }
    pfn_t head = pop(h);
    frame_set_state(head, f->order, FRAME_OWNED, owner->id, f->rmap);
  }
  return h->first != FRAME_LINK_NONE ? ERR_AGAIN : ERR_OK;
}

/* The giver dies: what it maps goes with its tables, the rest now. */
err_t handover_drop_frames(struct vm *owner, struct handover *h) {
  for (unsigned i = 0; i < HANDOVER_STEP_PAGES && h->first != FRAME_LINK_NONE; i++) {
    struct frame *f = frame_at(h->first);
    bool lent = f->state == FRAME_LENT;
    unsigned order = f->order;
    CHECK(f->refs == 0);
    pfn_t head = pop(h);
    if (f->state != FRAME_OWNED)
      frame_set_state(head, order, FRAME_OWNED, owner->id, f->rmap);
    if (lent) {
      stage2_count(&owner->s2, f->rmap, -((int64_t)1 << order));
      page_free(head, order);
    }
  }
  return h->first != FRAME_LINK_NONE ? ERR_AGAIN : ERR_OK;
}
