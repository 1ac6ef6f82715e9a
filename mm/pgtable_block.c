/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks and runs: splitting a block into a table, collapsing a table into a block, dissolving a contiguous run, moving a leaf's output.
 *
 * Each of these changes how a translation is made, not what it is, while other CPUs may be using it. The new form is built off-line; the
 * swap itself is break-before-make by pt_replace(). What hardware noted in the old form (AF, dirty state) up to the moment of the
 * break is carried over: the builder runs again if the entry changed under it.
 *
 * Refused: collapsing leaves that are not alike, contiguous and aligned.
 */
#include "core/check.h"
#include "mm/pgtable_priv.h"

/* The descriptor of part `i` of the block `desc` at `shift`. */
static uint64_t part_of(uint64_t desc, unsigned shift, unsigned i) {
  unsigned part_shift = shift - TABLE_BITS;
  uint64_t type = part_shift == SHIFT_L3 ? DESC_TYPE_PAGE : DESC_TYPE_BLOCK;
  return (desc & ~(uint64_t)DESC_TYPE_MASK) + ((uint64_t)i << part_shift) + type;
}

/* Hardware set AF or dirtied the block while its parts were built from an older copy: the parts learn it, even if they are live by now. */
static void absorb(struct pt *pt, uint64_t *parts, uint64_t block, uint64_t start, unsigned shift) {
  for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
    uint64_t old, desc;
    do {
      old = port_pte_load(&parts[i]);
      desc = old | (block & DESC_AF);
      if (desc_is_writable(pt, block))
        desc = desc_set_writable(pt, desc, true);
    } while (!pt_update(pt, &parts[i], old, desc, start + ((uint64_t)i << shift), shift));
  }
}

/* Nobody sees the table yet; who listens is told of each entry. */
static void fill_parts(struct pt *pt, uint64_t *parts, uint64_t block, uint64_t start, unsigned shift) {
  unsigned part_shift = shift - TABLE_BITS;
  if (unlikely(port_event_on(MM_EVENT_PTE_WRITE))) {
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
      pt_fill(pt, &parts[i], part_of(block, shift, i), start + ((uint64_t)i << part_shift), part_shift);
    return;
  }
  uint64_t desc = part_of(block, shift, 0);
  for (uint64_t *end = parts + TABLE_ENTRIES; parts < end; parts++, desc += BIT(part_shift))
    port_pte_store(parts, desc);
  pt->seq += TABLE_ENTRIES;
}

void pt_split_block(struct pt *pt, uint64_t *entry, uint64_t ia, unsigned shift, struct pt_pool *pool) {
  unsigned part_shift = shift - TABLE_BITS;
  uint64_t start = align_down(ia, BIT(shift)), block = port_pte_load(entry), last;
  pfn_t table = pool_take(pt, pool, ia, part_shift);
  uint64_t *parts = port_frame_ptr(table);
  fill_parts(pt, parts, block, start, shift);
  frame_of(table)->refs = TABLE_ENTRIES;
  last = pt_replace(pt, entry, table_desc(table), ia, shift);
  if (unlikely(last != block))
    absorb(pt, parts, last, start, part_shift);
  if (pt->features & PT_FEAT_BBM2) /* the block was not broken: TLBs may still hold it */
    pt->ops->tlb_flush(pt, start, BIT(shift), shift_level(shift), true);
  else
    pt->ops->publish(pt);
}

/* Break all 16, flush once, write them back without the hint (Arm ARM D8.7.1: entries of a run are all alike). */
void pt_uncontig(struct pt *pt, uint64_t *entry, uint64_t ia, unsigned shift) {
  uint64_t run = CONTIG_ENTRIES * BIT(shift), start = align_down(ia, run), old[CONTIG_ENTRIES];
  uint64_t *first = entry - (ia >> shift & (CONTIG_ENTRIES - 1));
  for (unsigned i = 0; i < CONTIG_ENTRIES; i++)
    old[i] = desc_is_valid(port_pte_load(&first[i])) ? pt_clear(pt, &first[i], start + ((uint64_t)i << shift), shift) : 0;
  pt->ops->tlb_flush(pt, start, run, shift_level(shift), false);
  for (unsigned i = 0; i < CONTIG_ENTRIES; i++)
    if (desc_is_valid(old[i]))
      pt_fill(pt, &first[i], old[i] & ~DESC_CONTIG, start + ((uint64_t)i << shift), shift);
  pt->ops->publish(pt);
}

