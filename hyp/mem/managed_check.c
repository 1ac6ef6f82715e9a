/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory, looked at from outside: sums for the monitor, and the check that what a block believes is so. Each page's masks are held
 * against its frames (state, owner, reverse mapping), against the leaf that each member's real stage-2 table has for it, and, where it has
 * copies, these against each other, byte for byte.
 *
 * Changes nothing. Lock: a block's, for a step; a member's s2.lock within it.
 */
#include "hyp/mem/managed_priv.h"
#include "mm/port.h"

#define BLOCKS_PER_STEP 8u
#define WORK_PER_STEP 64u /* pages that have nothing to be compared */
#define WORK_OF_COPY 16u

/* ---- sums ---- */

static uint64_t count(const struct managed_mask *m) {
  uint64_t sum = 0;
  for (unsigned w = 0; w < MANAGED_WORDS; w++)
    sum += managed_count(m->word[w]);
  return sum;
}

static uint64_t count_duplicated(const struct managed_block *b, unsigned location) {
  uint64_t sum = 0;
  for (unsigned w = 0; w < MANAGED_WORDS; w++)
    sum += managed_count(b->resident[location].word[w] & managed_resident_elsewhere(b, location, w));
  return sum;
}

static void add_counts(struct managed_counts *to, const struct managed_counts *c) {
  to->faults += c->faults;
  to->populated += c->populated;
  to->migrated += c->migrated;
  to->duplicated += c->duplicated;
  to->collapsed += c->collapsed;
  to->prefetched += c->prefetched;
  to->throttled += c->throttled;
  to->pinned += c->pinned;
  to->evicted += c->evicted;
  to->shed += c->shed;
}

static void add_block(const struct managed_block *b, struct managed_state *out) {
  out->home_pages += count(&b->resident[LOCATION_HOME]);
  for (unsigned i = 0; i < MANAGED_PAGES; i++)
    out->pinned += b->page[i].state == MANAGED_PAGE_PINNED;
  for (unsigned l = 1; l < MANAGED_LOCATIONS; l++) {
    out->member[l].resident += count(&b->resident[l]);
    out->member[l].mapped += count(&b->mapped[l]);
    out->member[l].writable += count(&b->writable[l]);
    out->member[l].duplicated += count_duplicated(b, l);
    add_counts(&out->member[l].counts, &b->counts[l]);
  }
}

static void read_range(struct managed_range *range, struct managed_state *out) {
  uint8_t present = atomic_load_relaxed(&range->present);
  spin_lock(&range->lock);
  out->policy = range->policy;
  for (unsigned l = 1; l < MANAGED_LOCATIONS; l++) {
    out->member[l].present = present >> l & 1;
    out->member[l].quota_frames = range->member[l].quota;
    out->member[l].used_frames = range->member[l].used;
  }
  spin_unlock(&range->lock);
  out->moved = atomic_load_relaxed(&range->moved);
}

err_t managed_read_step(struct managed_range *range, uint32_t *block, struct managed_state *out) {
  for (unsigned i = 0; i < BLOCKS_PER_STEP && *block < range->blocks; i++, (*block)++) {
    struct managed_chunk *c = range->chunk[*block];
    spin_lock(&c->lock);
    add_block(&c->block, out);
    spin_unlock(&c->lock);
  }
  if (*block < range->blocks)
    return ERR_AGAIN;
  read_range(range, out);
  return ERR_OK;
}

/* ---- check: each answers NULL, or what is wrong ---- */

/* A frame for each location that is said to have one, and no other. */
static const char *check_frames(const struct managed_place *at, unsigned page, unsigned *copies) {
  const struct managed_block *b = &at->chunk->block;
  unsigned frames = 0;
  *copies = 0;
  for (uint32_t i = at->chunk->first[page]; i != FRAME_LINK_NONE && frames <= MANAGED_LOCATIONS; i = frame_table[i].next)
    frames++;
  for_each_location(l) {
    if (!managed_mask_has(&b->resident[l], page))
      continue;
    if (l != LOCATION_HOME && !at->range->member[l].vm)
      return "resident at a VM that is not there";
    const struct frame *f = managed_find_frame(at, l, page);
    if (!f)
      return "resident, but no frame";
    if (f->state != FRAME_MANAGED || f->order != 0 || f->rmap != managed_rmap(at->range->number, managed_offset(at, page)))
      return "its frame is another's";
    (*copies)++;
  }
  return frames == *copies ? NULL : "a frame that is resident nowhere";
}

static const char *check_leaf(const struct managed_place *at, unsigned m, unsigned page) {
  const struct managed_block *b = &at->chunk->block;
  struct vm *vm = at->range->member[m].vm;
  bool mapped = managed_mask_has(&b->mapped[m], page), writable = managed_mask_has(&b->writable[m], page);
  struct pt_leaf leaf;
  if (!vm)
    return mapped ? "mapped by a VM that is not there" : NULL;
  spin_lock(&vm->s2.lock);
  bool there = vm->s2.pt.root && pt_lookup(&vm->s2.pt, at->range->member[m].base + managed_offset(at, page), &leaf) == ERR_OK;
  spin_unlock(&vm->s2.lock);
  if (there != mapped)
    return there ? "a leaf, but not mapped" : "mapped, but no leaf";
  if (!there)
    return NULL;
  if (leaf.level != 3 || leaf.prot != (writable ? PT_R | PT_W : PT_R))
    return "a leaf with other permissions";
  const struct frame *f = managed_find_frame(at, managed_block_source(b, m, page), page);
  return f && leaf.out.v == pfn_pa(frame_pfn(f)).v ? NULL : "a leaf that leads to another frame";
}

/* All copies hold what the first one does. */
static const char *check_copies(const struct managed_place *at, unsigned page) {
  uint32_t first = at->chunk->first[page];
  for (uint32_t i = frame_table[first].next; i != FRAME_LINK_NONE; i = frame_table[i].next) {
    const uint64_t *a = port_frame_ptr(frame_pfn(&frame_table[first])), *b = port_frame_ptr(frame_pfn(&frame_table[i]));
    for (unsigned w = 0; w < PAGE_SIZE / sizeof(*a); w++)
      if (a[w] != b[w])
        return "copies that differ";
  }
  return NULL;
}

static const char *check_page(const struct managed_place *at, unsigned page, unsigned *copies) {
  const char *wrong = managed_block_is_sound(&at->chunk->block, page / 64) ? NULL : "masks that contradict each other";
  if (!wrong)
    wrong = check_frames(at, page, copies);
  for (unsigned m = 1; m < MANAGED_LOCATIONS && !wrong; m++)
    wrong = check_leaf(at, m, page);
  return !wrong && *copies > 1 ? check_copies(at, page) : wrong;
}

err_t managed_check_step(struct managed_range *range, uint64_t *page, const char **what) {
  uint64_t pages = range->blocks * MANAGED_PAGES;
  for (unsigned work = 0, copies = 0; work < WORK_PER_STEP && *page < pages; (*page)++) {
    struct managed_place at = managed_place_of(range, *page / MANAGED_PAGES);
    spin_lock(&at.chunk->lock);
    *what = check_page(&at, *page % MANAGED_PAGES, &copies);
    spin_unlock(&at.chunk->lock);
    if (*what)
      return ERR_INVAL;
    work += copies > 1 ? copies * WORK_OF_COPY : 1;
  }
  return *page < pages ? ERR_AGAIN : ERR_OK;
}
