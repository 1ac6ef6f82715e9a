/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_OFFSETS_H
#define HYP_ARCH_OFFSETS_H

/* Structure offsets that assembly uses; hyp/arch/offsets.c proves them against the structures. */

#define VCPU_X0 0
#define VCPU_X30 240
#define VCPU_EL2_STACK 248
#define VCPU_REQUESTS 256
#define CPU_STACK_TOP 0
#define CPU_CURRENT 8
#define CPU_EMERGENCY 16

#define EL2_STACK_BYTES 16384
#define EL2_STACKS 18 /* boot, emergency, CPUS_MAX */

#endif
