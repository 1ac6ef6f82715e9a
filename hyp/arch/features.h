/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_FEATURES_H
#define HYP_ARCH_FEATURES_H

/*
 * Optional features of the CPUs that EL2 uses where they are there and the scenario has not switched them off. Read after features_init().
 */

#include "core/types.h"

/* Bits of the scenario's `features-off`. */
#define HYP_FEAT_VMID16 0x01u
#define HYP_FEAT_TLBI_RANGE 0x02u
#define HYP_FEAT_TTL 0x04u
#define HYP_FEAT_FWB 0x08u
#define HYP_FEAT_HAFDBS 0x10u
#define HYP_FEAT_BBM2 0x20u
#define HYP_FEAT_DIC 0x40u
#define HYP_FEAT_IDC 0x80u

struct cpu_features {
  uint32_t on;      /* HYP_FEAT_* */
  uint8_t pa_range; /* ID_AA64MMFR0_EL1.PARange as TCR.PS and VTCR.PS take it */
  uint8_t pa_bits;
  bool needs_clean; /* frames must be cleaned to the PoC before a guest that may bypass caches gets them: no FWB */
  bool needs_ic;    /* instruction caches must be invalidated when a frame's contents change owner: no DIC */
};

extern struct cpu_features features;

/* Boot CPU, before stage 2 is first used; `off` is a mask of HYP_FEAT_*. */
void features_init(uint32_t off);

/* VMID bits in use: `wanted` if that is fewer than the hardware has, for tests; 0 asks for all. */
unsigned feature_vmid_bits(unsigned wanted);

static inline bool feature_on(uint32_t feature) {
  return (features.on & feature) != 0;
}

#endif
