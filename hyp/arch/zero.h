/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_ZERO_H
#define HYP_ARCH_ZERO_H

/*
 * Zeroing by DC ZVA, and cleaning to the point of coherency. `bytes` is a multiple of 4 KiB and `to` is 4 KiB aligned, so that any block
 * size DCZID_EL0.BS allows (at most 2 KiB) divides it.
 */

#include "arch/barrier.h"
#include "arch/zva.h"
#include "core/types.h"

/* Are zva_zero_page() and zva_zero_clean_page() for this machine? Constant after cache_init(). */
extern bool zero_by_zva, zero_clean_by_zva;

/* Zero. Memory must be Normal (DC ZVA on Device memory faults). */
void zero_lines(void *to, uint64_t bytes);
/* The same for one page, in line. */
static ALWAYS_INLINE void zero_page(void *page) {
  if (likely(zero_by_zva))
    zva_zero_page(page);
  else
    zero_lines(page, PAGE_SIZE);
}

/* Zero and clean each line to the PoC: for a guest that may look past the caches. */
void zero_lines_poc(void *to, uint64_t bytes);
static ALWAYS_INLINE void zero_page_poc(void *page) {
  if (unlikely(!zero_clean_by_zva)) {
    zero_lines_poc(page, PAGE_SIZE);
    return;
  }
  zva_zero_clean_page(page);
  dsb(ish);
}
/* Clean [from, from + bytes) to the PoC (DC CVAC), ending with DSB ISH. */
void cache_clean_poc(const void *from, uint64_t bytes);
/* Clean and invalidate the same (DC CIVAC): what is read next comes from memory, where a guest may have written past the caches. */
void cache_clean_invalidate_poc(const void *from, uint64_t bytes);
/* Copy one page, 4 KiB aligned both. */
void copy_page(void *to, const void *from);
/* The same, and clean what was written to the PoC. */
void copy_page_poc(void *to, const void *from);
/* Learn line and ZVA block sizes of this machine; before the first use. */
void cache_init(void);

#endif
