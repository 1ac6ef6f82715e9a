/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_CONSOLE_H
#define GUEST_KERNEL_CONSOLE_H

/* The console as the kernel and processes write it. One call's text is never cut by another CPU's. */

#include "core/compiler.h"
#include <stdint.h>

void console_write(const char *s, uint64_t bytes);
/* A line of the kernel's own, with "guest: " in front; cut at 255 characters. The caller ends it with a newline. */
void kprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The same without the prefix: the further lines of a report. */
void kprintf_more(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Take at most `cap` bytes of what was typed, on whichever console; 0 if there are none. sched_lock may be held. */
uint64_t console_read(char *to, uint64_t cap);
/* From now on nobody waits for the console's lock: the panic report must come out. */
void console_break_lock(void);

#endif
