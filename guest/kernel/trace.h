/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_TRACE_H
#define GUEST_KERNEL_TRACE_H

/*
 * The guest's half of a fault, told to Sluice step by step (bootarg `trace`): one SLUICE_HVC_TRACE a step. Each costs an exit, so it is
 * for showing, not for measuring. Tags: abi/guest_trace.h.
 */

#include "core/types.h"

extern bool guest_trace_on;

/* `on` by bootarg; only under Sluice. */
void trace_init(bool on);
void trace_fault_entry(uint64_t far, uint64_t esr, uint64_t pc);
void trace_fault_return(uint64_t far, unsigned result);

#endif
