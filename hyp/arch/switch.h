/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_SWITCH_H
#define HYP_ARCH_SWITCH_H

/* Moving a vCPU's EL1 state between its structure and this CPU's registers, and EL2's own control registers. */

#include "arch/sysreg.h"
#include "core/types.h"

struct el1_state;

/* Set HCR_EL2, CPTR_EL2, MDCR_EL2, CNTHCTL_EL2 and the rest as running guests need them. Each CPU once. */
void el2_setup_controls(void);

void el1_save(struct el1_state *s);
void el1_load(const struct el1_state *s);
/* What a guest finds at its first instruction: MMU off, EL1h, interrupts masked (booting.rst; PSCI 1.1, 6.4.3.4). */
void el1_reset(struct el1_state *s, uint64_t entry);

/*
 * No stage-1 walk of EL1 may start from here to the end of el1_load(): VTTBR_EL2 and EL1's registers are of different vCPUs meanwhile, and
 * a speculative walk would leave entries that belong to neither (Cortex-A72 erratum 1319367).
 */
void el1_walks_off(void);

/* Make a virtual SError pending for the guest on this CPU; and take it back, true if the guest has not taken it yet. */
void el2_give_serror(void);
bool el2_take_serror(void);

/* Who the guest is told that it is (0.0.0.id), and what its virtual count lags behind the physical one. */
static inline void el2_load_identity(uint32_t id, uint64_t counter_offset) {
  sysreg_write(vmpidr_el2, BIT(31) /* RES1 */ | id);
  sysreg_write(cntvoff_el2, counter_offset);
}

#endif
