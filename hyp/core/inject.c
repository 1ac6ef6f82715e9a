/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entering an exception at the guest's EL1 as hardware would: Arm ARM, pseudocode AArch64.TakeException (J1.1). The vCPU is current, so
 * its EL1 registers are written straight.
 */
#include "arch/esr.h"
#include "arch/sysreg.h"
#include "hyp/core/vcpu.h"

#define VECTOR_CURRENT_SP0 0x000u
#define VECTOR_CURRENT_SPX 0x200u
#define VECTOR_LOWER_A64 0x400u
#define VECTOR_LOWER_A32 0x600u
#define PSR_FLAGS_KEPT (GENMASK(31, 28) | PSR_DIT) /* NZCV survive; the rest gets its value for exception entry */
#define PSR_BTYPE_MASK GENMASK(11, 10)

uint64_t vcpu_pc(void) {
  return sysreg_read(elr_el2);
}

void vcpu_set_pc(uint64_t pc) {
  sysreg_write(elr_el2, pc);
}

uint64_t vcpu_pstate(void) {
  return sysreg_read(spsr_el2);
}

void vcpu_skip_instruction(void) {
  sysreg_write(elr_el2, sysreg_read(elr_el2) + 4);
}

static uint64_t vector_of(uint64_t pstate) {
  if (pstate & PSR_nRW)
    return VECTOR_LOWER_A32;
  if ((pstate & PSR_M_MASK) == PSR_EL0t)
    return VECTOR_LOWER_A64;
  return (pstate & 1) ? VECTOR_CURRENT_SPX : VECTOR_CURRENT_SP0;
}

/* PSTATE on entry: EL1h, DAIF masked, PAN as SCTLR_EL1.SPAN says, SSBS as DSSBS. */
static uint64_t entry_pstate(uint64_t old) {
  uint64_t sctlr = sysreg_read(sctlr_el1);
  uint64_t pstate = (old & PSR_FLAGS_KEPT) | PSR_D | PSR_A | PSR_I | PSR_F | PSR_EL1h;
  bool has_pan = bits_get(sysreg_read(id_aa64mmfr1_el1), 23, 20) != 0;
  if (has_pan && ((old & PSR_PAN) || !(sctlr & SCTLR_EL1_SPAN)))
    pstate |= PSR_PAN;
  if (bits_get(sysreg_read(id_aa64pfr1_el1), 7, 4) != 0 && (sctlr & BIT(44)))
    pstate |= PSR_SSBS;
  return pstate;
}

void inject_sync(struct vcpu *v, uint64_t esr, uint64_t far, bool far_valid) {
  uint64_t pstate = vcpu_pstate();
  (void)v;
  sysreg_write(esr_el1, esr);
  if (far_valid)
    sysreg_write(far_el1, far);
  sysreg_write(elr_el1, vcpu_pc());
  sysreg_write(spsr_el1, pstate);
  vcpu_set_pc(sysreg_read(vbar_el1) + vector_of(pstate));
  sysreg_write(spsr_el2, entry_pstate(pstate));
}

void inject_undefined(struct vcpu *v) {
  inject_sync(v, (uint64_t)ESR_EC_UNKNOWN << ESR_EC_SHIFT | ESR_IL, 0, false);
}

/* The class depends on where it came from: lower EL or the same. The syndrome keeps WnR, CM and IL of the access that trapped. */
void inject_abort(struct vcpu *v, bool instruction, uint64_t far, unsigned fsc) {
  bool from_el0 = (vcpu_pstate() & PSR_M_MASK) == PSR_EL0t;
  uint64_t ec = instruction ? (from_el0 ? ESR_EC_IABT_LOWER : ESR_EC_IABT_SAME) : (from_el0 ? ESR_EC_DABT_LOWER : ESR_EC_DABT_SAME);
  uint64_t kept = sysreg_read(esr_el2) & (ESR_IL | (instruction ? 0 : ESR_WnR | ESR_CM));
  inject_sync(v, ec << ESR_EC_SHIFT | kept | fsc, far, true);
}
