/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VICTIM_VICTIM_H
#define VICTIM_VICTIM_H

#include "core/types.h"

/* Share a page with VM `to`, and lend it another. FFA_SUCCESS_32, or what the last call answered. */
uint32_t victim_give(uint16_t to);

#endif
