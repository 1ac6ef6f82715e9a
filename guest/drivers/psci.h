/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_PSCI_H
#define GUEST_DRIVERS_PSCI_H

/* Firmware and hypervisor calls, by the conduit the device tree names. */

#include "arch/smccc.h"
#include "core/err.h"
#include "core/types.h"

void psci_init(bool present, bool smc);
struct smccc_result smccc_call(uint64_t fid, uint64_t a1, uint64_t a2, uint64_t a3);
/* ERR_UNSUPPORTED without PSCI; ERR_INVAL, ERR_EXIST (already on), ERR_IO as PSCI answers. */
MUST_CHECK err_t psci_cpu_on(uint64_t mpidr, pa_t entry, uint64_t context);
NORETURN void psci_system_off(void);

/* True under Sluice: its vendor UID answered. Then calls of abi/hypercall.h may be made. */
bool sluice_present(void);

#endif
