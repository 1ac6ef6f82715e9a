/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_LOAD_H
#define HYP_CORE_LOAD_H

/* Whose registers a CPU holds. For the scheduler; see load.c. */

struct cpu;
struct vcpu;

/* This CPU takes up the registers of `v`, which is RUNNING on it, in place of those of c->current, which are saved. */
void load_switch(struct cpu *c, struct vcpu *v);
/* This CPU saves the registers of c->current, if there are any, and holds nobody's; VTTBR_EL2 names no VM any more. */
void load_nothing(struct cpu *c);

#endif
