/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_ZVA_H
#define ARCH_ZVA_H

/*
 * Zeroing a page by DC ZVA, for both kernels. DC ZVA zeroes the naturally aligned block of DCZID_EL0.BS that holds the address (Arm ARM
 * C5.3.8) and has no post-indexed form, so a line costs the instruction and an addition: 127 for a page, straight through, no loop (191 if
 * each is cleaned).
 *
 * The callers ask DCZID_EL0 once, and come here only if DZP is clear and the block is ZVA_BYTES.
 */

#include "core/bits.h"
#include "core/compiler.h"

#define ZVA_BYTES 64u

/* Does DCZID_EL0, as read, allow zva_zero_page()? */
static inline bool zva_is_usable(uint64_t dczid) {
  return (dczid & GENMASK(4, 0)) == 4; /* DZP (bit 4) clear; BS, the block's words as a power of two */
}

/* Zero 4 KiB of Normal memory at a 4 KiB boundary. No barrier: DC ZVA is ordered as stores are. */
static ALWAYS_INLINE void zva_zero_page(void *page) {
  __asm__ volatile(".rept 63\n\tdc zva, %0\n\tadd %0, %0, %1\n\t.endr\n\tdc zva, %0" : "+r"(page) : "I"(ZVA_BYTES) : "memory");
}

/* The same, each line cleaned to the point of coherency (DC CVAC): only where a cache line is ZVA_BYTES too. Complete after a DSB. */
static ALWAYS_INLINE void zva_zero_clean_page(void *page) {
  __asm__ volatile(".rept 63\n\tdc zva, %0\n\tdc cvac, %0\n\tadd %0, %0, %1\n\t.endr\n\tdc zva, %0\n\tdc cvac, %0"
                   : "+r"(page)
                   : "I"(ZVA_BYTES)
                   : "memory");
}

#endif
