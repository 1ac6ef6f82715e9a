/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory, who may have how many frames: each member's quota in the range, and what gives way when it is full. That is the block
 * which the member used least recently, the whole of it: its pages become the range's own, resident with no guest, and come back by a fault
 * as from any other location. Their frames stay where they are; only the account changes, so eviction needs no memory.
 *
 * Lock: range->lock for lists, taken last and held alone; quotas and what is used of them are atomic. An eviction takes the victim's block
 * lock, so its caller holds none.
 */
#include "arch/sysreg.h"
#include "core/check.h"
#include "hyp/core/exit.h"
#include "hyp/mem/managed_priv.h"

static bool takes_part(unsigned location) {
  return location != LOCATION_HOME;
}

static NOINLINE void use_now(struct managed_range *range, struct managed_member *m, struct list_node *node) {
  spin_lock(&range->lock);
  list_remove(node);
  list_push_back(&m->lru, node);
  spin_unlock(&range->lock);
}

bool managed_reserve(const struct managed_place *at, unsigned location, uint64_t frames) {
  struct managed_range *range = at->range;
  struct managed_member *m = &range->member[location];
  if (!takes_part(location))
    return true;
  if (frames != 0 && atomic_add_fetch(&m->used, frames) > atomic_load_relaxed(&m->quota)) {
    (void)atomic_add_fetch(&m->used, -frames);
    return false;
  }
  if (unlikely(atomic_load_relaxed(&m->lru.prev) != &at->chunk->lru[location])) /* a glimpse: not the last one used */
    use_now(range, m, &at->chunk->lru[location]);
  return true;
}

void managed_unreserve(struct managed_range *range, unsigned location, uint64_t frames) {
  if (!takes_part(location))
    return;
  uint64_t left = atomic_add_fetch(&range->member[location].used, -frames);
  CHECK(left + frames >= frames); /* it had as many */
}

void managed_forget_lru(const struct managed_place *at, unsigned location) {
  spin_lock(&at->range->lock);
  list_remove(&at->chunk->lru[location]);
  spin_unlock(&at->range->lock);
}

/* The block at the head of the list; false if it is empty, or nothing may go. */
static bool find_victim(struct managed_range *range, unsigned location, struct managed_place *out) {
  spin_lock(&range->lock);
  struct list_node *node = list_first(&range->member[location].lru);
  bool found = node && !range->policy.no_migrate;
  if (found) { /* to the other end: whatever becomes of it, another one is next */
    struct managed_member *m = &range->member[location];
    list_remove(node);
    list_push_back(&m->lru, node);
    out->chunk = container_of(node - location, struct managed_chunk, lru);
  }
  spin_unlock(&range->lock);
  return found;
}

static bool has_pages(const struct managed_place *at, unsigned location) {
  for (unsigned w = 0; w < MANAGED_WORDS; w++)
    if (at->chunk->block.resident[location].word[w])
      return true;
  return false;
}

static void evict_word(const struct managed_place *at, unsigned location, unsigned word) {
  struct managed_plan plan;
  spin_lock(&at->chunk->lock);
  managed_block_plan_evict(&at->chunk->block, location, word, ~(uint64_t)0, false, &plan);
  if (plan.pages) {
    err_t err = managed_carry_out(at, &plan, NULL, managed_now_us());
    CHECK(err == ERR_OK); /* it maps nothing */
  }
  if (word == MANAGED_WORDS - 1 && !has_pages(at, location))
    managed_forget_lru(at, location);
  spin_unlock(&at->chunk->lock);
}

bool managed_evict(struct managed_range *range, unsigned location) {
  struct managed_place at = {.range = range};
  if (!find_victim(range, location, &at))
    return false;
  at.block = at.chunk->number;
  for (unsigned word = 0; word < MANAGED_WORDS; word++) {
    evict_word(&at, location, word);
    irq_poll(this_cpu());
  }
  return true;
}
