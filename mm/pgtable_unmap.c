/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unmapping and taking down.
 *
 * pt_unmap makes entries invalid in batches, flushes each batch once, and only then hands out the leaves and frees the tables, so nothing
 * is reused while a TLB may still reach it. A table that the range covers whole is detached by one write, its leaves are read after the
 * flush, when hardware is done with them. A table that loses its last entry is unhooked within the same batch, unless it is the one that
 * PT_FEAT_KEEP lets stay: then it remains linked, all entries invalid, until a range covers it whole or pt_trim() takes it.
 *
 * pt_unmap_leaves does the same for leaves that lie anywhere: its caller knows them, and splits what is too large first.
 *
 * pt_destroy is for an address space that never runs again and that no TLB knows: no flush, bounded steps.
 */
#include "core/check.h"
#include "mm/pgtable_priv.h"

#define BATCH 132u    /* PT_UNMAP_LEAVES_MAX and BATCH_ROOM */
#define BATCH_ROOM 4u /* one leaf and the tables that it was the last entry of */

struct gone {
  uint64_t ia; /* start | shift: shifts are below 64, pages above */
  uint64_t desc;
};

struct unmap {
  struct pt *pt;
  pt_leaf_fn *leaf;
  void *ctx;
  struct pt_span span;
  unsigned count;
  struct gone gone[BATCH]; /* [0, count) made invalid, not flushed yet */
};

/* Nothing is unmapped yet. Field by field: the array is not to be cleared. */
static ALWAYS_INLINE void unmap_begin(struct unmap *u, struct pt *pt, pt_leaf_fn *leaf, void *ctx) {
  u->pt = pt;
  u->leaf = leaf;
  u->ctx = ctx;
  u->span = span_none();
  u->count = 0;
}

static ALWAYS_INLINE void tell(const struct unmap *u, uint64_t ia, uint64_t desc, unsigned shift) {
  if (u->leaf)
    u->leaf(u->ctx, align_down(ia, BIT(shift)), desc_out(desc), shift_level(shift), desc);
}

/* Leaves and tables below a detached table whose entries are at `shift`. Depth is bounded by the levels. */
static void release_table(const struct unmap *u, pfn_t table, uint64_t ia, unsigned shift) {
  const uint64_t *entries = port_frame_ptr(table);
  uint32_t left = frame_of(table)->refs;
  for (unsigned i = 0; left > 0; i++) {
    uint64_t desc = port_pte_load(&entries[i]), at = ia + ((uint64_t)i << shift);
    if (!desc_is_valid(desc))
      continue;
    left--;
    if (desc_is_table(desc, shift))
      release_table(u, pa_pfn(desc_out(desc)), at, shift - TABLE_BITS);
    else
      tell(u, at, desc, shift);
  }
  pt_table_free(u->pt, table);
}

static void batch_finish(struct unmap *u) {
  span_flush(u->pt, &u->span);
  for (unsigned i = 0; i < u->count; i++) {
    uint64_t ia = u->gone[i].ia & PAGE_MASK, desc = u->gone[i].desc;
    unsigned shift = (unsigned)(u->gone[i].ia & ~PAGE_MASK);
    if (unlikely(desc_is_table(desc, shift)))
      release_table(u, pa_pfn(desc_out(desc)), ia, shift - TABLE_BITS);
    else
      tell(u, ia, desc, shift);
  }
  u->count = 0;
  u->span = span_none();
}

/*
 * What the flush must cover: a leaf its span; a detached table its span by pages; one that became empty in this batch only the walk caches,
 * at the leaf's span. A kept table may have been empty before: it has no leaf here.
 */
static ALWAYS_INLINE void batch_add(struct unmap *u, uint64_t ia, uint64_t desc, unsigned shift) {
  u->gone[u->count++] = (struct gone){align_down(ia, BIT(shift)) | shift, desc};
  if (likely(!desc_is_table(desc, shift))) {
    span_add(&u->span, ia, shift);
    return;
  }
  const uint32_t *refs = &frame_of(pa_pfn(desc_out(desc)))->refs;
  if (*refs > 0 || refs == u->pt->kept_refs) {
    span_add(&u->span, ia, shift);
    u->span.level = 3;
  }
  u->span.mixed = true;
}

