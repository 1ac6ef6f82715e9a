/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The allow-list of ID registers (Arm ARM D17.2). A field that is not named here reads as zero, which the architecture makes "not
 * implemented" for all but the few fields that have a fixed value below. So a CPU newer than this file shows guests nothing that EL2 does
 * not save, trap or understand.
 *
 * Hidden on purpose: AArch32, PAuth, SVE, SME, MTE, RAS, AMU, MPAM, RME, trace and PMU, SPE, LORegions, nested virtualization, CnP (VMIDs
 * and ASIDs of different guests' tables would be mixed), LPA2, WFxT, MOPS, LS64, ECV, FGT, HCX: each needs a control or state that EL2 does
 * not give.
 *
 * Pure; sysreg.c reads the hardware and keeps the result.
 */
#include "hyp/dev/idreg.h"
#include "core/bits.h"
#include "core/compiler.h"

#define PFR0 IDREG_INDEX(4, 0)
#define PFR1 IDREG_INDEX(4, 1)
#define DFR0 IDREG_INDEX(5, 0)
#define ISAR0 IDREG_INDEX(6, 0)
#define ISAR1 IDREG_INDEX(6, 1)
#define ISAR2 IDREG_INDEX(6, 2)
#define MMFR0 IDREG_INDEX(7, 0)
#define MMFR1 IDREG_INDEX(7, 1)
#define MMFR2 IDREG_INDEX(7, 2)

#define FIELD(lo_) ((uint64_t)0xf << (lo_))

/* Fields taken as hardware has them. */
static const uint64_t allowed[IDREG_COUNT] = {
    [PFR0] = FIELD(16) | FIELD(20) | FIELD(48) | FIELD(56) | FIELD(60), /* FP, AdvSIMD, DIT, CSV2, CSV3 */
    [PFR1] = FIELD(0) | FIELD(4),                                       /* BT, SSBS */
    /* AES, SHA1, SHA2, CRC32, Atomic, RDM, SHA3, SM3, SM4, DP, FHM, TS, TLB, RNDR */
    [ISAR0] = FIELD(4) | FIELD(8) | FIELD(12) | FIELD(16) | FIELD(20) | FIELD(28) | FIELD(32) | FIELD(36) | FIELD(40) | FIELD(44) |
              FIELD(48) | FIELD(52) | FIELD(56) | FIELD(60),
    /* DPB, JSCVT, FCMA, LRCPC, FRINTTS, SB, BF16, DGH, I8MM */
    [ISAR1] = FIELD(0) | FIELD(12) | FIELD(16) | FIELD(20) | FIELD(32) | FIELD(36) | FIELD(44) | FIELD(48) | FIELD(52),
    [ISAR2] = FIELD(4) | FIELD(20), /* RPRES, BC */
    /* PARange, ASIDBits, BigEnd, BigEndEL0, TGran16, TGran64, TGran4, ExS */
    [MMFR0] = FIELD(0) | FIELD(4) | FIELD(8) | FIELD(16) | FIELD(20) | FIELD(24) | FIELD(28) | FIELD(44),
    [MMFR1] = FIELD(0) | FIELD(12) | FIELD(20) | FIELD(36) | FIELD(48), /* HAFDBS, HPDS, PAN, ETS, nTLBPA */
    /* UAO, LSM, VARange, CCIDX, ST, AT, IDS, TTL, BBM, E0PD */
    [MMFR2] = FIELD(4) | FIELD(8) | FIELD(16) | FIELD(20) | FIELD(28) | FIELD(32) | FIELD(36) | FIELD(48) | FIELD(52) | FIELD(60),
};

/* Fields that say the same on every CPU: EL1 and EL0 in AArch64 only, GICv3 registers; Armv8 debug with two of each, no double lock. */
static const uint64_t fixed[IDREG_COUNT] = {
    [PFR0] = (uint64_t)1 << 24 | 1u << 4 | 1u,
    [DFR0] = (uint64_t)0xf << 36 | 1u << 20 | 1u << 12 | 6u,
};

/* The most that a field may say. Values beyond need what EL2 does not give: SCXTNUM, more than 40 bits of IPA, LPA2. */
struct limit {
  uint8_t index, lo, most;
};

static const struct limit limits[] = {
    {PFR0, 56, 1},  /* CSV2: without SCXTNUM_ELx */
    {MMFR0, 0, 2},  /* PARange: 40 bits */
    {MMFR0, 20, 1}, /* TGran16 */
};

static uint64_t at_most(uint64_t value, const struct limit *l) {
  unsigned hi = l->lo + 3u;
  return bits_get(value, hi, l->lo) > l->most ? bits_set(value, hi, l->lo, l->most) : value;
}

/* ID_AA64MMFR0_EL1.TGran4: 0 is "supported", 1 adds LPA2, 15 is "not supported". */
static uint64_t without_lpa2(uint64_t mmfr0) {
  return bits_get(mmfr0, 31, 28) == 1 ? bits_set(mmfr0, 31, 28, 0) : mmfr0;
}

uint64_t idreg_filter(unsigned index, uint64_t hardware) {
  if (index >= IDREG_COUNT)
    return 0;
  uint64_t value = (hardware & allowed[index]) | fixed[index];
  for (unsigned i = 0; i < ARRAY_SIZE(limits); i++)
    if (limits[i].index == index)
      value = at_most(value, &limits[i]);
  return index == MMFR0 ? without_lpa2(value) : value;
}
