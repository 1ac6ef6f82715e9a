/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PSCI and Sluice's own calls from a payload, through HVC: the conduit that QEMU's virt machine (without EL2) and every
 * hypervisor offer. Whether the hypervisor is Sluice is asked by the vendor UID before any call of its own is made, so a payload
 * runs to its end anywhere.
 */
#include "abi/hypercall.h"
#include "arch/smccc.h"
#include "payload.h"

int64_t payload_cpu_on(uint64_t mpidr, uint64_t entry, uint64_t context) {
  return (int64_t)smccc_hvc(PSCI_CPU_ON_64, mpidr, entry, context).x0;
}

int64_t payload_affinity_info(uint64_t mpidr) {
  return (int64_t)smccc_hvc(PSCI_AFFINITY_INFO_64, mpidr, 0, 0).x0;
}

bool payload_under_sluice(void) {
  struct smccc_result uid = smccc_hvc(SMCCC_VENDOR_HYP_CALL_UID, 0, 0, 0);
  return (uint32_t)uid.x0 == SLUICE_UID_0 && (uint32_t)uid.x1 == SLUICE_UID_1 && (uint32_t)uid.x2 == SLUICE_UID_2;
}

void payload_verdict(uint64_t status, uint64_t value) {
  if (payload_under_sluice())
    (void)smccc_hvc(SLUICE_HVC_VERDICT, status, value, 0);
}
