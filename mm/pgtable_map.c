/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mapping: one leaf for the fault path, or a range with the largest leaves that fit.
 *
 * Reserve, then commit. The survey finds out that the range is unmapped and how many tables it lacks; these are allocated; only then is the
 * first descriptor written, and from there nothing can fail. Only invalid entries are filled, so no TLB needs to hear of it: one
 * publish at the end makes the stores visible to walks.
 *
 * Refused: anything misaligned, out of range, or mapped already (in part, too).
 */
#include "core/check.h"
#include "mm/pgtable_priv.h"

#define OUT_BITS 48u

/* ---- One leaf ---- */

/*
 * The tables between `at` and the leaf are missing. They are filled from the bottom, unlinked; the last store hangs the finished branch
 * into the live tree.
 */
static NOINLINE err_t map_branch(struct pt *pt, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot, struct pt_at at) {
  unsigned shift = level_shift(level);
  struct pt_pool pool = {.count = 0};
  err_t err = pool_fill(pt, &pool, (at.shift - shift) / TABLE_BITS);
  if (err != ERR_OK)
    return err;
  uint64_t desc = pt->ops->leaf(pt, out, level, prot);
  for (; shift < at.shift; shift += TABLE_BITS) {
    pfn_t table = pool_take(pt, &pool, ia, shift);
    uint64_t *entry = table_entry(port_frame_ptr(table), ia, shift);
    if (shift == SHIFT_L3)
      hint_set(pt, ia, entry);
    pt_fill(pt, entry, desc, ia, shift);
    frame_of(table)->refs = 1;
    desc = table_desc(table);
  }
  pt_fill(pt, at.entry, desc, ia, shift);
  (*entry_refs(at.entry))++;
  pt->ops->publish(pt);
  return ERR_OK;
}

/* By the full walk. */
static NOINLINE err_t map_walk(struct pt *pt, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot) {
  if (level < 1 || level > 3 || level < pt->start_level || !is_aligned(ia | out.v, BIT(level_shift(level))))
    return ERR_INVAL;
  if (ia >> pt->ia_bits | out.v >> OUT_BITS)
    return ERR_RANGE;
  unsigned shift = level_shift(level);
  struct pt_at at = walk_to(pt, ia, shift);
  if (unlikely(desc_is_valid(at.desc)))
    return ERR_EXIST;
  if (unlikely(at.shift != shift))
    return map_branch(pt, ia, out, level, prot, at);
  if (level == 3) {
    hint_set(pt, ia, at.entry);
    pt_page_bits(pt, prot);
  }
  pt_fill(pt, at.entry, pt->ops->leaf(pt, out, level, prot), ia, shift);
  (*entry_refs(at.entry))++;
  pt->ops->publish(pt);
  return ERR_OK;
}

/*
 * A page of the prot and in the table used last, which proves that `ia` is in range; else, or if somebody wants to hear of it, by the walk.
 */
static ALWAYS_INLINE bool is_like_last(const struct pt *pt, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot) {
  bool is_aligned_page = ((out.v & ~DESC_ADDR) | (ia & (PAGE_SIZE - 1))) == 0;
  return level == 3 && prot == pt->page_prot && ia >> SHIFT_L2 == pt->hint_index && is_aligned_page && !port_event_on(MM_EVENT_PTE_WRITE);
}

err_t pt_map_leaf(struct pt *pt, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot) {
  if (unlikely(!is_like_last(pt, ia, out, level, prot)))
    return map_walk(pt, ia, out, level, prot);
  uint64_t *entry = table_entry(pt->hint_table, ia, SHIFT_L3);
  if (unlikely(desc_is_valid(port_pte_load(entry))))
    return ERR_EXIST;
  port_pte_store(entry, pt->page_bits | out.v);
  pt->seq++;
  (*pt->hint_refs)++;
  pt->ops->publish(pt);
  return ERR_OK;
}

/* ---- A range ---- */

struct extent {
  uint64_t ia, end;
  uint64_t offset; /* output minus input address */
  pt_prot_t prot;
  unsigned max_shift;
};

/* The largest leaf that may start at `ia`. */
static unsigned leaf_shift(const struct extent *x, uint64_t ia) {
  unsigned shift = x->max_shift;
  while (shift > SHIFT_L3 && (!is_aligned(ia | (ia + x->offset), BIT(shift)) || x->end - ia < BIT(shift)))
    shift -= TABLE_BITS;
  return shift;
}

