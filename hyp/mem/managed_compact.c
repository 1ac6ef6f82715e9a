/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory, frames that compaction moves: under the block's lock from freeze to thaw. A page that is frozen is unmapped for
 * everybody, with TLB maintenance, and stays resident where it is; who touches it afterwards faults, waits for the lock, and gets it mapped
 * again from its new frame.
 *
 * A frame says where it belongs by its rmap. That was read without a lock: what the block then says of it decides. Ranges and blocks are
 * never freed, so their locks can always be taken.
 */
#include "core/check.h"
#include "hyp/mem/managed_priv.h"

struct spot {
  struct managed_place at;
  unsigned page;
};

static bool find_spot(uint64_t rmap, struct spot *out) {
  struct managed_range *range = managed_nth((unsigned)(rmap >> MANAGED_RMAP_SHIFT));
  uint64_t offset = rmap & (BIT(MANAGED_RMAP_SHIFT) - 1);
  if (!range || offset >= range->config.bytes)
    return false;
  *out = (struct spot){managed_place_of(range, offset / SZ_2M), (unsigned)(offset % SZ_2M / PAGE_SIZE)};
  return true;
}

/* The link that leads to `f`; NULL: it is none of the page's. Block's lock. */
static uint32_t *link_to(const struct spot *s, pfn_t f) {
  uint32_t index = (uint32_t)(f.v - frame_base_pfn), *link = &s->at.chunk->first[s->page];
  while (*link != FRAME_LINK_NONE && *link != index)
    link = &frame_table[*link].next;
  return *link == index ? link : NULL;
}

static bool is_there(const struct spot *s, pfn_t f, owner_t owner) {
  return link_to(s, f) && frame_of(f)->state == FRAME_MANAGED && frame_of(f)->owner == owner;
}

bool managed_frame_is_sound(pfn_t f, owner_t owner, uint64_t rmap) {
  struct spot s;
  if (!find_spot(rmap, &s))
    return false;
  spin_lock(&s.at.chunk->lock);
  bool sound = is_there(&s, f, owner);
  spin_unlock(&s.at.chunk->lock);
  return sound;
}

err_t managed_freeze(pfn_t from, owner_t owner, uint64_t rmap) {
  struct managed_plan plan;
  struct spot s;
  if (!find_spot(rmap, &s))
    return ERR_NOENT;
  spin_lock(&s.at.chunk->lock);
  if (!is_there(&s, from, owner)) {
    spin_unlock(&s.at.chunk->lock);
    return ERR_NOENT;
  }
  managed_block_plan_unmap(&s.at.chunk->block, s.page / 64, BIT(s.page % 64), &plan);
  err_t err = managed_carry_out(&s.at, &plan, NULL, 0);
  CHECK(err == ERR_OK); /* it maps nothing */
  return ERR_OK;
}

void managed_move(pfn_t from, pfn_t to) {
  struct spot s;
  CHECK(find_spot(frame_of(to)->rmap, &s)); /* as frozen */
  uint32_t *link = link_to(&s, from);
  CHECK(link);
  managed_copy(from, to);
  *link = (uint32_t)(to.v - frame_base_pfn);
  atomic_fetch_add_relaxed(&s.at.range->moved, 1);
}

void managed_thaw(pfn_t at) {
  struct spot s;
  CHECK(find_spot(frame_of(at)->rmap, &s));
  spin_unlock(&s.at.chunk->lock);
}
