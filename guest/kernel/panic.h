/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_PANIC_H
#define GUEST_KERNEL_PANIC_H

#include "core/compiler.h"
#include <stdint.h>

struct trap_frame;

/* Say why, with the current task and a back trace, and switch the machine off. */
NORETURN void panic(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The same for an exception the kernel should not have taken. */
NORETURN void panic_exception(const char *what, const struct trap_frame *f, uint64_t esr, uint64_t far);

/* A short text for an ESR's exception class and, for aborts, its fault status. Into `to`, returns `to`. */
const char *esr_describe(uint64_t esr, char *to, uint64_t cap);
void print_registers(const struct trap_frame *f);

#endif
