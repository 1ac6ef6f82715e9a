/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_SAMPLE_H
#define HYP_CTL_SAMPLE_H

/* Samples of who has how much memory, as trace records of group `sample`, for tools/experiment-report. */

#include "abi/trace.h"
#include "core/types.h"

/* Once, at boot, after work_init(): every `period_ms` from now on; 0: never. */
void sample_start(uint32_t period_ms);

/* Put a name at this moment, for plots: the first 32 bytes of `name`. Nothing if group `sample` is off. From EL2 work. */
void sample_mark(enum trace_mark what, const char *name);

#endif
