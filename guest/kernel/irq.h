/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_IRQ_H
#define GUEST_KERNEL_IRQ_H

#include <stdint.h>

/* Which interrupts mean what; once, on the boot CPU. */
void irq_init(uint32_t vtimer_intid, uint32_t uart_intid);

/* Serve every interrupt that is pending on this CPU. Called on an IRQ from EL0 and by the idle loop. */
void irq_poll(void);

#endif
