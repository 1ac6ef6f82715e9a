/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables: set-up and everything that only reads them.
 *
 * A look-up may run beside other look-ups, never beside a change: the caller holds the table's lock one way or the other. Hardware
 * may set AF and dirty state meanwhile, so each descriptor is loaded once, whole. The walk stops at the first descriptor that is
 * not a table; an invalid one is reported, not an error of ours.
 *
 * Refused: geometries that the Arm ARM does not have (D8.2), and addresses beyond ia_bits.
 */
#include "mm/pgtable_priv.h"

#define IA_BITS_MIN 25u /* TxSZ at most 39 */
#define IA_BITS_MAX 48u
#define ROOT_ORDER_MAX 4u

/*
 * The start level resolves at least one bit, at most those of the concatenated tables; with concatenation there is no slack (Arm ARM
 * D8.2.7).
 */
static bool geometry_is_valid(unsigned start_level, unsigned root_order, unsigned ia_bits, unsigned features) {
  if (start_level > 2 || root_order > ROOT_ORDER_MAX || ia_bits < IA_BITS_MIN || ia_bits > IA_BITS_MAX)
    return false;
  unsigned shift = level_shift(start_level), full = shift + TABLE_BITS + root_order;
  if (root_order == 0)
    return ia_bits > shift && ia_bits <= full;
  return !(features & PT_FEAT_S1) && ia_bits == full;
}

err_t pt_init(struct pt *pt, const struct pt_ops *ops, pfn_t root_pfn, unsigned start_level, unsigned root_order, unsigned ia_bits,
              unsigned features, uint16_t id) {
  if (!geometry_is_valid(start_level, root_order, ia_bits, features) || !is_aligned(root_pfn.v, BIT(root_order)))
    return ERR_INVAL;
  *pt = (struct pt){
      .ops = ops,
      .root = port_frame_ptr(root_pfn),
      .root_pfn = root_pfn,
      .start_level = (uint8_t)start_level,
      .start_shift = (uint8_t)level_shift(start_level),
      .root_order = (uint8_t)root_order,
      .ia_bits = (uint8_t)ia_bits,
      .features = (uint8_t)features,
      .id = id,
      .table_frames = BIT(root_order),
  };
  hint_drop(pt);
  pt->page_bits = pt->last_page_bits = ops->leaf(pt, pa(0), 3, pt->page_prot);
  pt->last_page_prot = pt->page_prot;
  for (unsigned i = 0; i < BIT(root_order); i++)
    frame_of(pfn_add(root_pfn, i))->refs = 0;
  return ERR_OK;
}

err_t pt_check_range(const struct pt *pt, uint64_t ia, uint64_t size) {
  if (size == 0 || !is_aligned(ia | size, PAGE_SIZE))
    return ERR_INVAL;
  return ia < BIT(pt->ia_bits) && size <= BIT(pt->ia_bits) - ia ? ERR_OK : ERR_RANGE;
}

/* A look-up that does not find its page by the hint. */
static NOINLINE err_t lookup_walk(const struct pt *pt, uint64_t ia, struct pt_leaf *out) {
  if (unlikely(ia >> pt->ia_bits))
    return ERR_RANGE;
  struct pt_at at = walk_to(pt, ia, SHIFT_L3);
  uint64_t inside = BIT(at.shift) - 1;
  out->ia = ia & ~inside;
  out->desc = at.desc;
  out->level = shift_level(at.shift);
  if (unlikely(!desc_is_valid(at.desc)))
    return ERR_NOENT;
  out->out = pa(desc_out(at.desc).v | (ia & inside));
  out->prot = pt->ops->prot(pt, at.desc);
  return ERR_OK;
}

/* Of a page whose prot is not the one used last. */
static NOINLINE err_t lookup_prot(const struct pt *pt, struct pt_leaf *out) {
  bool known = (out->desc & ~DESC_ADDR) == pt->last_page_bits;
  out->prot = known ? pt->last_page_prot : pt->ops->prot(pt, out->desc);
  return ERR_OK;
}

err_t pt_lookup(const struct pt *pt, uint64_t ia, struct pt_leaf *out) {
  if (unlikely(ia >> SHIFT_L2 != pt->hint_index))
    return lookup_walk(pt, ia, out);
  uint64_t desc = port_pte_load(table_entry(pt->hint_table, ia, SHIFT_L3)), inside = ia & (PAGE_SIZE - 1);
  out->ia = ia - inside;
  out->desc = desc;
  out->level = 3;
  if (unlikely(!desc_is_valid(desc)))
    return ERR_NOENT;
  out->out = pa(desc_out(desc).v | inside);
  if (unlikely((desc & ~DESC_ADDR) != pt->page_bits))
    return lookup_prot(pt, out);
  out->prot = pt->page_prot;
  return ERR_OK;
}

unsigned pt_walk_steps(const struct pt *pt, uint64_t ia, struct pt_step steps[4]) {
  unsigned count = 0;
  if (ia >> pt->ia_bits)
    return 0;
  for (unsigned stop = pt->start_shift; stop >= SHIFT_L3; stop -= TABLE_BITS) {
    struct pt_at at = walk_to(pt, ia, stop);
    if (at.shift != stop)
      break;
    pa_t entry = pa(pfn_pa(port_ptr_frame(at.entry)).v | ((uintptr_t)at.entry & (PAGE_SIZE - 1)));
    steps[count++] = (struct pt_step){shift_level(stop), entry, at.desc};
  }
  return count;
}

/* Where the entry after this one is, as far as the current table reaches; the root is one array however many tables it has. */
static bool at_table_end(const struct pt *pt, const struct pt_scan *scan) {
  return scan->at.shift != pt->start_shift && (scan->ia >> scan->at.shift & (TABLE_ENTRIES - 1)) == 0;
}

bool pt_scan_next(const struct pt *pt, struct pt_scan *scan) {
  while (scan->ia < scan->end) {
    if (!scan->at.entry || at_table_end(pt, scan) || desc_is_table(scan->at.desc = port_pte_load(scan->at.entry), scan->at.shift))
      scan->at = walk_to(pt, scan->ia, SHIFT_L3);
    if (desc_is_valid(scan->at.desc))
      return true;
    pt_scan_step(scan);
  }
  return false;
}
