/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_FAR_H
#define HYP_ARCH_FAR_H

/*
 * Addresses behind .bss. The hypervisor is compiled for the tiny code model, one instruction for an address within 1 MiB; stacks and early
 * tables (.noinit) and the end of the image may lie further off, and are reached by ADRP (4 GiB).
 */

#include "core/types.h"
#include "hyp/arch/offsets.h"

#define FAR_SYMBOL(name_)                                                                                                                  \
  static inline uint64_t name_##_address(void) {                                                                                           \
    uint64_t address;                                                                                                                      \
    __asm__("adrp %0, " #name_ "\n\tadd %0, %0, :lo12:" #name_ : "=r"(address));                                                           \
    return address;                                                                                                                        \
  }

FAR_SYMBOL(image_end)    /* hyp.lds.S */
FAR_SYMBOL(early_tables) /* start.S: two tables of 4 KiB */
FAR_SYMBOL(stacks)       /* start.S: EL2_STACKS times a guard page, and EL2_STACK_BYTES above it */

/* Top of stack `i`: 0 is the boot CPU's until it has its own, 1 is for what cannot trust its stack, 2 + id that of a CPU. */
static inline uint64_t stack_top_address(unsigned i) {
  return stacks_address() + (uint64_t)(i + 1) * (EL2_STACK_BYTES + 4096);
}

#endif
