/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The zeroed pool: frames and whole pageblocks zeroed ahead, so that a fault need not wait for it.
 *
 * page_zero_pool_fill() moves one block at a time from the movable lists of a zone into its pool while the zone stands above its high watermark;
 * movable requests for zeroed memory take from there, and all of it goes back when memory is short. A block in the pool is in state ZEROED,
 * owned by nobody, linked through `next`; the zone's lock covers the lists. The zeroing itself happens under no lock, with the block
 * CACHED.
 *
 * Off until a limit is set. Serves no unmovable request: those keep to their pageblocks.
 */
#include "mm/zone.h"

uint32_t zero_pool_count[2]; /* blocks, all zones; written under a zone's lock */
static uint32_t limit;       /* frames */

static unsigned order_of(unsigned which) {
  return which ? PAGEBLOCK_ORDER : 0;
}

static void count_move(unsigned which, uint32_t by) {
  (void)atomic_add_fetch(&zero_pool_count[which], by);
}

static uint32_t pooled_frames(void) {
  return atomic_load_relaxed(&zero_pool_count[0]) + (atomic_load_relaxed(&zero_pool_count[1]) << PAGEBLOCK_ORDER);
}

void zero_pool_reset(void) {
  zero_pool_count[0] = zero_pool_count[1] = 0;
  limit = 0;
}

static uint32_t pop(struct zone *z, unsigned which) {
  struct free_list *list = &z->zeroed[which];
  uint32_t index = list->head;
  if (index == INDEX_NONE)
    return INDEX_NONE;
  list->head = frame_at(index)->next;
  list->count--;
  count_move(which, ~(uint32_t)0);
  return index;
}

static void push(struct zone *z, unsigned which, uint32_t index) {
  struct free_list *list = &z->zeroed[which];
  frame_at(index)->next = list->head;
  list->head = index;
  list->count++;
  count_move(which, 1);
}

static uint32_t pop_from(struct zone *z, unsigned which) {
  port_lock_acquire(&z->lock);
  uint32_t index = pop(z, which);
  port_lock_release(&z->lock);
  return index;
}

bool zero_pool_take(struct percpu *pc, unsigned order, uint64_t word, uint64_t rmap, pfn_t *out) {
  uint32_t index = INDEX_NONE;
  for (const uint8_t *i = pc->zones; *i < zone_count && index == INDEX_NONE; i++)
    index = pop_from(&zones[*i], order != 0);
  if (index == INDEX_NONE)
    return false;
  word_store(frame_at(index), word);
  atomic_store_relaxed(&frame_at(index)->rmap, rmap);
  ledger_move(pc, ledger_key(FRAME_ZEROED, OWNER_CORE), ledger_key_of(word), 1u << order);
  *out = index_pfn(index);
  return true;
}

/* --- filling ------------------------------------------------------------------------------------------------------------------------- */

static bool above_high(const struct zone *z, unsigned order) {
  return z->free >= z->high + z->boost + z->highatomic + (1u << order);
}

/* A whole pageblock, if the zone has one free, else a frame. */
static uint32_t take_block(struct zone *z, unsigned order) {
  uint32_t index = INDEX_NONE;
  port_lock_acquire(&z->lock);
  if (above_high(z, order) && (order == 0 || z->unopened != 0 || z->avail[MIGRATE_MOVABLE] >> order != 0))
    index = buddy_take(z, order, MIGRATE_MOVABLE);
  if (index != INDEX_NONE) {
    word_store(frame_at(index), word_make(FRAME_CACHED, order, MIGRATE_MOVABLE, FRAME_F_HEAD));
    ledger_move(percpu_this(), ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(FRAME_CACHED, OWNER_CORE), 1u << order);
  }
  port_lock_release(&z->lock);
  return index;
}

static void enter(struct zone *z, unsigned order, uint32_t index) {
  port_lock_acquire(&z->lock);
  word_store(frame_at(index), word_make(FRAME_ZEROED, order, MIGRATE_MOVABLE, FRAME_F_HEAD));
  ledger_move(percpu_this(), ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_ZEROED, OWNER_CORE), 1u << order);
  push(z, order != 0, index);
  port_lock_release(&z->lock);
}

static bool fill_one(struct zone *z, unsigned order) {
  port_flags_t irq = port_irq_save();
  uint32_t index = take_block(z, order);
  port_irq_restore(irq);
  if (index == INDEX_NONE)
    return false;
  if (unlikely(poison_generation != 0))
    poison_check(index_pfn(index), order);
  port_zero_frames(index_pfn(index), (uint64_t)1 << order);
  irq = port_irq_save();
  enter(z, order, index);
  port_irq_restore(irq);
  return true;
}

err_t page_zero_pool_fill(unsigned order) {
  if (order != 0 && order != PAGEBLOCK_ORDER)
    return ERR_INVAL;
  if (pooled_frames() + (1u << order) > atomic_load_relaxed(&limit))
    return ERR_OK;
  for (struct zone *z = zones; z < zones + zone_count; z++) {
    if (fill_one(z, order))
      return ERR_AGAIN;
  }
  return ERR_NOMEM;
}

/* --- giving back --------------------------------------------------------------------------------------------------------------------- */

static bool drop_one(struct zone *z, unsigned which) {
  unsigned order = order_of(which);
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&z->lock);
  uint32_t index = pop(z, which);
  if (index != INDEX_NONE) {
    ledger_move(percpu_this(), ledger_key(FRAME_ZEROED, OWNER_CORE), ledger_key(FRAME_FREE, OWNER_CORE), 1u << order);
    buddy_give(z, index, order);
  }
  port_lock_release(&z->lock);
  port_irq_restore(irq);
  return index != INDEX_NONE;
}

/* Down to `frames`; true if something went. */
static bool drop_to(uint32_t frames) {
  bool dropped = false;
  for (unsigned which = 0; which < 2; which++) {
    for (struct zone *z = zones; z < zones + zone_count; z++) {
      while (pooled_frames() > frames && drop_one(z, which))
        dropped = true;
    }
  }
  return dropped;
}

bool zero_pool_drop(void) {
  return drop_to(0);
}

void page_zero_pool_limit(uint64_t frames) {
  atomic_store_relaxed(&limit, (uint32_t)min_u64(frames, UINT32_MAX / 2));
  (void)drop_to(limit);
}

uint64_t page_zero_pool_frames(void) {
  return pooled_frames();
}
