/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_KICK_H
#define HYP_CORE_KICK_H

/* GIC_SGI_KICK to every other CPU that is up: each gives back what its allocator's lists hold, if that was asked for. Does not wait. */
void smp_kick_others(void);

#endif
