/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Poison: freed frames are filled with a pattern, and looked at when they are handed out again; a write through a stale pointer is found
 * then.
 *
 * A frame that holds the pattern says so in `private` of its own entry, heads and tails alike: the number of this round of poisoning. So
 * what was freed before, or has been handed out since, is not looked at, and what memory holds decides nothing. While it is on, the per-CPU
 * lists are not used and every pageblock that comes back has its entries written.
 *
 * Takes a zone's lock to write entries. Refuses, by CHECK that names frame and offset, to hand out a frame that was written to.
 */
#include "core/check.h"
#include "core/string.h"
#include "mm/zone.h"

#define PATTERN ((uint64_t)0xaaaaaaaaaaaaaaaa)

uint32_t poison_generation;
static uint32_t generations;

void page_poison_enable(bool on) {
  percpu_set_enabled(!on);
  poison_generation = on ? 0x50000000u | ++generations : 0;
  page_drain_local();
  (void)page_drain_others();
}

uint32_t page_poison_value(void) {
  return poison_generation != 0 ? (uint32_t)PATTERN : 0;
}

/* Digits of `value` over the ones at `to`. */
static void put_hex(char *to, unsigned digits, uint64_t value) {
  for (; digits-- != 0; value >>= 4)
    to[digits] = "0123456789abcdef"[value & 15];
}

#define WHAT_FRAME "poison: frame 0x"
#define WHAT_OFFSET " was written to after it was freed, at offset 0x"

static NORETURN void refuse(uint32_t index, size_t word) {
  static char what[] = WHAT_FRAME "0000000000" WHAT_OFFSET "000";
  put_hex(what + sizeof(WHAT_FRAME) - 1, 10, index_pfn(index).v);
  put_hex(what + sizeof(what) - 4, 3, word * sizeof(uint64_t));
  check_failed(what, __FILE__, __LINE__);
}

static void check_frame(uint32_t index) {
  const uint64_t *at = port_frame_ptr(index_pfn(index));
  for (size_t i = 0; i < PAGE_SIZE / sizeof(*at); i++) {
    if (at[i] != PATTERN)
      refuse(index, i);
  }
}

void poison_check(pfn_t f, unsigned order) {
  for (uint32_t i = pfn_index(f); i < pfn_index(f) + (1u << order); i++) {
    if (!entry_is_written(i))
      continue;
    if (frame_at(i)->private == poison_generation)
      check_frame(i);
    frame_at(i)->private = 0;
  }
}

static void write_entries(uint32_t index) {
  struct zone *z = zone_of(index);
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&z->lock);
  if (pageblock_kind(pageblock_of(index)) != PAGEBLOCK_SPLIT)
    pageblock_write_entries(pageblock_of(index));
  port_lock_release(&z->lock);
  port_irq_restore(irq);
}

void poison_fill(pfn_t f, unsigned order) {
  uint32_t index = pfn_index(f), end = index + (1u << order);
  for (uint32_t i = index; order >= PAGEBLOCK_ORDER && i < end; i += PAGEBLOCK_FRAMES)
    write_entries(i);
  for (uint32_t i = index; i < end; i++) {
    memset(port_frame_ptr(index_pfn(i)), (int)(PATTERN & 0xff), PAGE_SIZE);
    frame_at(i)->private = poison_generation;
  }
}
