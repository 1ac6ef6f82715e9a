/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The world switch between vCPUs. An exit does not come here: EL1's registers stay live while EL2 answers it. They move only when another
 * vCPU takes the CPU. No ISB is needed between EL1 registers that take effect at EL1: the ERET that follows synchronises (Arm ARM D1.10).
 */
#include "hyp/arch/switch.h"
#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "core/string.h"
#include "hyp/arch/features.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/ctl.h"

#define HCR_GUEST                                                                                                                          \
  (HCR_VM | HCR_SWIO | HCR_FB | HCR_BSU_IS | HCR_FMO | HCR_IMO | HCR_AMO | HCR_TWI | HCR_TID3 | HCR_TSC | HCR_TIDCP | HCR_TACR | HCR_RW |  \
   HCR_TLOR)
#define MDCR_TRAP_ALL (BIT(11) /* TDRA */ | BIT(10) /* TDOSA */ | BIT(9) /* TDA */ | BIT(6) /* TPM */ | BIT(5) /* TPMCR */)
#define PMCR_N_SHIFT 11
#define HFG_ENC_CLEAR(reg_) sysreg_write_enc(reg_, 0)

static void clear_fine_grained_traps(void) {
  if (bits_get(sysreg_read(id_aa64mmfr0_el1), 59, 56) == 0)
    return;
  HFG_ENC_CLEAR(S3_4_C1_C1_4); /* HFGRTR_EL2 */
  HFG_ENC_CLEAR(S3_4_C1_C1_5); /* HFGWTR_EL2 */
  HFG_ENC_CLEAR(S3_4_C1_C1_6); /* HFGITR_EL2 */
  HFG_ENC_CLEAR(S3_4_C3_C1_4); /* HDFGRTR_EL2 */
  HFG_ENC_CLEAR(S3_4_C3_C1_5); /* HDFGWTR_EL2 */
}

void el2_setup_controls(void) {
  uint64_t hcr = HCR_GUEST;
  if (feature_on(HYP_FEAT_FWB))
    hcr |= HCR_FWB;
  if (bits_get(sysreg_read(id_aa64pfr0_el1), 31, 28) != 0)
    hcr |= HCR_TERR; /* FEAT_RAS is not offered */
  sysreg_write(hcr_el2, hcr);
  bool has_amu = bits_get(sysreg_read(id_aa64pfr0_el1), 47, 44) != 0;
  sysreg_write(cptr_el2, CPTR_EL2_RES1 | CPTR_EL2_TZ | CPTR_EL2_TFP | CPTR_EL2_TSM | CPTR_EL2_TTA | (has_amu ? CPTR_EL2_TAM : 0));
  sysreg_write(vtcr_el2, VTCR_RES1 | (feature_on(HYP_FEAT_VMID16) ? VTCR_VS : 0)); /* a TLBI by VMID may come before the first guest */
  sysreg_write(mdcr_el2, MDCR_TRAP_ALL | bits_get(sysreg_read(mdcr_el2), 4, 0));
  sysreg_write(hstr_el2, 0);
  sysreg_write(cnthctl_el2, 0); /* EL1 accesses to the physical timer and count trap */
  sysreg_write(cnthp_ctl_el2, 0);
  sysreg_write(cntv_ctl_el0, 0);
  sysreg_write(vpidr_el2, sysreg_read(midr_el1));
  clear_fine_grained_traps();
  isb();
}

/* Two registers that are neighbours in struct el1_state, by one store or load. */
#define SAVE_PAIR(s_, a_, b_)                                                                                                              \
  do {                                                                                                                                     \
    PAIR_IS_ADJACENT(a_, b_);                                                                                                              \
    uint64_t first__ = sysreg_read(a_), second__ = sysreg_read(b_);                                                                        \
    (s_)->a_ = first__;                                                                                                                    \
    (s_)->b_ = second__;                                                                                                                   \
  } while (0)
