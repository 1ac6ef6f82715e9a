/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a VM has lent or given away of its RAM: one bit for each page, so that a touch there is refused instead of populated with a fresh
 * frame.
 *
 * The record is made when the VM first lends or donates, charged to it, and goes with its stage 2. A block of 2 MiB is eight words of it.
 * Only RAM is recorded: the window above it is never populated anyway.
 *
 * What is in its balloon stands in such a map, too, which the device makes and marks: here it is only looked at.
 *
 * Lock: the VM's stage2.lock, but for making and dropping the record, where nobody else can be at it. For the balloon's map: none.
 */
#include "core/atomic.h"
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/mem/background.h"
#include "hyp/mem/stage2.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

static unsigned record_order(const struct stage2 *s2) {
  uint64_t frames = (s2->ram_bytes / PAGE_SIZE / 8 + PAGE_SIZE - 1) / PAGE_SIZE;
  return frames > 1 ? bits_fls(frames - 1) + 1 : 0;
}

err_t stage2_open_given(struct stage2 *s2) {
  pfn_t f;
  unsigned order = record_order(s2);
  if (s2->given)
    return ERR_OK;
  err_t err = page_alloc(order, ALLOC_UNMOVABLE | ALLOC_ZERO | ALLOC_EFFORT, &f);
  if (err != ERR_OK)
    return err;
  frame_set_state(f, order, FRAME_CORE, s2->vm->id, 0);
  spin_lock(&s2->lock);
  bool first = !s2->given;
  if (first)
    s2->given = port_frame_ptr(f);
  spin_unlock(&s2->lock);
  if (!first)
    page_free(f, order);
  return ERR_OK;
}

void stage2_close_given(struct stage2 *s2) {
  if (s2->given)
    page_free(port_ptr_frame(s2->given), record_order(s2));
  s2->given = NULL;
}

/* The first page behind `pages` at `page`, or behind the end of RAM: what a VM has in its window may follow its RAM without a gap. */
static uint64_t end_in_ram(const struct stage2 *s2, uint64_t page, uint64_t pages) {
  return min_u64(page + pages, s2->ram_bytes >> PAGE_SHIFT);
}

/* The bits of [page, end) that are in the word of `page`. */
static uint64_t bits_in_word(uint64_t page, uint64_t end) {
  unsigned low = page % 64, high = (unsigned)min_u64(63, low + (end - page) - 1);
  return GENMASK(high, low);
}

void stage2_set_given(struct stage2 *s2, uint64_t a, uint64_t pages, bool given) {
  if (!stage2_is_ram(s2, ipa(a)))
    return;
  uint64_t page = (a - s2->ram_base.v) >> PAGE_SHIFT, end = end_in_ram(s2, page, pages);
  for (; page < end; page = align_down(page, 64) + 64) {
    uint64_t bits = bits_in_word(page, end), *word = &s2->given[page / 64];
    *word = given ? *word | bits : *word & ~bits;
  }
}

/* Any of them, in a map of the VM's RAM by pages. */
static bool any_in_map(const struct stage2 *s2, const uint64_t *map, uint64_t a, uint64_t pages) {
  if (!map || !stage2_is_ram(s2, ipa(a)))
    return false;
  uint64_t page = (a - s2->ram_base.v) >> PAGE_SHIFT, end = end_in_ram(s2, page, pages), any = 0;
  for (; page < end; page = align_down(page, 64) + 64)
    any |= atomic_load_relaxed(&map[page / 64]) & bits_in_word(page, end);
  return any != 0;
}

bool stage2_is_given(const struct stage2 *s2, uint64_t a, uint64_t pages) {
  return any_in_map(s2, s2->given, a, pages);
}

bool stage2_is_ballooned(const struct stage2 *s2, uint64_t a, uint64_t pages) {
  return any_in_map(s2, atomic_load_relaxed(&s2->ballooned), a, pages);
}
