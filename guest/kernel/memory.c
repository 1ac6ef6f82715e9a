/* SPDX-License-Identifier: BSD-2-Clause */
/* The hand-over of RAM from the boot loader's view to the memory core. Runs once, on the boot CPU. */
#include "guest/kernel/memory.h"

#include "core/bits.h"
#include "guest/arch/cpu.h"
#include "guest/arch/machine.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/virtio/balloon.h"
#include "guest/kernel/irq.h"
#include "guest/vm/vm.h"
#include "mm/page_alloc.h"

extern char __image_start[], __image_end[];

static err_t reserve_pa(struct machine *m, uint64_t start, uint64_t end) {
  if (m->reserved_count == MACHINE_RESERVED_MAX)
    return ERR_NOSPC;
  m->reserved[m->reserved_count++] = (struct mem_range){pfn(start >> PAGE_SHIFT), pfn(align_up(end, PAGE_SIZE) >> PAGE_SHIFT)};
  return ERR_OK;
}

/* The first reserved range that meets [start, end), or NULL. */
static const struct mem_range *overlap(const struct machine *m, uint64_t start, uint64_t end) {
  for (unsigned i = 0; i < m->reserved_count; i++)
    if (m->reserved[i].start.v < end && start < m->reserved[i].end.v)
      return &m->reserved[i];
  return NULL;
}

/* Lowest free run of `frames` in `r`; PFN_NONE. Steps over one reserved range at a time, upwards, so it ends. */
static pfn_t find_in(const struct machine *m, struct mem_range r, uint64_t frames) {
  uint64_t at = r.start.v;
  while (at + frames <= r.end.v) {
    const struct mem_range *hit = overlap(m, at, at + frames);
    if (hit == NULL)
      return pfn(at);
    at = hit->end.v;
  }
  return PFN_NONE;
}

static pfn_t find_room(const struct machine *m, uint64_t frames) {
  for (unsigned i = 0; i < m->ram_count; i++) {
    pfn_t f = find_in(m, m->ram[i], frames);
    if (!pfn_is_none(f))
      return f;
  }
  return PFN_NONE;
}

static err_t map_all(const struct machine *m) {
  err_t e = ERR_OK;
  for (unsigned i = 0; e == ERR_OK && i < m->ram_count; i++)
    e = mmu_boot_map(pfn_pa(m->ram[i].start), (m->ram[i].end.v - m->ram[i].start.v) << PAGE_SHIFT);
  return e;
}

/*
 * The window for what other VMs hand over is in the frame table like RAM, so that pages which are donated can become RAM; but all of it is
 * handed out at once: what is not there is nobody's to have. False: no window, or none that fits.
 */
static bool window_is_sound(const struct machine *m) {
  uint64_t end = m->window.v + m->window_bytes;
  return m->window_bytes != 0 && is_aligned(m->window.v | m->window_bytes, SZ_2M) && end > m->window.v && m->ram_count < MACHINE_RAM_MAX &&
         m->window.v >= pfn_pa(m->ram[m->ram_count - 1].end).v;
}

static void add_window(struct machine *m) {
  if (window_is_sound(m))
    m->ram[m->ram_count++] = (struct mem_range){pa_pfn(m->window), pfn((m->window.v + m->window_bytes) >> PAGE_SHIFT)};
  else
    m->window_bytes = 0;
}

static err_t withdraw_window(const struct machine *m) {
  for (uint64_t at = 0; at < m->window_bytes; at += SZ_2M) {
    pfn_t f = pa_pfn(pa(m->window.v + at));
    err_t e = page_alloc_at(f, PAGEBLOCK_ORDER, ALLOC_RETURN_CORE);
    if (e != ERR_OK)
      return e;
    frame_split_block(f, PAGEBLOCK_ORDER, 0);
  }
  return ERR_OK;
}

/*
 * The kernel runs with interrupts masked, so direct compaction looks for them between two pieces. What can be done ahead is done by idle
 * CPUs (sched.c). There is no zeroed pool: frames zeroed ahead would be backed by the hypervisor before anybody wants them.
 */
static const struct page_alloc_ops alloc_ops = {
    .reclaim = balloon_reclaim,
    .relax = irq_poll,
};

err_t memory_init(struct machine *m) {
  add_window(m);
  err_t e = map_all(m);
  if (e == ERR_OK)
    e = reserve_pa(m, image_pa(__image_start).v, image_pa(__image_end).v);
  if (e != ERR_OK)
    return e;
  uint64_t table_bytes = align_up(frame_table_bytes(m->ram, m->ram_count), PAGE_SIZE);
  pfn_t table = find_room(m, table_bytes >> PAGE_SHIFT);
  if (pfn_is_none(table))
    return ERR_NOMEM;
  e = reserve_pa(m, pfn_pa(table).v, pfn_pa(table).v + table_bytes);
  if (e == ERR_OK)
    e = page_alloc_init(m->ram, m->ram_count, m->reserved, m->reserved_count, linear_va(pfn_pa(table)));
  if (e != ERR_OK)
    return e;
  page_set_alloc_ops(&alloc_ops);
  e = withdraw_window(m);
  if (e == ERR_OK)
    e = mmu_init(m);
  m->ram_count -= m->window_bytes != 0; /* it is mapped, and in the frame table: to everybody else it is no RAM */
  return e == ERR_OK ? vm_init(cpu_features.asid_bits) : e;
}
