/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_FP_H
#define HYP_ARCH_FP_H

/*
 * FP/SIMD registers belong to guests. A vCPU's first use after a switch traps (CPTR_EL2.TFP) and loads them; on the way out they are saved
 * only if they were used. EL2's own C never touches them, but the libfdt of the distribution was compiled to: it runs inside a section.
 */

#include "arch/sysreg.h"
#include "core/compiler.h"
#include "hyp/core/vcpu.h"

void fp_save_registers(struct fp_state *fp); /* fp_registers.S */

/* Trapped FP/SIMD instruction of the current vCPU: give it its registers. */
void fp_trap(struct vcpu *v);
/* `v` leaves this CPU: save what it used. */
static inline void fp_switch_out(struct vcpu *v) {
  if (unlikely(!(sysreg_read(cptr_el2) & CPTR_EL2_TFP)))
    fp_save_registers(&v->fp);
}
/* `v` comes in: trap its first use, unless its registers are still here. */
void fp_switch_in(struct vcpu *v);
/* `v` starts afresh, or is no more: no CPU's registers are its own. Not while it runs. */
void fp_reset(struct vcpu *v);

/* Between these, C code compiled with FP may run on this CPU: the live guest state is saved first. Not nested. */
void fp_section_begin(void);
void fp_section_end(void);

#endif
