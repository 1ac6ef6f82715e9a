/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_INSN_H
#define HYP_DEV_INSN_H

/*
 * Loads and stores that abort without a syndrome (ISV = 0): register pairs and forms with writeback. The decoder is pure C, built into host
 * tests and a fuzzer; the emulation stands apart (insn_emulate.c).
 */

#include "core/types.h"

struct vcpu;

/* One A64 load or store of general registers (Arm ARM C4.1, "Loads and Stores"). */
struct insn_ldst {
  bool load;
  bool pair;      /* rt2 follows rt, at the address plus `bytes` */
  bool sign;      /* sign-extend what is loaded */
  bool wide;      /* into all 64 bits; else the upper 32 become zero */
  bool writeback; /* rn becomes base plus offset */
  bool post;      /* the access is at the base itself */
  bool indexed;   /* the offset is register rm, extended and shifted */
  uint8_t bytes;  /* of each register: 1, 2, 4, 8 */
  uint8_t rt, rt2, rn, rm;
  uint8_t option, shift; /* indexed: UXTW 2, LSL 3, SXTW 6, SXTX 7 */
  int64_t offset;        /* not indexed */
};

/*
 * True if `insn` is one, and one whose result the architecture defines: not a prefetch, exclusive, atomic, tag or SIMD access, not literal,
 * and no writeback into a register that is also transferred.
 */
bool insn_decode_ldst(uint32_t insn, struct insn_ldst *out);

/* What is added to the base, with `rm` the value of register rm. */
uint64_t insn_ldst_offset(const struct insn_ldst *i, uint64_t rm);

/* The value that a load of `raw` (zero-extended memory) leaves in the register. */
uint64_t insn_ldst_extend(const struct insn_ldst *i, uint64_t raw);

/*
 * Carry out `insn`, which aborted on device address `at` with FAR_EL2 valid, for the current vCPU: registers, writeback, PC. False: nothing
 * was done (no such instruction, not at the address it faulted on, or nobody there): reflect.
 */
bool insn_emulate(struct vcpu *v, uint32_t insn, ipa_t at);

#endif
