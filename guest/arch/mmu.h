/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_MMU_H
#define GUEST_ARCH_MMU_H

/* The kernel's own tables, TTBR0, and the two ways from a physical to a virtual address. */

#include "core/err.h"
#include "core/types.h"
#include "guest/arch/layout.h"

struct machine;
struct mm_struct;

static inline void *linear_va(pa_t a) {
  return (void *)(LINEAR_BASE + a.v);
}

/* Of an address in the linear map. */
static inline pa_t linear_pa(const void *p) {
  return pa((uint64_t)p - LINEAR_BASE);
}

/* Of an address within the kernel's image. */
pa_t image_pa(const void *symbol);

/*
 * While the boot tables are in use: make [start, start + bytes) reachable through the linear map, in blocks of 2 MiB or 1 GiB, which may
 * reach over its ends. ERR_NOSPC if it lies too scattered.
 */
MUST_CHECK err_t mmu_boot_map(pa_t start, uint64_t bytes);

/* Remember where the image was loaded. First of all. */
void mmu_early_init(pa_t image_base);

/*
 * Replace the boot tables by the real ones: image with its permissions, all RAM of `m` in the linear map (image's text and rodata
 * read-only there too). Needs page_alloc(). ERR_NOMEM.
 */
MUST_CHECK err_t mmu_init(const struct machine *m);

/* Map `bytes` of device registers at `a` into the linear map. ERR_EXIST if they are. */
MUST_CHECK err_t mmu_map_device(pa_t a, uint64_t bytes);

/* The inverse, of exactly what was mapped. */
void mmu_unmap_device(pa_t a, uint64_t bytes);

/*
 * For guest/kernel/probe.c: hang `table`, contents unseen, into the kernel's tables as a level-2 table and return an address it translates;
 * then take it out again. What it holds must be no valid entries.
 */
const void *mmu_hang_table(pfn_t table);
void mmu_drop_table(void);

/* TTBR0: run in `mm`, or in nothing (NULL). */
void mmu_switch_mm(struct mm_struct *mm);

uint64_t mmu_kernel_ttbr(void);

#endif
