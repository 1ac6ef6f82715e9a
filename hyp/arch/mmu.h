/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_MMU_H
#define HYP_ARCH_MMU_H

/* EL2's own stage 1. RAM and devices are mapped one to one (VA = PA). */

#include "core/err.h"
#include "core/types.h"

/*
 * Turn MMU and caches on over a coarse map: the 1 GiB blocks around the image, the device tree and the UART. Boot CPU, MMU off.
 * ERR_RANGE if they do not lie in one 512 GiB region.
 */
MUST_CHECK err_t mmu_enable_early(pa_t dtb, pa_t uart);

/* Add RAM [start, end) to the early map, by whole GiB. ERR_RANGE outside its 512 GiB region. */
MUST_CHECK err_t mmu_extend_early(pa_t start, pa_t end);

/*
 * Replace it by the final map, after the allocator is up: call these in order, then mmu_switch(). Page-aligned ranges; ERR_NOMEM,
 * ERR_EXIST.
 */
MUST_CHECK err_t mmu_build_image(void);
/* RAM [start, end) read-write, never executable, less the image's own pages. */
MUST_CHECK err_t mmu_build_ram(pa_t start, pa_t end);
MUST_CHECK err_t mmu_build_device(pa_t start, uint64_t bytes);
void mmu_switch(void);

/* Pages of EL2's stacks for CPU `id` > 0, with a guard page below each: top of the stack. */
uint8_t *mmu_stack_top(unsigned id);

extern char image_start[], text_end[], rodata_end[], data_end[], bss_start[], bss_end[];

#endif