#define LOAD_PAIR(s_, a_, b_)                                                                                                              \
  do {                                                                                                                                     \
    PAIR_IS_ADJACENT(a_, b_);                                                                                                              \
    uint64_t first__ = (s_)->a_, second__ = (s_)->b_;                                                                                      \
    sysreg_write(a_, first__);                                                                                                             \
    sysreg_write(b_, second__);                                                                                                            \
  } while (0)
#define PAIR_IS_ADJACENT(a_, b_)                                                                                                           \
  _Static_assert(offsetof(struct el1_state, a_) + 8 == offsetof(struct el1_state, b_), "neighbours, for STP and LDP")

void el1_save(struct el1_state *s) {
  SAVE_PAIR(s, elr_el2, spsr_el2);
  SAVE_PAIR(s, sp_el0, sp_el1);
  SAVE_PAIR(s, elr_el1, spsr_el1);
  SAVE_PAIR(s, esr_el1, far_el1);
  SAVE_PAIR(s, sctlr_el1, tcr_el1);
  SAVE_PAIR(s, ttbr0_el1, ttbr1_el1);
  SAVE_PAIR(s, mair_el1, amair_el1);
  SAVE_PAIR(s, vbar_el1, contextidr_el1);
  SAVE_PAIR(s, afsr0_el1, afsr1_el1);
  SAVE_PAIR(s, tpidr_el0, tpidrro_el0);
  SAVE_PAIR(s, tpidr_el1, cntkctl_el1);
  SAVE_PAIR(s, csselr_el1, mdscr_el1);
  SAVE_PAIR(s, par_el1, cpacr_el1);
  SAVE_PAIR(s, cntv_cval_el0, cntv_ctl_el0);
  sysreg_write(cntv_ctl_el0, 0);
}

void el1_walks_off(void) {
  sysreg_write(tcr_el1, sysreg_read(tcr_el1) | TCR_EPD0 | TCR_EPD1);
  isb();
  sysreg_write(sctlr_el1, sysreg_read(sctlr_el1) | SCTLR_M); /* off, stage 1 would be flat and stage 2 walked all the same */
  isb();
}

void el2_give_serror(void) {
  sysreg_write(hcr_el2, sysreg_read(hcr_el2) | HCR_VSE);
}

bool el2_take_serror(void) {
  uint64_t hcr = sysreg_read(hcr_el2);
  sysreg_write(hcr_el2, hcr & ~HCR_VSE);
  return (hcr & HCR_VSE) != 0;
}

void el1_load(const struct el1_state *s) {
  LOAD_PAIR(s, elr_el2, spsr_el2);
  LOAD_PAIR(s, sp_el0, sp_el1);
  LOAD_PAIR(s, elr_el1, spsr_el1);
  LOAD_PAIR(s, esr_el1, far_el1);
  LOAD_PAIR(s, ttbr0_el1, ttbr1_el1);
  LOAD_PAIR(s, mair_el1, amair_el1);
  LOAD_PAIR(s, vbar_el1, contextidr_el1);
  LOAD_PAIR(s, afsr0_el1, afsr1_el1);
  LOAD_PAIR(s, tpidr_el0, tpidrro_el0);
  LOAD_PAIR(s, tpidr_el1, cntkctl_el1);
  LOAD_PAIR(s, csselr_el1, mdscr_el1);
  LOAD_PAIR(s, par_el1, cpacr_el1);
  LOAD_PAIR(s, cntv_cval_el0, cntv_ctl_el0);
  uint64_t sctlr = s->sctlr_el1, tcr = s->tcr_el1;
  isb();
  sysreg_write(sctlr_el1, sctlr);
  isb();
  sysreg_write(tcr_el1, tcr); /* walks may start again */
}

void el1_reset(struct el1_state *s, uint64_t entry) {
  memset(s, 0, sizeof(*s));
  s->elr_el2 = entry;
  s->spsr_el2 = PSR_D | PSR_A | PSR_I | PSR_F | PSR_EL1h;
  s->sctlr_el1 = SCTLR_EL1_RES1;
}