/* Tables of one range that are missing, each counted once: levels 1..3, known by the end of what the last one covers. */
struct missing {
  uint64_t counted_to[4];
  unsigned tables;
};

static void count_missing(struct missing *m, uint64_t ia, unsigned from, unsigned to) {
  for (unsigned shift = from; shift > to; shift -= TABLE_BITS) {
    uint64_t *counted_to = &m->counted_to[shift_level(shift)];
    if (ia < *counted_to)
      continue;
    *counted_to = align_down(ia, BIT(shift)) + BIT(shift);
    m->tables++;
  }
}

/* Nothing mapped, and how many tables to bring. */
static err_t survey(const struct pt *pt, const struct extent *x, unsigned *tables) {
  struct missing m = {.tables = 0};
  struct pt_at at = {.shift = 0};
  uint64_t absent_to = x->ia;
  unsigned shift;
  for (uint64_t ia = x->ia; ia < x->end; ia += BIT(shift)) {
    shift = leaf_shift(x, ia);
    if (ia >= absent_to) {
      at = walk_to(pt, ia, shift);
      if (desc_is_valid(at.desc))
        return ERR_EXIST;
      absent_to = align_down(ia, BIT(at.shift)) + BIT(at.shift);
    }
    count_missing(&m, ia, at.shift, shift);
  }
  *tables = m.tables;
  return ERR_OK;
}

/* The entry for `ia` at `shift`, hanging in tables from the pool where there are none. */
static uint64_t *reach(struct pt *pt, uint64_t ia, unsigned shift, struct pt_pool *pool) {
  struct pt_at at = walk_to(pt, ia, shift);
  while (at.shift != shift) {
    pfn_t table = pool_take(pt, pool, ia, at.shift - TABLE_BITS);
    pt_fill(pt, at.entry, table_desc(table), ia, at.shift);
    (*entry_refs(at.entry))++;
    at.shift -= TABLE_BITS;
    at.entry = table_entry(port_frame_ptr(table), ia, at.shift);
  }
  return at.entry;
}

/* The hint only where the whole run of 16 lies in the range and both addresses are aligned to it. */
static pt_prot_t prot_at(const struct extent *x, uint64_t ia, unsigned shift) {
  uint64_t run = CONTIG_ENTRIES * BIT(shift), start = align_down(ia, run);
  if (!(x->prot & PT_CONTIG))
    return x->prot;
  bool whole = start >= x->ia && x->end - start >= run && is_aligned(x->offset, run);
  return whole ? x->prot : x->prot & ~PT_CONTIG;
}

/* Fill leaves of one size up to the end of their table; where to go on. */
static uint64_t fill_table(struct pt *pt, const struct extent *x, uint64_t ia, struct pt_pool *pool) {
  unsigned shift = leaf_shift(x, ia);
  uint64_t *entry = reach(pt, ia, shift, pool);
  uint32_t *refs = entry_refs(entry);
  do {
    uint64_t desc = pt->ops->leaf(pt, pa(ia + x->offset), shift_level(shift), prot_at(x, ia, shift));
    pt_fill(pt, entry++, desc, ia, shift);
    (*refs)++;
    ia += BIT(shift);
  } while ((uintptr_t)entry & (PAGE_SIZE - 1) && ia < x->end && leaf_shift(x, ia) == shift);
  return ia;
}

err_t pt_map(struct pt *pt, uint64_t ia, pa_t out, uint64_t size, pt_prot_t prot, uint64_t max_leaf) {
  struct pt_pool pool = {.count = 0};
  unsigned tables, max_shift = max_leaf == SZ_1G ? SHIFT_L1 : max_leaf == SZ_2M ? SHIFT_L2 : SHIFT_L3;
  err_t err = pt_check_range(pt, ia, size);
  if (err != ERR_OK)
    return err;
  if (!is_aligned(out.v, PAGE_SIZE) || (max_leaf != BIT(max_shift)))
    return ERR_INVAL;
  if (out.v >> OUT_BITS || size > BIT(OUT_BITS) - out.v)
    return ERR_RANGE;
  struct extent x = {ia, ia + size, out.v - ia, prot, max_shift < pt->start_shift ? max_shift : pt->start_shift};
  err = survey(pt, &x, &tables);
  if (err == ERR_OK)
    err = pool_fill(pt, &pool, tables);
  if (err != ERR_OK)
    return err;
  while (ia < x.end)
    ia = fill_table(pt, &x, ia, &pool);
  CHECK(pool.count == 0);
  pt->ops->publish(pt);
  return ERR_OK;
}
