/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_FAULT_H
#define HYP_MEM_FAULT_H

/* Aborts that a guest's access took to EL2. Each is served, emulated or reflected into the guest; none can loop at EL2. */

#include "core/types.h"

struct vcpu;

/* ESR_EL2 of a data or instruction abort from a lower EL; current vCPU. */
void fault_data_abort(struct vcpu *v, uint64_t esr);
void fault_instruction_abort(struct vcpu *v, uint64_t esr);

#endif
