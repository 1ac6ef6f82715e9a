/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_FAULT_H
#define GUEST_KERNEL_FAULT_H

#include <stdint.h>

struct task;

/* ESR of the last kernel access that the exception table caught. For reports. */
extern uint64_t fault_fixed_esr;

/* Faults of processes served so far, of all that have ended. */
uint64_t faults_handled(void);
/* `t`, the current task, ends: print its line of counts and add them up. */
void faults_report_exit(struct task *t);

#endif
