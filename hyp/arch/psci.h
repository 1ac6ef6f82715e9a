/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_PSCI_H
#define HYP_ARCH_PSCI_H

/* The machine's own PSCI (by SMC), as EL2 calls it. */

#include "arch/barrier.h"
#include "arch/smccc.h"
#include "arch/sysreg.h"
#include "core/compiler.h"

/* PSCI return code. `entry` is a physical address, `context` arrives in x0. */
static inline long psci_cpu_on(uint64_t mpidr, uint64_t entry, uint64_t context) {
  return (long)(int32_t)smccc_smc(PSCI_CPU_ON_64, mpidr, entry, context).x0;
}

/* Also the way out when the image was entered at EL1 by mistake: there is no EL3 then, and firmware or QEMU answers HVC. */
NORETURN static inline void psci_system_off(void) {
  if (((sysreg_read(CurrentEL) >> 2) & 3) == 1)
    smccc_hvc(PSCI_SYSTEM_OFF, 0, 0, 0);
  smccc_smc(PSCI_SYSTEM_OFF, 0, 0, 0);
  for (;;)
    wfi();
}

#endif
