/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_POWEROFF_H
#define GUEST_KERNEL_POWEROFF_H

#include "core/compiler.h"
#include <stdint.h>

/* Tell Sluice how this guest ended: 0 passed, anything else failed. Nothing happens elsewhere. */
void report_verdict(uint64_t status);
/* init is gone with the wait status `status`: last report, verdict, and the machine off (unless `poweroff=off`). */
NORETURN void machine_finish(int32_t status);

#endif
