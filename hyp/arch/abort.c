/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ends of the line: a broken invariant of ours, and the stack protector that the distribution's libfdt was compiled with.
 */
#include "core/check.h"
#include "core/types.h"
#include "hyp/ctl/ctl.h"

uintptr_t __stack_chk_guard = 0x5afec0de5afec0deul;
NORETURN void __stack_chk_fail(void);

void __stack_chk_fail(void) {
  check_failed("stack protector", "libfdt", 0);
}
