/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_EXCEPTION_H
#define GUEST_ARCH_EXCEPTION_H

/* What vectors.S calls. */

#include "core/compiler.h"
#include <stdint.h>

struct trap_frame;

void exception_el0_abort(struct trap_frame *f, uint64_t esr, uint64_t far);
void exception_el0_sync(struct trap_frame *f, uint64_t esr, uint64_t far);
void exception_el0_serror(struct trap_frame *f, uint64_t esr);
void exception_el1_sync(struct trap_frame *f, uint64_t esr, uint64_t far);
NORETURN void exception_bad(struct trap_frame *f, unsigned vector);
/* Whatever task->work asks for, before EL0 goes on. */
void task_do_work(void);

#endif
