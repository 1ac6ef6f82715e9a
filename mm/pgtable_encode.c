/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The three encoders: what a leaf of stage 2, of EL1's stage 1 and of EL2's stage 1 looks like in memory (Arm ARM D8.3, D8.4, D8.5).
 *
 * Each pair inverts itself for every prot that its regime can express. What it cannot: stage 1 is always readable at its own exception
 * level and write implies read; EL2 (E2H = 0) has one privilege level; stage 2 has no global entries. Device memory is never executable,
 * whatever was asked: a speculative fetch from a device must not happen. Bits that a regime has as RES0 are never set.
 */
#include "mm/pgtable_priv.h"

/* Stage 2 MemAttr[3:0] without and with HCR_EL2.FWB (Arm ARM D8.5.5, D8.5.6). */
#define S2_DEVICE 0x0u
#define S2_NC 0x5u /* the same in both */
#define S2_WB 0xfu
#define S2_FWB_WB 0x6u

/* AttrIndx into PT_MAIR_VALUE. */
#define S1_DEVICE 0u
#define S1_WB 1u
#define S1_NC 2u

#define SW_SHIFT 12 /* of PT_SW0 */
#define SW_MASK (PT_SW0 | PT_SW1 | PT_SW2)
_Static_assert((uint64_t)PT_SW0 << (DESC_SW_SHIFT - SW_SHIFT) == PT_DESC_SW0, "as pgtable.h promises");

/*
 * Type, address, AF, software bits; a block has bit 1 clear. Shareability is for Normal memory: Device is outer shareable whatever it says.
 */
static ALWAYS_INLINE uint64_t common_bits(const struct pt *pt, pa_t out, unsigned level, pt_prot_t prot) {
  uint64_t desc = out.v | (level == 3 ? DESC_TYPE_PAGE : DESC_TYPE_BLOCK) | (uint64_t)(prot & SW_MASK) << (DESC_SW_SHIFT - SW_SHIFT);
  if (likely(!(prot & PT_OLD)))
    desc |= DESC_AF;
  if (likely(!(prot & PT_DEVICE)))
    desc |= DESC_SH_INNER;
  if (unlikely(prot & PT_CONTIG) && (pt->features & PT_FEAT_CONTIG))
    desc |= DESC_CONTIG;
  return desc;
}

/* Writable memory under dirty logging: bit 7 is left to say "clean", DBM lets hardware change it. */
static ALWAYS_INLINE bool is_logged(pt_prot_t prot) {
  return (prot & (PT_DIRTY_LOG | PT_W)) == (PT_DIRTY_LOG | PT_W);
}

static uint64_t log_bits(const struct pt *pt) {
  return DESC_LOGGED | (pt->features & PT_FEAT_DBM ? DESC_DBM : 0);
}

static ALWAYS_INLINE pt_prot_t common_prot(uint64_t desc) {
  pt_prot_t prot = (pt_prot_t)(desc >> (DESC_SW_SHIFT - SW_SHIFT)) & SW_MASK;
  if (unlikely(!(desc & DESC_AF)))
    prot |= PT_OLD;
  if (unlikely(desc & (DESC_CONTIG | DESC_LOGGED))) {
    prot |= desc & DESC_CONTIG ? PT_CONTIG : 0;
    prot |= desc & DESC_LOGGED ? PT_DIRTY_LOG | PT_W : 0;
  }
  return prot;
}

/* ---- Stage 2 ---- */

uint64_t pt_leaf_s2(const struct pt *pt, pa_t out, unsigned level, pt_prot_t prot) {
  uint64_t desc = common_bits(pt, out, level, prot);
  uint64_t memattr = pt->features & PT_FEAT_FWB ? S2_FWB_WB : S2_WB;
  if (unlikely(prot & (PT_DEVICE | PT_NC)))
    memattr = prot & PT_DEVICE ? S2_DEVICE : S2_NC;
  desc |= memattr << DESC_ATTR_SHIFT | (uint64_t)(prot & (PT_R | PT_W)) << DESC_PERM_SHIFT;
  if ((prot & (PT_X | PT_DEVICE)) != PT_X)
    desc |= DESC_XN; /* XN[1:0] = 0b10: at neither EL1 nor EL0 */
  if (unlikely(is_logged(prot)))
    desc = (desc & ~DESC_PERM_W) | log_bits(pt);
  return desc;
}

