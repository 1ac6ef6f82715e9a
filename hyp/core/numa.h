/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_NUMA_H
#define HYP_CORE_NUMA_H

/*
 * What the device tree says about nodes of memory (Linux Documentation/devicetree/bindings/numa.txt): `numa-node-id` of memory and CPU
 * nodes, and /distance-map. machine.c collects, numa_settle() judges, the rest hands it to the memory core.
 */

#include "core/err.h"
#include "core/types.h"
#include "mm/page_alloc.h"

#define NUMA_NONE (~(uint32_t)0)    /* no numa-node-id */
#define NUMA_BAD (~(uint32_t)0 - 1) /* one that is no single cell */
#define NUMA_WARNING_MAX 120u

struct machine;

struct numa {
  bool known;                             /* memory has nodes; else all is node 0 */
  uint8_t distance[NODES_MAX][NODES_MAX]; /* 0: the core's default */
  char warning[NUMA_WARNING_MAX];         /* what could not be used, and why; empty: nothing */
};

/* A distance-matrix: `bytes` of big-endian triplets (from, to, distance). What is wrong with it makes a warning, and no distance counts. */
void numa_read_map(struct numa *numa, const uint8_t *matrix, uint32_t bytes);
/*
 * All has been read: are the ids of memory and CPUs ones that the core can have, and has either every bank of memory one or none? If not, a
 * warning, and the machine has no nodes.
 */
void numa_settle(struct machine *m);

/* Before page_alloc_init(). */
MUST_CHECK err_t numa_name_memory(const struct machine *m);
/* After it, before any other CPU allocates. */
MUST_CHECK err_t numa_set_distances(const struct machine *m);
/* CPU `cpu` of ours, of this affinity: before it allocates. */
MUST_CHECK err_t numa_set_cpu(const struct machine *m, unsigned cpu, uint64_t mpidr);

#endif
