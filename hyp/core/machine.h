/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_MACHINE_H
#define HYP_CORE_MACHINE_H

/* The physical machine as its device tree describes it. Read once at boot; nothing points into the tree afterwards. */

#include "core/err.h"
#include "core/types.h"
#include "hyp/arch/gic.h"
#include "hyp/core/cpu.h"
#include "hyp/core/numa.h"
#include "mm/page_alloc.h"

#define MACHINE_RAM_MAX 16u
#define MACHINE_RESERVED_MAX 32u
#define MACHINE_ERROR_MAX 120u

struct machine {
  struct mem_range ram[MACHINE_RAM_MAX]; /* sorted, disjoint */
  uint32_t ram_node[MACHINE_RAM_MAX];    /* numa-node-id of each, NUMA_NONE if it has none */
  unsigned ram_count;
  struct mem_range reserved[MACHINE_RESERVED_MAX];
  unsigned reserved_count;
  uint64_t cpu_mpidr[CPUS_MAX];
  uint32_t cpu_node[CPUS_MAX];
  unsigned cpu_count;
  struct numa numa;
  struct gic_layout gic;
  pa_t uart;
  unsigned uart_intid;
  pa_t initrd_start, initrd_end; /* equal: none */
  bool interactive;              /* bootargs say so */
  uint8_t rng_seed[32];          /* what /chosen/rng-seed holds, folded; 0 without it */
};

/*
 * ERR_INVAL with `error` in words if the tree is broken, or has no memory or no GICv3; what it says of nodes and cannot be is a warning in
 * m->numa. The caller is in an FP section (libfdt).
 */
MUST_CHECK err_t machine_read(const void *dtb, struct machine *m, char error[MACHINE_ERROR_MAX]);
uint64_t machine_ram_bytes(const struct machine *m);
/* Frames from the first of the first bank to the last of the last, holes included. */
uint64_t machine_frame_span(const struct machine *m);
/* ERR_NOSPC when MACHINE_RESERVED_MAX is reached. */
MUST_CHECK err_t machine_reserve(struct machine *m, pa_t start, pa_t end);

#endif
