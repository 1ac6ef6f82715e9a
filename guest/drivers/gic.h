/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_GIC_H
#define GUEST_DRIVERS_GIC_H

/* GICv3 by system registers: one priority for all, group 1, EOI deactivates. */

#include "core/err.h"
#include "core/types.h"

struct machine;

#define SGI_RESCHED 0u

/* Distributor, once, on the boot CPU. ERR_UNSUPPORTED if it is no GICv3; ERR_NOMEM from mapping it. */
MUST_CHECK err_t gic_init(const struct machine *m);
/* This CPU's redistributor and CPU interface. ERR_NOENT if no redistributor has this CPU's affinity. */
MUST_CHECK err_t gic_cpu_init(void);
/* PPIs and SGIs act on this CPU; SPIs are routed to it. */
void gic_enable(uint32_t intid);
void gic_send_sgi(unsigned cpu, unsigned sgi);

/* The next pending interrupt, acknowledged; GIC_INTID_SPURIOUS if there is none. */
uint32_t gic_acknowledge(void);
void gic_end(uint32_t intid);

#endif
