/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Laying out physical memory at boot. What EL2 keeps for itself in bulk (frame table, trace area) comes from the top of the largest bank,
 * untouched: its cost is paid when it is first used.
 */
#include "hyp/core/memory.h"
#include "core/bits.h"
#include "hyp/arch/mmu.h"
#include "mm/frame.h"

static const struct mem_range *largest_bank(const struct machine *m) {
  const struct mem_range *best = &m->ram[0];
  for (unsigned i = 1; i < m->ram_count; i++)
    if (m->ram[i].end.v - m->ram[i].start.v > best->end.v - best->start.v)
      best = &m->ram[i];
  return best;
}

static const struct mem_range *overlapping(const struct machine *m, uint64_t start, uint64_t end) {
  for (unsigned i = 0; i < m->reserved_count; i++)
    if (m->reserved[i].start.v << PAGE_SHIFT < end && m->reserved[i].end.v << PAGE_SHIFT > start)
      return &m->reserved[i];
  return NULL;
}

err_t memory_carve(struct machine *m, uint64_t bytes, pa_t *out) {
  const struct mem_range *bank = largest_bank(m);
  uint64_t bottom = bank->start.v << PAGE_SHIFT, top = bank->end.v << PAGE_SHIFT;
  bytes = align_up(bytes, SZ_2M);
  while (top >= bottom + bytes + SZ_2M) {
    uint64_t start = align_down(top - bytes, SZ_2M);
    const struct mem_range *other = overlapping(m, start, start + bytes);
    if (!other) {
      *out = pa(start);
      return machine_reserve(m, pa(start), pa(start + bytes));
    }
    top = other->start.v << PAGE_SHIFT;
  }
  return ERR_NOMEM;
}

err_t memory_init(struct machine *m) {
  pa_t table;
  err_t err = memory_carve(m, frame_table_bytes(m->ram, m->ram_count), &table);
  if (err == ERR_OK)
    err = numa_name_memory(m);
  if (err == ERR_OK)
    err = page_alloc_init(m->ram, m->ram_count, m->reserved, m->reserved_count, (void *)table.v);
  return err == ERR_OK ? numa_set_distances(m) : err;
}

err_t memory_map_all(const struct machine *m) {
  err_t err = mmu_build_image();
  for (unsigned i = 0; i < m->ram_count && err == ERR_OK; i++)
    err = mmu_build_ram(pfn_pa(m->ram[i].start), pfn_pa(m->ram[i].end));
  if (err == ERR_OK)
    err = mmu_build_device(m->gic.dist, m->gic.dist_bytes);
  if (err == ERR_OK)
    err = mmu_build_device(m->gic.redist, m->gic.redist_bytes);
  if (err == ERR_OK)
    err = mmu_build_device(m->uart, PAGE_SIZE);
  if (err == ERR_OK)
    mmu_switch();
  return err;
}
