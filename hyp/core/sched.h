/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_SCHED_H
#define HYP_CORE_SCHED_H

/* Who runs where. See sched.c for the policy and for the lock order. */

#include "core/compiler.h"
#include "core/types.h"

struct cpu;
struct vcpu;

void sched_init(uint32_t slice_us);
/* This CPU has nothing but its scheduler from now on. */
NORETURN void sched_run(struct cpu *c);

/*
 * The way out of an exit when `v` has requests: answer them, perhaps by choosing another vCPU or by idling until there is one. Returns the
 * vCPU to enter, its EL1 state loaded.
 */
struct vcpu *sched_exit(struct vcpu *v);

/* Make a stopped (OFF, PAUSED) vCPU ready to run. False, and nothing done, if it is not stopped or its VM is being stopped. Any CPU. */
bool sched_start_vcpu(struct vcpu *v);
/* Let a vCPU that is parked for want of memory try again. False, and nothing done, if it is not parked. Any CPU. */
bool sched_wake_memwait(struct vcpu *v);
/*
 * Ask `v` to stop as PAUSED or OFF. True if it already has and no CPU holds its state; else call again (its CPU was told). Any CPU.
 */
bool sched_stop_vcpu(struct vcpu *v, bool off);

/* CNTHP fired: look at deadlines and at the run queue. */
void sched_tick(struct cpu *c);
/* Another CPU sent GIC_SGI_KICK: it has queued a vCPU or work here, or set requests of the vCPU that runs here. */
void sched_kicked(struct cpu *c);
/* Something this CPU's alarm depends on has come nearer (a deadline, EL2's own work). This CPU only. */
void sched_update_timer(struct cpu *c);
/* This CPU must look again at `at` (CNTPCT) at the latest. Takes no lock. */
void sched_alarm_by(uint64_t at);

#endif
