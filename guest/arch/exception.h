/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_EXCEPTION_H
#define GUEST_ARCH_EXCEPTION_H

/* What vectors.S calls. */

#include "core/compiler.h"
#include "guest/vm/vm.h"
#include <stdint.h>

struct trap_frame;

/*
 * Aborts of EL0: enum vm_fault, 0 to retry the access. What is refused goes to the third, which returns only for want of memory: to retry,
 * or to do task->work.
 */
enum vm_fault exception_el0_data_abort(uint64_t esr, uint64_t far);
enum vm_fault exception_el0_fetch_abort(uint64_t esr, uint64_t far);
void exception_el0_refused(struct trap_frame *f, enum vm_fault why);
void exception_el0_sync(struct trap_frame *f, uint64_t esr, uint64_t far);
void exception_el0_serror(struct trap_frame *f, uint64_t esr);
void exception_el1_sync(struct trap_frame *f, uint64_t esr, uint64_t far);
NORETURN void exception_bad(struct trap_frame *f, unsigned vector);
/* Whatever task->work asks for, before EL0 goes on. */
void task_do_work(void);

#endif
