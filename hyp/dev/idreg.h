/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_IDREG_H
#define HYP_DEV_IDREG_H

/* What guests see of the ID registers: op0 = 3, op1 = 0, CRn = 0, CRm 0..7. */

#include <stdint.h>

#define IDREG_COUNT 64u
#define IDREG_INDEX(crm_, op2_) ((crm_) << 3 | (op2_))

/* The allow-list, pure: what a guest sees of a register whose hardware value is `hardware`. 0 for registers that are not on it. */
uint64_t idreg_filter(unsigned index, uint64_t hardware);

#endif