/* Make one entry invalid, and the tables above it that become empty and are not to be kept. True if its own table is among these. */
static ALWAYS_INLINE bool drop(struct unmap *u, uint64_t *entry, uint64_t ia, unsigned shift) {
  struct pt *pt = u->pt;
  unsigned first = shift;
  if (unlikely(u->count > BATCH - BATCH_ROOM))
    batch_finish(u);
  for (;;) {
    batch_add(u, ia, pt_clear(pt, entry, ia, shift), shift);
    uint32_t *refs = entry_refs(entry);
    if (--*refs > 0 || shift == pt->start_shift || refs == pt->kept_refs)
      return shift != first;
    shift += TABLE_BITS;
    entry = walk_to(pt, ia, shift).entry;
  }
}

static bool covers(uint64_t ia, uint64_t end, unsigned shift) {
  return is_aligned(ia, BIT(shift)) && end - ia >= BIT(shift);
}

/* The entry for `ia` at the highest level where it is no table, or one that the range covers whole. */
static struct pt_at descend(const struct pt *pt, uint64_t ia, uint64_t end) {
  if (ia >> SHIFT_L2 == pt->hint_index && !covers(ia, end, SHIFT_L2))
    return walk_hinted(pt, ia);
  unsigned stop = pt->start_shift;
  struct pt_at at = walk_to(pt, ia, stop);
  while (at.shift == stop && desc_is_table(at.desc, stop) && !covers(ia, end, stop)) {
    stop -= TABLE_BITS;
    at = walk_to(pt, ia, stop);
  }
  return at;
}

/* Unmap up to the end of one table, or to an entry that has to be descended into; where to go on. */
static uint64_t unmap_in_table(struct unmap *u, uint64_t ia, uint64_t end) {
  struct pt_at at = descend(u->pt, ia, end);
  uint64_t table_end = at.shift == u->pt->start_shift ? end : align_down(ia, BIT(at.shift + TABLE_BITS)) + BIT(at.shift + TABLE_BITS);
  do {
    if (desc_is_table(at.desc, at.shift) && !covers(ia, end, at.shift))
      return ia;
    if (desc_is_valid(at.desc) && drop(u, at.entry, ia, at.shift))
      return table_end;
    ia = align_down(ia, BIT(at.shift)) + BIT(at.shift);
    if (ia >= end || ia >= table_end)
      return ia;
    at.desc = port_pte_load(++at.entry);
  } while (true);
}

/* Both edges in one level-3 table and not inside a contiguous run: nothing to isolate. Leaves the hint at that table. */
static bool edges_are_clean(struct pt *pt, uint64_t ia, uint64_t end) {
  if (ia >> SHIFT_L2 != (end - 1) >> SHIFT_L2)
    return false;
  struct pt_at at = walk_hinted(pt, ia);
  if (at.shift != SHIFT_L3)
    return false;
  hint_set(pt, ia, at.entry);
  uint64_t last = port_pte_load(at.entry + ((end - 1 - ia) >> SHIFT_L3));
  return likely(!((at.desc | last) & DESC_CONTIG));
}

/* True if the table used last may stay when it is empty: it is the one that is kept, or becomes it. */
static bool keep_hinted(struct pt *pt) {
  if (!(pt->features & PT_FEAT_KEEP))
    return false;
  if (pt->kept_refs != pt->hint_refs) {
    if (pt->kept_refs && *pt->kept_refs == 0)
      return false;
    pt->kept_refs = pt->hint_refs;
    pt->kept_index = pt->hint_index;
  }
  return true;
}

/* One page out of a table that stays: no batch. False if it takes more than that. */
static ALWAYS_INLINE bool unmap_one(struct pt *pt, uint64_t ia, pt_leaf_fn *leaf, void *ctx) {
  if (ia >> SHIFT_L2 != pt->hint_index || ia & (PAGE_SIZE - 1) || (*pt->hint_refs == 1 && !keep_hinted(pt)))
    return false;
  uint64_t *entry = table_entry(pt->hint_table, ia, SHIFT_L3), desc = port_pte_load(entry);
  if (!desc_is_valid(desc) || desc & DESC_CONTIG)
    return !desc_is_valid(desc);
  desc = pt_clear(pt, entry, ia, SHIFT_L3);
  (*pt->hint_refs)--;
  pt->ops->tlb_flush(pt, ia, PAGE_SIZE, 3, false);
  if (leaf)
    leaf(ctx, ia, desc_out(desc), 3, desc);
  return true;
}

