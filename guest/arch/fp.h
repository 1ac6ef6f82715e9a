/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_FP_H
#define GUEST_ARCH_FP_H

/*
 * FP/SIMD of EL0, switched lazily: a task starts each run with FP trapped at EL0; its first use loads its state, and only then
 * does the switch away from it save. EL1 itself does not use the registers, except to run libfdt at boot.
 */

#include "core/compiler.h"
#include <stdint.h>

struct task;

struct fp_state {
  uint8_t v[32][16] ALIGNED(16);
  uint64_t fpsr, fpcr;
};

void fp_save(struct fp_state *to);
void fp_load(const struct fp_state *from);

/* EL0 traps on FP, EL1 does not. */
void fp_trap_enable(void);
/* The trap: the current task uses FP. */
void fp_trapped(void);
/* The current task leaves this CPU. */
void fp_switch_out(void);
/* Bring the current task's saved state up to date: before fork copies it. */
void fp_sync(void);
/* The current task begins a new program: its state is all zeroes. */
void fp_reset(void);
/* Copy for fork. */
void fp_fork(struct task *child);

#endif
