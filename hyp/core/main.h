/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_MAIN_H
#define HYP_CORE_MAIN_H

/* C entry points, called by start.S. */

#include "core/compiler.h"
#include "core/types.h"

struct cpu;

NORETURN void hyp_main(const void *dtb);
NORETURN void hyp_secondary_main(struct cpu *c);
NORETURN void boot_wrong_el(uint64_t el);

#endif
