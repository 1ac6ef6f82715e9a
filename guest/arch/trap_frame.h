/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_TRAP_FRAME_H
#define GUEST_ARCH_TRAP_FRAME_H

/* What an exception pushes. The frame of the exception that left EL0 stands at the very top of the task's block. */

#include "guest/arch/layout.h"
#include <stddef.h>
#include <stdint.h>

struct trap_frame {
  uint64_t x[31];
  uint64_t elr, spsr;
  uint64_t pad;
};

_Static_assert(offsetof(struct trap_frame, x[30]) == FRAME_LR, "layout.h");
_Static_assert(offsetof(struct trap_frame, elr) == FRAME_ELR, "layout.h");
_Static_assert(offsetof(struct trap_frame, spsr) == FRAME_SPSR, "layout.h");
_Static_assert(sizeof(struct trap_frame) == FRAME_BYTES, "layout.h");

#endif
