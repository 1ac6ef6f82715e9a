/* SPDX-License-Identifier: BSD-2-Clause */
/* What libfdt, built with the stack protector, expects of its C library. This kernel's own code is built without. */
#include "guest/kernel/panic.h"

extern uint64_t __stack_chk_guard;
void __stack_chk_fail(void);

uint64_t __stack_chk_guard = 0x00736c7569636500; /* a zero byte at both ends stops string overruns */

void __stack_chk_fail(void) {
  panic("stack overrun in libfdt");
}
