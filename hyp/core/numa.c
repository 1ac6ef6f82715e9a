/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nodes of memory: what the device tree says of them is judged as a whole, and given to the memory core, which prefers near memory.
 *
 * A tree whose ids make no sense is one without nodes: the machine runs, and one line says why it is slower than it could be. The same for
 * distances: a matrix is taken as a whole or not at all. Entries that give one direction only count for both, as the binding has it; both
 * may be given, and differ. A CPU without an id is one of node 0; a node may have CPUs and no memory.
 *
 * No lock: boot, one CPU. Refuses nothing: what is wrong ends as a warning.
 */
#include "hyp/core/numa.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/machine.h"

#define TRIPLET_BYTES 12u
#define DISTANCE_LOCAL 10u

/* --- distances ------------------------------------------------------------------------------------------------------------------- */

static uint32_t cell(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static bool is_distance(uint32_t from, uint32_t to, uint32_t d) {
  return from == to ? d == DISTANCE_LOCAL : d > DISTANCE_LOCAL && d <= UINT8_MAX;
}

static bool read_triplet(struct numa *numa, const uint8_t *at) {
  uint32_t from = cell(at), to = cell(at + 4), d = cell(at + 8);
  if (from >= NODES_MAX || to >= NODES_MAX || !is_distance(from, to, d) || numa->distance[from][to])
    return false;
  numa->distance[from][to] = (uint8_t)d;
  return true;
}

static void complete(struct numa *numa) {
  for (unsigned from = 0; from < NODES_MAX; from++)
    for (unsigned to = 0; to < NODES_MAX; to++)
      if (!numa->distance[from][to])
        numa->distance[from][to] = numa->distance[to][from];
}

void numa_read_map(struct numa *numa, const uint8_t *matrix, uint32_t bytes) {
  bool good = bytes != 0 && bytes % TRIPLET_BYTES == 0;
  uint32_t at = 0;
  memset(numa->distance, 0, sizeof(numa->distance));
  for (; good && at < bytes; at += TRIPLET_BYTES)
    good = read_triplet(numa, matrix + at);
  if (good) {
    complete(numa);
    return;
  }
  memset(numa->distance, 0, sizeof(numa->distance));
  format(numa->warning, sizeof(numa->warning), "/distance-map: %s: all nodes are equally far",
         at == 0 ? "no matrix of (from, to, distance)" : "an entry is no distance between nodes of ours, or comes twice");
}

/* --- ids ------------------------------------------------------------------------------------------------------------------------- */

static bool is_node(uint32_t id) {
  return id < NODES_MAX || id == NUMA_NONE;
}

static bool refuse(struct machine *m, const char *what, uint64_t at, const char *has) {
  format(m->numa.warning, sizeof(m->numa.warning), "%s %#llx has %s: all memory counts as node 0", what, (unsigned long long)at, has);
  return false;
}

static bool judge_memory(struct machine *m) {
  for (unsigned i = 0; i < m->ram_count; i++) {
    uint64_t at = m->ram[i].start.v << PAGE_SHIFT;
    if (!is_node(m->ram_node[i]))
      return refuse(m, "memory at", at, "a node that cannot be");
    if ((m->ram_node[i] == NUMA_NONE) != (m->ram_node[0] == NUMA_NONE))
      return refuse(m, "memory at", at, "no node, or is the only one that has");
  }
  return true;
}

static bool judge_cpus(struct machine *m) {
  for (unsigned i = 0; i < m->cpu_count; i++)
    if (!is_node(m->cpu_node[i]))
      return refuse(m, "CPU", m->cpu_mpidr[i], "a node that cannot be");
  return true;
}

void numa_settle(struct machine *m) {
  m->numa.known = judge_memory(m) && judge_cpus(m) && m->ram_node[0] != NUMA_NONE;
}

/* --- to the core ----------------------------------------------------------------------------------------------------------------- */

err_t numa_name_memory(const struct machine *m) {
  err_t err = ERR_OK;
  for (unsigned i = 0; m->numa.known && i < m->ram_count && err == ERR_OK; i++)
    err = page_set_node(m->ram[i].start, m->ram[i].end, m->ram_node[i]);
  return err;
}

err_t numa_set_distances(const struct machine *m) {
  err_t err = ERR_OK;
  for (unsigned from = 0; m->numa.known && from < NODES_MAX; from++)
    for (unsigned to = 0; to < NODES_MAX && err == ERR_OK; to++)
      if (m->numa.distance[from][to])
        err = page_set_distance(from, to, m->numa.distance[from][to]);
  return err;
}

err_t numa_set_cpu(const struct machine *m, unsigned cpu, uint64_t mpidr) {
  for (unsigned i = 0; m->numa.known && i < m->cpu_count; i++)
    if (m->cpu_mpidr[i] == mpidr && m->cpu_node[i] != NUMA_NONE)
      return page_set_cpu_node(cpu, m->cpu_node[i]);
  return ERR_OK;
}