static NOINLINE err_t unmap_range(struct pt *pt, uint64_t ia, uint64_t size, pt_leaf_fn *leaf, void *ctx) {
  uint64_t end = ia + size;
  err_t err = pt_check_range(pt, ia, size);
  if (likely(err == ERR_OK) && !edges_are_clean(pt, ia, end))
    err = pt_isolate(pt, ia, end);
  if (unlikely(err != ERR_OK))
    return err;
  struct unmap u;
  unmap_begin(&u, pt, leaf, ctx);
  while (ia < end)
    ia = unmap_in_table(&u, ia, end);
  batch_finish(&u);
  return ERR_OK;
}

err_t pt_unmap(struct pt *pt, uint64_t ia, uint64_t size, pt_leaf_fn *leaf, void *ctx) {
  if (size == PAGE_SIZE && unmap_one(pt, ia, leaf, ctx))
    return ERR_OK;
  return unmap_range(pt, ia, size, leaf, ctx);
}

void pt_trim(struct pt *pt) {
  if (pt->kept_refs && *pt->kept_refs == 0) {
    err_t err = unmap_range(pt, pt->kept_index << SHIFT_L2, SZ_2M, NULL, NULL);
    CHECK(err == ERR_OK);
  }
}

/* ---- Leaves here and there ---- */

_Static_assert(BATCH == PT_UNMAP_LEAVES_MAX + BATCH_ROOM, "leaves whose tables stay go under one flush");

static ALWAYS_INLINE bool may_go(const struct pt_leaves *l, uint64_t ia, uint64_t desc) {
  pa_t out = desc_out(desc);
  if (likely(l->mask != 0) && likely((atomic_load_relaxed(&frame_of(pa_pfn(out))->word) & l->mask) == l->word))
    return true;
  return l->may(l->ctx, ia, out);
}

/* The last page of its table, or one of a contiguous run. What went before it is flushed with the table, if that goes. */
static NOINLINE void drop_rarely(struct unmap *u, struct pt_at at, uint64_t ia, uint64_t low, uint64_t high) {
  if (low <= high) {
    span_add(&u->span, low, SHIFT_L3);
    span_add(&u->span, high, SHIFT_L3);
  }
  if (at.desc & DESC_CONTIG)
    pt_uncontig(u->pt, at.entry, ia, SHIFT_L3);
  drop(u, at.entry, ia, SHIFT_L3);
}

/* `*at` is the page at `ia`, by way of the table used last, which this one's becomes. False if none is there. */
static ALWAYS_INLINE bool find_page(struct pt *pt, uint64_t ia, struct pt_at *at) {
  if (unlikely(ia >> SHIFT_L2 != pt->hint_index)) {
    *at = walk_to(pt, ia, SHIFT_L3);
    if (at->shift != SHIFT_L3)
      return false;
    hint_set(pt, ia, at->entry);
  }
  uint64_t *entry = table_entry(pt->hint_table, ia, SHIFT_L3);
  *at = (struct pt_at){entry, port_pte_load(entry), SHIFT_L3};
  return desc_is_valid(at->desc);
}

static ALWAYS_INLINE unsigned unmap_pages(struct unmap *u, unsigned count, const uint64_t *ias, const struct pt_leaves *l) {
  struct pt *pt = u->pt;
  uint64_t low = ~(uint64_t)0, high = 0;
  pfn_t *to = l->frames;
  for (const uint64_t *end = ias + count; ias < end; ias++) {
    uint64_t ia = *ias;
    struct pt_at at;
    if (!find_page(pt, ia, &at) || !may_go(l, ia, at.desc))
      continue;
    low = ia < low ? ia : low;
    high = ia > high ? ia : high;
    *to++ = pa_pfn(desc_out(at.desc));
    if (unlikely((at.desc & DESC_CONTIG) || *pt->hint_refs <= 1)) {
      drop_rarely(u, at, ia, low, high);
      continue;
    }
    pt_clear(pt, at.entry, ia, SHIFT_L3);
    (*pt->hint_refs)--;
  }
  if (low <= high) {
    span_add(&u->span, low, SHIFT_L3);
    span_add(&u->span, high, SHIFT_L3);
  }
  return (unsigned)(to - l->frames);
}

