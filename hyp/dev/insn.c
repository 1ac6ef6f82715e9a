/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decoder of A64 loads and stores of general registers (Arm ARM C4.1.94 "Loads and Stores"; C6.2 for each). No state, no side effect: any
 * 32 bits may be passed. What it does not know, or what is CONSTRAINED UNPREDICTABLE, it refuses.
 *
 *    31 30 29  27 26 25 24 23 22 21 20      16 15 13 12 11 10 9   5 4   0
 *   | opc | 101  |V| 0 | idx  |L|  imm7      (15)|   Rt2      |  Rn |  Rt |   pair
 *   |size | 111  |V| 0  1 |opc  |        imm12               |  Rn |  Rt |   unsigned offset
 *   |size | 111  |V| 0  0 |opc  |0|    imm9         | idx     |  Rn |  Rt |   unscaled, post, unprivileged, pre
 *   |size | 111  |V| 0  0 |opc  |1|   Rm   | option |S|  1 0  |  Rn |  Rt |   register offset
 */
#include "hyp/dev/insn.h"
#include "core/bits.h"

#define PAIR_MASK 0x3e000000u
#define PAIR_BITS 0x28000000u
#define UNSIGNED_MASK 0x3f000000u
#define UNSIGNED_BITS 0x39000000u
#define IMM9_MASK 0x3f200000u
#define IMM9_BITS 0x38000000u
#define INDEXED_MASK 0x3f200c00u
#define INDEXED_BITS 0x38200800u

enum {
  IDX_NONE = 0,
  IDX_POST = 1,
  IDX_OFFSET = 2,
  IDX_PRE = 3
};

static uint32_t field(uint32_t insn, unsigned hi, unsigned lo) {
  return (uint32_t)bits_get(insn, hi, lo);
}

/* A base that is written back and also transferred: CONSTRAINED UNPREDICTABLE. Register 31 is SP as base and ZR as data. */
static bool clashes(const struct insn_ldst *i) {
  if (i->pair && i->load && i->rt == i->rt2)
    return true;
  return i->writeback && i->rn != 31 && (i->rn == i->rt || (i->pair && i->rn == i->rt2));
}

static bool decode_pair(uint32_t insn, struct insn_ldst *i) {
  uint32_t opc = field(insn, 31, 30), idx = field(insn, 24, 23);
  i->load = field(insn, 22, 22);
  if (opc == 3 || (opc == 1 && (!i->load || idx == IDX_NONE)))
    return false; /* no such form; STGP */
  i->pair = true;
  i->sign = opc == 1;
  i->wide = opc != 0;
  i->bytes = opc == 2 ? 8 : 4;
  i->rt2 = (uint8_t)field(insn, 14, 10);
  i->offset = bits_sext(field(insn, 21, 15), 7) * i->bytes;
  i->post = idx == IDX_POST;
  i->writeback = idx == IDX_POST || idx == IDX_PRE;
  return true;
}

/* size and opc of the single-register forms: stores, zero-extending loads, sign-extending loads to 64 and to 32 bits, prefetches. */
static bool decode_size(uint32_t insn, struct insn_ldst *i) {
  uint32_t size = field(insn, 31, 30), opc = field(insn, 23, 22);
  if ((opc == 2 && size == 3) || (opc == 3 && size >= 2))
    return false;
  i->load = opc != 0;
  i->sign = opc >= 2;
  i->wide = opc == 2 || size == 3;
  i->bytes = (uint8_t)(1u << size);
  return true;
}

static bool decode_imm9(uint32_t insn, struct insn_ldst *i) {
  uint32_t idx = field(insn, 11, 10);
  i->offset = bits_sext(field(insn, 20, 12), 9);
  i->post = idx == IDX_POST;
  i->writeback = idx == IDX_POST || idx == IDX_PRE;
  return decode_size(insn, i);
}

static bool decode_indexed(uint32_t insn, struct insn_ldst *i) {
  i->indexed = true;
  i->rm = (uint8_t)field(insn, 20, 16);
  i->option = (uint8_t)field(insn, 15, 13);
  i->shift = (uint8_t)(field(insn, 12, 12) ? field(insn, 31, 30) : 0);
  return (i->option & 2) && decode_size(insn, i);
}

static bool decode_unsigned(uint32_t insn, struct insn_ldst *i) {
  i->offset = (int64_t)((uint64_t)field(insn, 21, 10) << field(insn, 31, 30));
  return decode_size(insn, i);
}

bool insn_decode_ldst(uint32_t insn, struct insn_ldst *out) {
  bool known = false;
  *out = (struct insn_ldst){.rt = (uint8_t)field(insn, 4, 0), .rn = (uint8_t)field(insn, 9, 5)};
  if ((insn & PAIR_MASK) == PAIR_BITS)
    known = decode_pair(insn, out);
  else if ((insn & UNSIGNED_MASK) == UNSIGNED_BITS)
    known = decode_unsigned(insn, out);
  else if ((insn & IMM9_MASK) == IMM9_BITS)
    known = decode_imm9(insn, out);
  else if ((insn & INDEXED_MASK) == INDEXED_BITS)
    known = decode_indexed(insn, out);
  return known && !clashes(out);
}

uint64_t insn_ldst_offset(const struct insn_ldst *i, uint64_t rm) {
  if (!i->indexed)
    return (uint64_t)i->offset;
  if (i->option == 2)
    rm = (uint32_t)rm;
  else if (i->option == 6)
    rm = (uint64_t)bits_sext(rm, 32);
  return rm << i->shift;
}

uint64_t insn_ldst_extend(const struct insn_ldst *i, uint64_t raw) {
  if (i->sign)
    raw = (uint64_t)bits_sext(raw, 8u * i->bytes);
  return i->wide ? raw : (uint32_t)raw;
}
