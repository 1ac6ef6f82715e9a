/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_COMPACTD_H
#define GUEST_KERNEL_COMPACTD_H

#include "core/err.h"

/* Start what the bootargs `compact=` and `shuffle=` ask for. ERR_NOMEM. */
MUST_CHECK err_t compactd_start(void);
/* The line of what they did; none if there were none. */
void compactd_report(void);

#endif