/* Up to one below which smaller leaves stand; `*done`: how many were dealt with. */
static unsigned unmap_blocks(struct unmap *u, unsigned shift, unsigned *done, const uint64_t *ias, const struct pt_leaves *l) {
  unsigned gone = 0, i;
  for (i = 0; i < *done; i++) {
    struct pt_at at = walk_to(u->pt, ias[i], shift);
    if (at.shift == shift && desc_is_table(at.desc, shift))
      break;
    if (at.shift != shift || !desc_is_valid(at.desc) || !may_go(l, ias[i], at.desc))
      continue;
    if (unlikely(at.desc & DESC_CONTIG))
      pt_uncontig(u->pt, at.entry, ias[i], shift);
    drop(u, at.entry, ias[i], shift);
    l->frames[gone++] = pa_pfn(desc_out(at.desc));
  }
  *done = i;
  return gone;
}

unsigned pt_unmap_leaves(struct pt *pt, unsigned level, unsigned *count, const uint64_t *ias, const struct pt_leaves *leaves) {
  struct unmap u;
  unmap_begin(&u, pt, NULL, NULL);
  unsigned gone = level == 3 ? unmap_pages(&u, *count, ias, leaves) : unmap_blocks(&u, level_shift(level), count, ias, leaves);
  batch_finish(&u);
  return gone;
}

/* ---- Taking everything down ---- */

struct takedown {
  struct pt *pt;
  pt_leaf_fn *leaf;
  void *ctx;
  unsigned budget; /* tables that may still be freed */
};

static void leave_leaf(struct takedown *t, uint64_t ia, uint64_t desc, unsigned shift) {
  if (t->leaf)
    t->leaf(t->ctx, ia, desc_out(desc), shift_level(shift), desc);
}

/* A level-3 table goes in one piece: its leaves need not be cleared. */
static void empty_pages(struct takedown *t, const uint64_t *entries, uint64_t ia) {
  uint32_t left = *entry_refs(entries);
  for (unsigned i = 0; left > 0; i++) {
    uint64_t desc = port_pte_load(&entries[i]);
    if (!desc_is_valid(desc))
      continue;
    left--;
    leave_leaf(t, ia + ((uint64_t)i << SHIFT_L3), desc, SHIFT_L3);
  }
}

static bool empty_entries(struct takedown *t, uint64_t *entries, unsigned count, uint64_t ia, unsigned shift);

/* Empty and free the table that `entry` at `shift` points to. False if the budget ran out first. */
static bool free_branch(struct takedown *t, uint64_t *entry, uint64_t desc, uint64_t ia, unsigned shift) {
  if (t->budget == 0)
    return false;
  if (shift == SHIFT_L2)
    empty_pages(t, desc_table(desc), ia);
  else if (!empty_entries(t, desc_table(desc), TABLE_ENTRIES, ia, shift - TABLE_BITS) || t->budget == 0)
    return false;
  pt_clear(t->pt, entry, ia, shift);
  (*entry_refs(entry))--;
  pt_table_free(t->pt, pa_pfn(desc_out(desc)));
  t->budget--;
  return true;
}

/* Entries above level 3 (or of a root) are cleared one by one, so that the next call goes on from there. */
static bool empty_entries(struct takedown *t, uint64_t *entries, unsigned count, uint64_t ia, unsigned shift) {
  for (unsigned i = 0; i < count; i++) {
    uint64_t desc = port_pte_load(&entries[i]), at = ia + ((uint64_t)i << shift);
    if (!desc_is_valid(desc))
      continue;
    if (desc_is_table(desc, shift)) {
      if (!free_branch(t, &entries[i], desc, at, shift))
        return false;
      continue;
    }
    pt_clear(t->pt, &entries[i], at, shift);
    (*entry_refs(&entries[i]))--;
    leave_leaf(t, at, desc, shift);
  }
  return true;
}

err_t pt_destroy(struct pt *pt, unsigned max_tables, pt_leaf_fn *leaf, void *ctx) {
  struct takedown t = {pt, leaf, ctx, max_tables};
  unsigned root_entries = (unsigned)BIT(pt->ia_bits - pt->start_shift);
  return empty_entries(&t, pt->root, root_entries, 0, pt->start_shift) ? ERR_OK : ERR_AGAIN;
}
