/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_AGE_H
#define HYP_MEM_AGE_H

/* Working sets: how much of its memory a VM has touched lately, by the access flags of its stage 2. */

#include "core/types.h"

struct vm;

/* Once, at boot, after work_init(); it is off. */
void age_init(void);
/* Look at every VM's memory every `period_ms` from now on (1 or more); off again. CPU 0. */
void age_on(uint32_t period_ms);
void age_off(void);
/* The period in ms; 0: off. */
uint32_t age_period_ms(void);

/*
 * Frames of `vm` that were accessed between its last two passes; false if there were no two yet, or it cannot be known: a VM with
 * trap-stage1-faults runs on copies of its stage 2 (view.h), whose flags nobody gathers. A block of 2 MiB counts whole.
 */
bool age_working_set(const struct vm *vm, uint64_t *frames);

/* What a VM keeps for it; zero in a new one. Its work only, but for `working_set` and `passes`, which anybody may glimpse. */
struct age {
  uint64_t offset;      /* in its RAM: where the pass has come to */
  uint64_t young;       /* frames found accessed in this pass so far */
  uint64_t passes;      /* ended */
  uint64_t working_set; /* frames, of the last pass */
};

#endif