pt_prot_t pt_prot_s2(const struct pt *pt, uint64_t desc) {
  pt_prot_t prot = common_prot(desc) | ((pt_prot_t)(desc >> DESC_PERM_SHIFT) & (PT_R | PT_W));
  unsigned memattr = (unsigned)(desc >> DESC_ATTR_SHIFT) & 0xf;
  if (!(desc & DESC_XN))
    prot |= PT_X;
  if (unlikely(memattr != (pt->features & PT_FEAT_FWB ? S2_FWB_WB : S2_WB)))
    prot |= memattr == S2_DEVICE ? PT_DEVICE : PT_NC;
  return prot;
}

/* ---- Stage 1 ---- */

static ALWAYS_INLINE uint64_t s1_attr(pt_prot_t prot) {
  if (likely(!(prot & (PT_DEVICE | PT_NC))))
    return S1_WB << DESC_ATTR_SHIFT;
  return (prot & PT_DEVICE ? S1_DEVICE : S1_NC) << DESC_ATTR_SHIFT;
}

static ALWAYS_INLINE pt_prot_t s1_attr_prot(uint64_t desc) {
  unsigned index = (unsigned)(desc >> DESC_ATTR_SHIFT) & 7;
  if (likely(index == S1_WB))
    return 0;
  return index == S1_DEVICE ? PT_DEVICE : PT_NC;
}

/* AP[2] = 1 is read-only. */
static ALWAYS_INLINE uint64_t s1_write_bits(const struct pt *pt, pt_prot_t prot) {
  uint64_t desc = prot & PT_W ? 0 : DESC_PERM_W;
  return unlikely(is_logged(prot)) ? DESC_PERM_W | log_bits(pt) : desc;
}

static ALWAYS_INLINE pt_prot_t s1_rw_prot(uint64_t desc) {
  return desc & DESC_PERM_W ? PT_R : PT_R | PT_W;
}

#define AP_EL0 BIT(6) /* AP[1]: EL0 may; RES1 in a regime with one privilege level */

uint64_t pt_leaf_el1(const struct pt *pt, pa_t out, unsigned level, pt_prot_t prot) {
  uint64_t desc = common_bits(pt, out, level, prot) | s1_attr(prot) | s1_write_bits(pt, prot);
  if (prot & PT_USER && prot & (PT_R | PT_W))
    desc |= AP_EL0;
  if (!(prot & PT_GLOBAL))
    desc |= DESC_NG;
  if ((prot & (PT_X | PT_DEVICE)) != PT_X)
    desc |= DESC_PXN;
  if ((prot & (PT_UX | PT_DEVICE)) != PT_UX)
    desc |= DESC_XN;
  return desc;
}

pt_prot_t pt_prot_el1(const struct pt *pt, uint64_t desc) {
  pt_prot_t prot = common_prot(desc) | s1_attr_prot(desc) | s1_rw_prot(desc);
  (void)pt;
  prot |= desc & AP_EL0 ? PT_USER : 0;
  prot |= desc & DESC_NG ? 0 : PT_GLOBAL;
  prot |= desc & DESC_PXN ? 0 : PT_X;
  prot |= desc & DESC_XN ? 0 : PT_UX;
  return prot;
}

uint64_t pt_leaf_el2(const struct pt *pt, pa_t out, unsigned level, pt_prot_t prot) {
  uint64_t desc = common_bits(pt, out, level, prot) | s1_attr(prot) | s1_write_bits(pt, prot) | AP_EL0;
  if ((prot & (PT_X | PT_DEVICE)) != PT_X)
    desc |= DESC_XN;
  return desc;
}

pt_prot_t pt_prot_el2(const struct pt *pt, uint64_t desc) {
  pt_prot_t prot = common_prot(desc) | s1_attr_prot(desc) | s1_rw_prot(desc);
  (void)pt;
  return desc & DESC_XN ? prot : prot | PT_X;
}
