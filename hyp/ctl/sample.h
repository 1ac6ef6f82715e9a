/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_SAMPLE_H
#define HYP_CTL_SAMPLE_H

/* Samples of who has how much memory, as trace records of group `sample`, for tools/experiment-report. */

#include "core/types.h"

/* Once, at boot, after work_init(): every `period_ms` from now on; 0: never. */
void sample_start(uint32_t period_ms);

#endif