err_t pt_split(struct pt *pt, uint64_t ia) {
  struct pt_pool pool = {.count = 0};
  if (ia >> pt->ia_bits)
    return ERR_RANGE;
  struct pt_at at = walk_to(pt, ia, SHIFT_L3);
  if (!desc_is_valid(at.desc) || at.shift == SHIFT_L3)
    return ERR_NOENT;
  err_t err = pool_fill(pt, &pool, 1);
  if (err != ERR_OK)
    return err;
  if (at.desc & DESC_CONTIG)
    pt_uncontig(pt, at.entry, ia, at.shift);
  pt_split_block(pt, at.entry, ia, at.shift, &pool);
  return ERR_OK;
}

/* ---- Collapsing ---- */

/* What may differ between leaves that become one: AF, and dirty state under logging. The run hint goes. */
static uint64_t alike_mask(uint64_t desc) {
  return ~(DESC_AF | DESC_CONTIG | (desc & DESC_LOGGED ? DESC_PERM_W : 0));
}

/* The block that the 512 leaves of `table` amount to; 0 if they do not. Accessed or dirty in one is so in the whole. */
static uint64_t block_of(const struct pt *pt, const uint64_t *table, unsigned part_shift) {
  uint64_t first = port_pte_load(&table[0]), mask = alike_mask(first), merged = first;
  if (!desc_is_valid(first) || desc_is_table(first, part_shift) || !is_aligned(desc_out(first).v, BIT(part_shift + TABLE_BITS)))
    return 0;
  for (unsigned i = 1; i < TABLE_ENTRIES; i++) {
    uint64_t desc = port_pte_load(&table[i]);
    if ((desc & mask) != (first & mask) + ((uint64_t)i << part_shift))
      return 0;
    merged |= desc & DESC_AF;
    if (desc_is_writable(pt, desc))
      merged = desc_set_writable(pt, merged, true);
  }
  return (merged & ~DESC_CONTIG & ~(uint64_t)DESC_TYPE_MASK) | DESC_TYPE_BLOCK;
}

err_t pt_collapse(struct pt *pt, uint64_t ia, unsigned level) {
  if (level < 1 || level > 2 || level < pt->start_level)
    return ERR_INVAL;
  if (ia >> pt->ia_bits)
    return ERR_RANGE;
  unsigned shift = level_shift(level);
  struct pt_at at = walk_to(pt, ia, shift);
  if (at.shift != shift || !desc_is_table(at.desc, shift))
    return ERR_NOENT;
  pfn_t table = pa_pfn(desc_out(at.desc));
  uint64_t *parts = port_frame_ptr(table), start = align_down(ia, BIT(shift));
  if (frame_of(table)->refs != TABLE_ENTRIES || block_of(pt, parts, shift - TABLE_BITS) == 0)
    return ERR_BUSY;
  pt_clear(pt, at.entry, ia, shift);
  pt->ops->tlb_flush(pt, start, BIT(shift), level + 1, true);
  /* Only now hardware is done with the leaves: read them again. */
  pt_fill(pt, at.entry, block_of(pt, parts, shift - TABLE_BITS), ia, shift);
  pt->ops->publish(pt);
  pt_table_free(pt, table);
  return ERR_OK;
}

unsigned pt_count_pages(const struct pt *pt, uint64_t ia) {
  if (ia >> pt->ia_bits)
    return 0;
  struct pt_at at = walk_to(pt, ia, SHIFT_L3);
  return at.shift == SHIFT_L3 ? *entry_refs(at.entry) : 0;
}

/* ---- Edges ---- */

/* Splits it takes until no leaf reaches over `edge`. */
static unsigned splits_at(const struct pt *pt, uint64_t edge) {
  if (edge >> pt->ia_bits)
    return 0;
  struct pt_at at = walk_to(pt, edge, SHIFT_L3);
  unsigned splits = 0;
  for (unsigned shift = at.shift; desc_is_valid(at.desc) && !is_aligned(edge, BIT(shift)); shift -= TABLE_BITS)
    splits++;
  return splits;
}

