/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pageblocks: 2 MiB of frames that share a migrate type, and the unit in which the frame table comes into being.
 *
 * Boot writes eight bytes per pageblock. The 16 KiB of entries of a pageblock stay unwritten (whatever the memory held) until it is first
 * split below 2 MiB; up to then only the first entry counts. Once SPLIT, a pageblock stays so, and every head has FRAME_F_HEAD. Tails
 * do not, but for one case: single frames that a per-CPU list gave back as a run keep the word they had there (CACHED, PERCPU, order
 * 0), which nobody can free or claim. So the head of any frame is found by trying its aligned predecessors from the largest order down.
 *
 * All of it is written under the zone's lock; state and free frames are read without (each one atomic load).
 */
#include "mm/zone.h"

#define ENTRY_FRAMES (PAGEBLOCK_FRAMES * sizeof(struct frame) >> PAGE_SHIFT)

_Static_assert(ENTRY_FRAMES << PAGE_SHIFT == PAGEBLOCK_FRAMES * sizeof(struct frame), "a pageblock's entries fill whole frames");

struct pageblock *pageblocks, *pageblocks_bias;
uint32_t frame_count;

/* All but the first, which is in use and looked at; nobody looks at the others before the kind says that they are written. */
void pageblock_write_entries(uint32_t pb) {
  struct frame *first = frame_at(pb << PAGEBLOCK_ORDER);
  if (pageblock_kind(pb) == PAGEBLOCK_NONE) {
    word_store(first, 0);
    frame_forget(first);
  }
  for (struct frame *f = first + 1; f < first + PAGE_SIZE / sizeof(*f); f++) {
    word_store(f, 0);
    frame_forget(f);
  }
  port_zero_frames(pfn_add(port_ptr_frame(first), 1), ENTRY_FRAMES - 1);
  pageblock_set(pb, PAGEBLOCK_SPLIT, pageblock_type(pb));
}

/* Is `index` the head of a block of at least `order`? */
static bool heads(uint32_t index, unsigned order) {
  uint64_t word;
  if (!entry_is_written(index))
    return false;
  word = word_load(frame_at(index));
  return word_is_head(word) && word_order(word) >= order;
}

/* Largest first: within a block there may be what looks like a head of less, never of as much or more. */
uint32_t entry_find_head(uint32_t index) {
  for (unsigned order = MAX_ORDER + 1; order-- != 0;) {
    uint32_t candidate = index & ~((1u << order) - 1);
    if (heads(candidate, order))
      return candidate;
  }
  return INDEX_NONE;
}
