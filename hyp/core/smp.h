/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_SMP_H
#define HYP_CORE_SMP_H

#include "hyp/core/cpu.h"
#include "hyp/core/machine.h"

/* Fill in what never changes. */
void cpu_init(struct cpu *c, unsigned id, uint64_t mpidr, uint8_t *stack_top);

/*
 * Boot CPU: bring every other CPU of the device tree up by PSCI and wait until it is in its scheduler. One that does not come is left out,
 * and said.
 */
void smp_start_others(const struct machine *m);

/* All other CPUs park, for a panic or the end. Does not wait long: a CPU may be stuck. */
void smp_stop_others(void);

#endif