static void isolate_edge(struct pt *pt, uint64_t edge, struct pt_pool *pool) {
  while (!(edge >> pt->ia_bits)) {
    struct pt_at at = walk_to(pt, edge, SHIFT_L3);
    if (!desc_is_valid(at.desc))
      return;
    if ((at.desc & DESC_CONTIG) && !is_aligned(edge, CONTIG_ENTRIES * BIT(at.shift)))
      pt_uncontig(pt, at.entry, edge, at.shift);
    if (is_aligned(edge, BIT(at.shift)))
      return;
    pt_split_block(pt, at.entry, edge, at.shift, pool);
  }
}

err_t pt_isolate(struct pt *pt, uint64_t ia, uint64_t end) {
  struct pt_pool pool = {.count = 0};
  /* Upper bound: a block that both edges cut is split once. What remains goes back. */
  err_t err = pool_fill(pt, &pool, splits_at(pt, ia) + splits_at(pt, end));
  if (err != ERR_OK)
    return err;
  isolate_edge(pt, ia, &pool);
  isolate_edge(pt, end, &pool);
  pool_drain(pt, &pool);
  return ERR_OK;
}

/* ---- One leaf, another output ---- */

/* The leaf of `level` at `ia`, of no contiguous run any more. ERR_INVAL, ERR_RANGE, ERR_NOENT as pt_replace_leaf(). */
static err_t find_leaf(struct pt *pt, uint64_t ia, unsigned level, struct pt_at *at) {
  if (level < 1 || level > 3 || level < pt->start_level || !is_aligned(ia, BIT(level_shift(level))))
    return ERR_INVAL;
  if (ia >> pt->ia_bits)
    return ERR_RANGE;
  *at = level == 3 ? walk_hinted(pt, ia) : walk_to(pt, ia, level_shift(level));
  if (at->shift != level_shift(level) || !desc_is_valid(at->desc) || desc_is_table(at->desc, at->shift))
    return ERR_NOENT;
  if (at->desc & DESC_CONTIG)
    pt_uncontig(pt, at->entry, ia, at->shift);
  return ERR_OK;
}

err_t pt_break_leaf(struct pt *pt, uint64_t ia, pa_t out, unsigned level, struct pt_broken *broken) {
  struct pt_at at;
  err_t err = find_leaf(pt, ia, level, &at);
  if (err != ERR_OK)
    return err;
  if (desc_out(at.desc).v != out.v)
    return ERR_NOENT;
  if (at.shift == SHIFT_L3 && ia >> SHIFT_L2 != pt->hint_index)
    hint_set(pt, ia, at.entry); /* its neighbours often follow */
  *broken = (struct pt_broken){.entry = at.entry, .desc = pt_clear(pt, at.entry, ia, at.shift), .ia = ia, .shift = at.shift};
  pt->ops->tlb_flush(pt, ia, BIT(at.shift), level, false);
  return ERR_OK;
}

void pt_make_leaf(struct pt *pt, const struct pt_broken *broken, pa_t out) {
  CHECK(is_aligned(out.v, BIT(broken->shift)) && !(out.v >> 48));
  pt_fill(pt, broken->entry, (broken->desc & ~DESC_ADDR) | out.v, broken->ia, broken->shift);
  pt->ops->publish(pt);
}

err_t pt_replace_leaf(struct pt *pt, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot) {
  struct pt_at at;
  if (level < 1 || level > 3 || !is_aligned(out.v, BIT(level_shift(level))))
    return ERR_INVAL;
  if (out.v >> 48)
    return ERR_RANGE;
  err_t err = find_leaf(pt, ia, level, &at);
  if (err != ERR_OK)
    return err;
  unsigned shift = at.shift;
  uint64_t desc = pt->ops->leaf(pt, out, level, prot), old = pt_replace(pt, at.entry, desc, ia, shift);
  if (((old ^ desc) & ~DESC_SOFT) == 0) /* permissions only: nothing was broken, TLBs may still hold the old entry */
    pt->ops->tlb_flush(pt, ia, BIT(shift), level, false);
  else
    pt->ops->publish(pt);
  return ERR_OK;
}
