/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proof at compile time that the offsets assembly uses are those of the structures.
 */
#include "hyp/arch/offsets.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vcpu.h"

_Static_assert(offsetof(struct vcpu, x) == VCPU_X0, "x0");
_Static_assert(offsetof(struct vcpu, x[30]) == VCPU_X30, "x30");
_Static_assert(offsetof(struct vcpu, el2_stack) == VCPU_EL2_STACK, "el2_stack");
_Static_assert(offsetof(struct vcpu, requests) == VCPU_REQUESTS, "requests");
_Static_assert(offsetof(struct cpu, stack_top) == CPU_STACK_TOP, "stack_top");
_Static_assert(offsetof(struct cpu, current) == CPU_CURRENT, "current");
_Static_assert(offsetof(struct cpu, emergency) == CPU_EMERGENCY, "emergency");
_Static_assert(EL2_STACKS == CPUS_MAX + 2, "stacks");
