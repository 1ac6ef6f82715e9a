/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_EXIT_H
#define HYP_CORE_EXIT_H

/* From guest to EL2 and back. The exit_* functions are called by vectors.S and return the vCPU to enter. */

#include "core/compiler.h"

struct cpu;
struct vcpu;

struct vcpu *exit_sync(struct vcpu *v);
struct vcpu *exit_irq(struct vcpu *v);
struct vcpu *exit_serror(struct vcpu *v);
struct vcpu *exit_aarch32(struct vcpu *v);

/* vectors.S: load x0..x30 and ERET. */
NORETURN void guest_enter(struct vcpu *v);

/* Handle physical interrupts that are pending, a few at most; EL2 takes none by exception. */
void irq_poll(struct cpu *c);
/* The INTID of the console's UART. */
void irq_set_console(unsigned intid);

#endif
