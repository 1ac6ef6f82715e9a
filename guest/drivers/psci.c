/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PSCI and SMCCC. The conduit is the device tree's; without a /psci node no call is made at all. Whether Sluice is below is found out
 * once, as SMCCC wants it: PSCI 1.0 or later, SMCCC_VERSION announced by PSCI_FEATURES, then the vendor-hypervisor UID.
 */
#include "guest/drivers/psci.h"

#include "abi/hypercall.h"
#include "arch/barrier.h"

static bool available, by_smc, under_sluice;

struct smccc_result smccc_call(uint64_t fid, uint64_t a1, uint64_t a2, uint64_t a3) {
  return by_smc ? smccc_smc(fid, a1, a2, a3) : smccc_hvc(fid, a1, a2, a3);
}

static bool probe_sluice(void) {
  if ((int32_t)smccc_call(PSCI_VERSION, 0, 0, 0).x0 < 0x10000 || (int32_t)smccc_call(PSCI_FEATURES, SMCCC_VERSION, 0, 0).x0 < 0)
    return false;
  struct smccc_result r = smccc_call(SMCCC_VENDOR_HYP_CALL_UID, 0, 0, 0);
  return (uint32_t)r.x0 == SLUICE_UID_0 && (uint32_t)r.x1 == SLUICE_UID_1 && (uint32_t)r.x2 == SLUICE_UID_2 &&
         (uint32_t)r.x3 == SLUICE_UID_3;
}

void psci_init(bool present, bool smc) {
  available = present;
  by_smc = smc;
  under_sluice = present && probe_sluice();
}

bool sluice_present(void) {
  return under_sluice;
}

err_t psci_cpu_on(uint64_t mpidr, pa_t entry, uint64_t context) {
  if (!available)
    return ERR_UNSUPPORTED;
  switch ((int32_t)smccc_call(PSCI_CPU_ON_64, mpidr, entry.v, context).x0) {
  case PSCI_SUCCESS:
    return ERR_OK;
  case PSCI_ALREADY_ON:
  case PSCI_ON_PENDING:
    return ERR_EXIST;
  case PSCI_INVALID_PARAMETERS:
  case PSCI_INVALID_ADDRESS:
    return ERR_INVAL;
  default:
    return ERR_IO;
  }
}

void psci_system_off(void) {
  if (available)
    smccc_call(PSCI_SYSTEM_OFF, 0, 0, 0);
  for (;;)
    wfi();
}
