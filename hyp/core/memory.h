/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_MEMORY_H
#define HYP_CORE_MEMORY_H

/* Boot: from the machine's memory ranges to a running allocator and EL2's final map. */

#include "core/err.h"
#include "hyp/core/machine.h"

/*
 * Take `bytes` (rounded up to 2 MiB) from the top of the largest bank, clear of everything reserved, and reserve it in `m`. ERR_NOMEM if it
 * does not fit.
 */
MUST_CHECK err_t memory_carve(struct machine *m, uint64_t bytes, pa_t *out);

/* Reserve the image and the scenario, place the frame table, start the allocator. */
MUST_CHECK err_t memory_init(struct machine *m);

/* Build EL2's final stage 1 over all RAM and the devices, and switch to it. */
MUST_CHECK err_t memory_map_all(const struct machine *m);

#endif
