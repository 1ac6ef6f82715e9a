/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_ESR_H
#define ARCH_ESR_H

/* ESR_ELx: exception classes and syndrome fields (Arm ARM D17.2.37). */

#include "core/bits.h"
#include <stdbool.h>
#include <stdint.h>

#define ESR_EC_UNKNOWN 0x00u
#define ESR_EC_WFX 0x01u
#define ESR_EC_FP 0x07u
#define ESR_EC_PAUTH 0x09u
#define ESR_EC_ILLEGAL 0x0eu
#define ESR_EC_SVC64 0x15u
#define ESR_EC_HVC64 0x16u
#define ESR_EC_SMC64 0x17u
#define ESR_EC_SYSREG 0x18u
#define ESR_EC_SVE 0x19u
#define ESR_EC_IABT_LOWER 0x20u
#define ESR_EC_IABT_SAME 0x21u
#define ESR_EC_PC_ALIGN 0x22u
#define ESR_EC_DABT_LOWER 0x24u
#define ESR_EC_DABT_SAME 0x25u
#define ESR_EC_SP_ALIGN 0x26u
#define ESR_EC_FPE64 0x2cu
#define ESR_EC_SERROR 0x2fu
#define ESR_EC_BREAKPOINT_LOWER 0x30u
#define ESR_EC_STEP_LOWER 0x32u
#define ESR_EC_WATCHPOINT_LOWER 0x34u
#define ESR_EC_BRK64 0x3cu

static inline unsigned esr_ec(uint64_t esr) {
  return (unsigned)bits_get(esr, 31, 26);
}

#define ESR_EC_SHIFT 26
#define ESR_IL BIT(25)
#define ESR_ISS_MASK GENMASK(24, 0)

/* Data and instruction aborts */
#define ESR_ISV BIT(24)
#define ESR_SSE BIT(21)
#define ESR_SF BIT(15)
#define ESR_FnV BIT(10)
#define ESR_EA BIT(9)
#define ESR_CM BIT(8)
#define ESR_S1PTW BIT(7)
#define ESR_WnR BIT(6)
#define ESR_FSC_MASK 0x3fu
#define ESR_FSC_ADDR_SIZE 0x00u /* | level */
#define ESR_FSC_TRANSLATION 0x04u
#define ESR_FSC_ACCESS_FLAG 0x08u
#define ESR_FSC_PERMISSION 0x0cu
#define ESR_FSC_EXTERNAL 0x10u
#define ESR_FSC_EXTERNAL_WALK 0x14u
#define ESR_FSC_ALIGNMENT 0x21u
#define ESR_FSC_TLB_CONFLICT 0x30u

static inline unsigned esr_fsc(uint64_t esr) {
  return (unsigned)(esr & ESR_FSC_MASK);
}

/* Fault type without the level, for types 0x00..0x0c. */
static inline unsigned esr_fsc_type(uint64_t esr) {
  return (unsigned)(esr & 0x3cu);
}

static inline unsigned esr_fsc_level(uint64_t esr) {
  return (unsigned)(esr & 3u);
}

/* Valid only with ISV: access size in bytes, transfer register. */
static inline unsigned esr_access_bytes(uint64_t esr) {
  return 1u << bits_get(esr, 23, 22);
}

static inline unsigned esr_srt(uint64_t esr) {
  return (unsigned)bits_get(esr, 20, 16);
}

/* Trapped MSR/MRS: the register as op0|op1|CRn|CRm|op2 in the order of the instruction encoding. */
#define SYSREG_ID(op0_, op1_, crn_, crm_, op2_)                                                                                            \
  ((uint32_t)(op0_) << 14 | (uint32_t)(op1_) << 11 | (uint32_t)(crn_) << 7 | (uint32_t)(crm_) << 3 | (uint32_t)(op2_))

static inline uint32_t esr_sysreg_id(uint64_t esr) {
  return SYSREG_ID(bits_get(esr, 21, 20), bits_get(esr, 16, 14), bits_get(esr, 13, 10), bits_get(esr, 4, 1), bits_get(esr, 19, 17));
}

static inline unsigned esr_sysreg_rt(uint64_t esr) {
  return (unsigned)bits_get(esr, 9, 5);
}

static inline bool esr_sysreg_is_read(uint64_t esr) {
  return esr & 1;
}

#endif
