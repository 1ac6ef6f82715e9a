/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_EXIT_H
#define HYP_CORE_EXIT_H

/*
 * From guest to EL2 and back. Called by vectors.S, which goes on with sched_exit() if the vCPU has requests afterwards. exit_hvc and
 * exit_irq do not find x20..x28 in v->x.
 */

#include "core/compiler.h"
#include "core/types.h"

struct cpu;
struct vcpu;

void exit_hvc(struct vcpu *v, uint64_t esr);
void exit_sync(struct vcpu *v, uint64_t esr);
void exit_irq(struct vcpu *v);
void exit_serror(struct vcpu *v, uint64_t esr);
void exit_aarch32(struct vcpu *v, uint64_t esr);

/* vectors.S: load x0..x30 and ERET. */
NORETURN void guest_enter(struct vcpu *v);

/* Handle physical interrupts that are pending, a few at most; EL2 takes none by exception. */
void irq_poll(struct cpu *c);
/* The INTID of the console's UART. */
void irq_set_console(unsigned intid);

#endif
