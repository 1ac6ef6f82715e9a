/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory, what can be given up when no frame is left: read duplicates. One copy of each page stays, so no contents are lost, and
 * whoever had another maps what stays, from afar.
 *
 * It is asked by who would wait for memory otherwise (exhaust.c), not by the allocator: that may hold the stage-2 lock of any VM, which a
 * block's lock comes before. Nor ahead of need: a duplicate that is dropped above the reserve would be made again by the next read.
 *
 * Blocks that have none are passed by a glimpse at chunk->copies. Lock: a block's, for one member and 64 pages at a time.
 */
#include "arch/sysreg.h"
#include "core/check.h"
#include "hyp/core/exit.h"
#include "hyp/mem/managed_priv.h"

#define BLOCKS_PER_POLL 64u

static uint64_t shed_word(const struct managed_place *at, unsigned member, unsigned word) {
  const struct managed_block *b = &at->chunk->block;
  struct managed_plan plan;
  spin_lock(&at->chunk->lock);
  uint64_t copies = b->resident[member].word[word] & managed_resident_elsewhere(b, member, word);
  if (copies) {
    managed_block_plan_evict(b, member, word, copies, false, &plan);
    err_t err = managed_carry_out(at, &plan, NULL, managed_now_us());
    CHECK(err == ERR_OK); /* it maps nothing */
  }
  spin_unlock(&at->chunk->lock);
  return managed_count(copies);
}

/* The preferred location comes last, when it has no duplicates any more. */
static uint64_t shed_block(const struct managed_place *at, unsigned preferred, uint64_t frames) {
  uint64_t got = 0;
  for (unsigned word = 0; word < MANAGED_WORDS && got < frames; word++) {
    for (unsigned m = MANAGED_LOCATIONS - 1; m > LOCATION_HOME; m--)
      got += m == preferred ? 0 : shed_word(at, m, word);
    irq_poll(this_cpu());
  }
  return got;
}

static uint64_t shed_range(struct managed_range *range, uint64_t frames) {
  unsigned preferred = managed_policy_of(range).preferred;
  uint64_t got = 0;
  for (uint64_t i = 0; i < range->blocks && got < frames; i++) {
    struct managed_place at = managed_place_of(range, i);
    if (atomic_load_relaxed(&at.chunk->copies) != 0)
      got += shed_block(&at, preferred, frames - got);
    else if (i % BLOCKS_PER_POLL == 0)
      irq_poll(this_cpu());
  }
  return got;
}

uint64_t managed_shed(uint64_t frames) {
  struct managed_range *range;
  uint64_t got = 0;
  for (unsigned n = 0; (range = managed_nth(n)) != NULL && got < frames; n++)
    got += shed_range(range, frames - got);
  return got;
}
