/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which optional architecture features this machine has (Arm ARM D17.2, ID registers). EL2 needs Armv8.0 only; everything here is
 * an improvement whose worth a scenario can measure by switching it off.
 */
#include "hyp/arch/features.h"
#include "arch/sysreg.h"

struct cpu_features features;

#define ID_AA64MMFR2_EL1_ENC S3_0_C0_C7_2

static uint32_t detect(void) {
  uint64_t mmfr1 = sysreg_read(id_aa64mmfr1_el1);
  uint64_t mmfr2 = sysreg_read_enc(ID_AA64MMFR2_EL1_ENC);
  uint64_t isar0 = sysreg_read(id_aa64isar0_el1);
  uint64_t ctr = sysreg_read(ctr_el0);
  uint32_t on = 0;
  if (bits_get(mmfr1, 7, 4) == 2)
    on |= HYP_FEAT_VMID16;
  if (bits_get(isar0, 59, 56) == 2)
    on |= HYP_FEAT_TLBI_RANGE;
  if (bits_get(mmfr2, 51, 48) >= 1)
    on |= HYP_FEAT_TTL;
  if (bits_get(mmfr2, 43, 40) >= 1)
    on |= HYP_FEAT_FWB;
  if (bits_get(mmfr1, 3, 0) >= 1)
    on |= HYP_FEAT_HAFDBS;
  if (bits_get(mmfr2, 55, 52) >= 2)
    on |= HYP_FEAT_BBM2;
  if (ctr & BIT(28))
    on |= HYP_FEAT_IDC;
  if (ctr & BIT(29))
    on |= HYP_FEAT_DIC;
  return on;
}

void features_init(uint32_t off) {
  static const uint8_t bits_of_range[] = {32, 36, 40, 42, 44, 48, 52};
  uint64_t range = bits_get(sysreg_read(id_aa64mmfr0_el1), 3, 0);
  if (range > 5)
    range = 5; /* 4 KiB granule without FEAT_LPA2 ends at 48 bits */
  features.on = detect() & ~off;
  features.pa_range = (uint8_t)range;
  features.pa_bits = bits_of_range[range];
  features.needs_clean = !feature_on(HYP_FEAT_FWB);
  features.needs_ic = !feature_on(HYP_FEAT_DIC);
}

unsigned feature_vmid_bits(unsigned wanted) {
  unsigned have = feature_on(HYP_FEAT_VMID16) ? 16 : 8;
  return wanted && wanted < have ? wanted : have;
}
