/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The writer: the one place that decides how a descriptor may become another, and the life of table frames.
 *
 * A valid descriptor is never replaced by another valid one with a different output, size or memory type: it is made invalid, the TLB is
 * made to forget it, and only then the new one is written (Arm ARM D8.14.1). Hardware may set AF and dirty state in a valid leaf at any
 * moment, so a valid leaf is only ever left by compare-and-swap, and what was swapped out is the last word on it.
 *
 * Tables come from a pool that was filled before the first write (reserve, then commit) and go back only after the flush of whatever
 * pointed to them.
 */
#include "core/check.h"
#include "mm/pgtable_priv.h"

NOINLINE void pt_report_write(struct pt *pt, const uint64_t *entry, uint64_t old, uint64_t desc, uint64_t where) {
  uint64_t address = pfn_pa(port_ptr_frame(entry)).v | ((uintptr_t)entry & (PAGE_SIZE - 1));
  port_event(MM_EVENT_PTE_WRITE, address, old, desc, where, (uint64_t)pt->id << 32 | pt->seq);
}

/*
 * Break-before-make is due between two valid descriptors that differ in more than DESC_SOFT. With FEAT_BBM level 2 a leaf may give way to
 * a table of the same.
 */
static bool needs_break(const struct pt *pt, uint64_t old, uint64_t desc, unsigned shift) {
  if (!desc_is_valid(old) || !desc_is_valid(desc))
    return false;
  if ((pt->features & PT_FEAT_BBM2) && desc_is_table(old, shift) != desc_is_table(desc, shift))
    return false;
  return (old ^ desc) & ~DESC_SOFT;
}

uint64_t pt_replace(struct pt *pt, uint64_t *entry, uint64_t desc, uint64_t ia, unsigned shift) {
  uint64_t old = port_pte_load(entry);
  if (needs_break(pt, old, desc, shift)) {
    old = pt_clear(pt, entry, ia, shift);
    pt->ops->tlb_flush(pt, align_down(ia, BIT(shift)), BIT(shift), shift_level(shift), desc_is_table(old, shift));
    pt_fill(pt, entry, desc, ia, shift);
    return old;
  }
  while (!port_pte_cas(entry, old, desc))
    old = port_pte_load(entry);
  pt_note_write(pt, entry, old, desc, ia, shift);
  return old;
}

bool pt_update(struct pt *pt, uint64_t *entry, uint64_t old, uint64_t desc, uint64_t ia, unsigned shift) {
  return pt_update_inline(pt, entry, old, desc, ia, shift);
}

/* ---- Tables ---- */

err_t pool_fill(struct pt *pt, struct pt_pool *pool, unsigned count) {
  while (pool->count < count) {
    pfn_t table;
    err_t err = pt->ops->table_alloc(pt, &table);
    if (err != ERR_OK) {
      pool_drain(pt, pool);
      return err;
    }
    frame_of(table)->next = pool->count ? (uint32_t)(pool->head.v - frame_base_pfn) : FRAME_LINK_NONE;
    pool->head = table;
    pool->count++;
  }
  return ERR_OK;
}

static pfn_t pool_pop(struct pt_pool *pool) {
  pfn_t table = pool->head;
  CHECK(pool->count > 0);
  if (--pool->count > 0)
    pool->head = pfn(frame_base_pfn + frame_of(table)->next);
  frame_of(table)->next = FRAME_LINK_NONE;
  return table;
}

void pool_drain(struct pt *pt, struct pt_pool *pool) {
  while (pool->count > 0)
    pt->ops->table_free(pt, pool_pop(pool));
}

pfn_t pool_take(struct pt *pt, struct pt_pool *pool, uint64_t ia, unsigned shift) {
  pfn_t table = pool_pop(pool);
  pt_table_opened(pt, table, ia, shift);
  return table;
}

void pt_table_opened(struct pt *pt, pfn_t table, uint64_t ia, unsigned shift) {
  frame_of(table)->refs = 0;
  pt->table_frames++;
  if (unlikely(port_event_on(MM_EVENT_TABLE_ALLOC)))
    port_event(MM_EVENT_TABLE_ALLOC, table.v, shift_level(shift), align_down(ia, BIT(shift + TABLE_BITS)), 0, (uint64_t)pt->id << 32);
}

void pt_table_free(struct pt *pt, pfn_t table) {
  pt->table_frames--;
  if (unlikely(port_event_on(MM_EVENT_TABLE_FREE)))
    port_event(MM_EVENT_TABLE_FREE, table.v, 0, 0, 0, (uint64_t)pt->id << 32);
  if (pt->kept_refs == &frame_of(table)->refs)
    pt->kept_refs = NULL;
  frame_of(table)->refs = 0;
  pt->ops->table_free(pt, table);
}
