/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_PMU_H
#define ARCH_PMU_H

/*
 * Performance monitors (Arm ARM D11, FEAT_PMUv3) as far as instructions are counted: event counters 0 and 1. They are 32 bits wide before
 * FEAT_PMUv3p5, so differences are taken modulo 2^32.
 */

#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "core/bits.h"

#define PMU_EVENT_INST_RETIRED 0x08u
#define PMEVTYPER_P BIT(31)   /* not at EL1 */
#define PMEVTYPER_U BIT(30)   /* not at EL0 */
#define PMEVTYPER_NSH BIT(27) /* at EL2, too */
#define PMCR_E BIT(0)
#define PMCR_P BIT(1) /* event counters to zero */

/* Event counters of this CPU; 0 without FEAT_PMUv3 (ID_AA64DFR0_EL1.PMUVer, 0xf: not the architected one). */
static inline unsigned pmu_counters(void) {
  uint64_t version = bits_get(sysreg_read(id_aa64dfr0_el1), 11, 8);
  return version == 0 || version == 0xf ? 0 : (unsigned)bits_get(sysreg_read(pmcr_el0), 15, 11);
}

/* Count instructions at EL2 with counter 0, those at EL1 and EL0 with counter 1. */
static inline void pmu_count_by_level(void) {
  sysreg_write(pmevtyper0_el0, PMEVTYPER_P | PMEVTYPER_U | PMEVTYPER_NSH | PMU_EVENT_INST_RETIRED);
  sysreg_write(pmevtyper1_el0, PMU_EVENT_INST_RETIRED);
  sysreg_write(pmcntenset_el0, 3);
  sysreg_write(pmcr_el0, (sysreg_read(pmcr_el0) & ~(uint64_t)0xff) | PMCR_P | PMCR_E);
  isb();
}

static inline uint32_t pmu_el2(void) {
  isb(); /* what came before has been counted (Arm ARM D11.11.3) */
  return (uint32_t)sysreg_read(pmevcntr0_el0);
}

static inline uint32_t pmu_guest(void) {
  return (uint32_t)sysreg_read(pmevcntr1_el0);
}

#endif
