/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_PSCI_H
#define HYP_ARCH_PSCI_H

/* The machine's own PSCI (by SMC), as EL2 calls it. */

#include "arch/smccc.h"
#include "core/compiler.h"
#include "arch/barrier.h"

/* PSCI return code. `entry` is a physical address, `context` arrives in x0. */
static inline long psci_cpu_on(uint64_t mpidr, uint64_t entry, uint64_t context) {
  return (long)(int32_t)smccc_smc(PSCI_CPU_ON_64, mpidr, entry, context).x0;
}

NORETURN static inline void psci_system_off(void) {
  smccc_smc(PSCI_SYSTEM_OFF, 0, 0, 0);
  for (;;)
    wfi();
}

#endif
