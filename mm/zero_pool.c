/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The zeroed pool: frames and whole pageblocks zeroed ahead, so that a fault need not wait for it.
 *
 * page_zero_pool_step() moves blocks from the movable lists of a zone into its pool while the zone stands above its high watermark; movable
 * requests for zeroed memory take from there, and it goes back piece by piece when memory is short. A block in the pool is in state ZEROED,
 * owned by nobody, linked through `next`; the zone's lock covers the lists. Half of the pool is for whole pageblocks, as far as they divide
 * it, the rest for single frames; the one that is further behind its share is filled first, and neither gets the other's share.
 *
 * The zeroing happens under no lock, with the block CACHED: a pageblock in several steps, between which it waits in `filling`. One CPU
 * fills at a time (`filling.busy`); who finds another at it leaves it alone.
 *
 * Off until a limit is set. Serves no unmovable request: those keep to their pageblocks.
 */
#include "mm/zone.h"

#define STEP_FRAMES 64u /* zeroed in one step */
#define DROP_FRAMES 64u /* given back at once, if single; blocks count as one */

uint32_t zero_pool_count[2]; /* blocks, all zones; written under a zone's lock */
static uint32_t limit;       /* frames */
static uint32_t half[2];     /* of each share, in blocks */

static struct {
  uint32_t busy;     /* atomic; the rest belongs to whoever set it */
  struct zone *zone; /* NULL: no pageblock is half done; others may glimpse */
  uint32_t index, done;
} filling;

static unsigned order_of(unsigned which) {
  return which ? PAGEBLOCK_ORDER : 0;
}

static void count_move(unsigned which, uint32_t by) {
  (void)atomic_add_fetch(&zero_pool_count[which], by);
}

static uint32_t pooled(unsigned which) {
  return atomic_load_relaxed(&zero_pool_count[which]) << order_of(which);
}

/* Of the limit, in frames. */
static uint32_t share(unsigned which) {
  uint32_t all = atomic_load_relaxed(&limit), blocks = (uint32_t)align_down(all / 2, PAGEBLOCK_FRAMES);
  return which ? blocks : all - blocks;
}

static bool has_room(unsigned which) {
  return pooled(which) + (1u << order_of(which)) <= share(which);
}

static bool begin_filling(void) {
  return atomic_exchange(&filling.busy, 1u) == 0;
}

static void end_filling(void) {
  atomic_store_release(&filling.busy, 0u);
}

void zero_pool_reset(void) {
  zero_pool_count[0] = zero_pool_count[1] = 0;
  limit = 0;
  filling.busy = 0;
  filling.zone = NULL;
}

/* --- taking -------------------------------------------------------------------------------------------------------------------------- */

static ALWAYS_INLINE uint32_t pop(struct zone *z, unsigned which, enum zone_event why) {
  struct free_list *list = &z->zeroed[which];
  uint32_t index = list->head;
  if (index == INDEX_NONE)
    return INDEX_NONE;
  list->head = frame_at(index)->next;
  list->count--;
  z->events[why] += 1u << order_of(which);
  count_move(which, ~(uint32_t)0);
  return index;
}

static ALWAYS_INLINE uint32_t pop_from(struct zone *z, unsigned which) {
  port_lock_acquire(&z->lock);
  uint32_t index = pop(z, which, ZONE_POOL_TAKEN);
  port_lock_release(&z->lock);
  return index;
}

/* Somebody should fill up again; at half of the share nobody waits till a CPU idles by itself. */
static ALWAYS_INLINE void ask_for_more(unsigned which) {
  page_background_hint();
  if (unlikely(atomic_load_relaxed(&zero_pool_count[which]) == half[which]))
    slowpath_wake();
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
  ask_for_more(order != 0);
  return true;
}

/*
 * --- filling; the filler's --------------------------------------------------------------------------------------------------------------
 */

static bool above_high(const struct zone *z, unsigned order) {
  return z->free >= z->high + z->boost + z->highatomic + (1u << order);
}

/* A whole pageblock, if the zone has one free, else a frame. */
static uint32_t take_block(struct zone *z, unsigned order) {
  uint32_t index = INDEX_NONE;
  port_flags_t irq = zone_lock(z);
  if (above_high(z, order) && (order == 0 || z->unopened != 0 || z->avail[MIGRATE_MOVABLE] >> order != 0))
    index = buddy_take(z, order, MIGRATE_MOVABLE);
  if (index != INDEX_NONE) {
    word_store(frame_at(index), word_make(FRAME_CACHED, order, MIGRATE_MOVABLE, FRAME_F_HEAD));
    ledger_move(percpu_this(), ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(FRAME_CACHED, OWNER_CORE), 1u << order);
  }
  zone_unlock(z, irq);
  if (index != INDEX_NONE && unlikely(poison_generation != 0))
    poison_check(index_pfn(index), order);
  return index;
}

static void enter(struct zone *z, unsigned which, uint32_t index) {
  unsigned order = order_of(which);
  struct free_list *list = &z->zeroed[which];
  port_flags_t irq = zone_lock(z);
  word_store(frame_at(index), word_make(FRAME_ZEROED, order, MIGRATE_MOVABLE, FRAME_F_HEAD));
  ledger_move(percpu_this(), ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_ZEROED, OWNER_CORE), 1u << order);
  frame_at(index)->next = list->head;
  list->head = index;
  list->count++;
  z->events[ZONE_POOL_FILLED] += 1u << order;
  count_move(which, 1);
  zone_unlock(z, irq);
}

static bool take_from_any(unsigned order, struct zone **z, uint32_t *index) {
  for (*z = zones; *z < zones + zone_count; (*z)++) {
    *index = take_block(*z, order);
    if (*index != INDEX_NONE)
      return true;
  }
  return false;
}

static bool fill_frames(void) {
  struct zone *z;
  uint32_t index;
  unsigned n = 0;
  for (; n < STEP_FRAMES && has_room(0) && take_from_any(0, &z, &index); n++) {
    port_cleanse_frames(index_pfn(index), 1);
    enter(z, 0, index);
  }
  return n != 0;
}

static void keep_half_done(struct zone *z, uint32_t index, uint32_t done) {
  filling.index = index;
  filling.done = done;
  atomic_store_relaxed(&filling.zone, z);
}

static bool fill_block(void) {
  struct zone *z = filling.zone;
  uint32_t index = filling.index, done = filling.done;
  if (!z) {
    if (!take_from_any(PAGEBLOCK_ORDER, &z, &index))
      return false;
    done = 0;
  }
  port_cleanse_frames(index_pfn(index + done), STEP_FRAMES);
  done += STEP_FRAMES;
  if (done == PAGEBLOCK_FRAMES)
    enter(z, 1, index);
  keep_half_done(done == PAGEBLOCK_FRAMES ? NULL : z, index, done);
  return true;
}

_Static_assert(PAGEBLOCK_FRAMES % STEP_FRAMES == 0, "whole steps");

/* Single frames have less of their share than pageblocks of theirs. */
static bool frames_are_behind(void) {
  return (uint64_t)pooled(0) * share(1) <= (uint64_t)pooled(1) * share(0);
}

static err_t fill(void) {
  if (filling.zone)
    return fill_block() ? ERR_AGAIN : ERR_NOMEM;
  bool frames = has_room(0), blocks = has_room(1);
  if (!frames && !blocks)
    return ERR_OK;
  if (frames && (!blocks || frames_are_behind()) && fill_frames())
    return ERR_AGAIN;
  if (blocks && fill_block())
    return ERR_AGAIN;
  return frames && fill_frames() ? ERR_AGAIN : ERR_NOMEM;
}

err_t page_zero_pool_step(void) {
  if (likely(atomic_load_relaxed(&limit) == 0))
    return ERR_OK;
  if (!begin_filling())
    return ERR_BUSY;
  err_t err = fill();
  end_filling();
  return err;
}

/* --- giving back --------------------------------------------------------------------------------------------------------------------- */

static bool drop_one(struct zone *z, unsigned which) {
  unsigned order = order_of(which);
  port_flags_t irq = zone_lock(z);
  uint32_t index = pop(z, which, ZONE_POOL_DROPPED);
  if (index != INDEX_NONE) {
    ledger_move(percpu_this(), ledger_key(FRAME_ZEROED, OWNER_CORE), ledger_key(FRAME_FREE, OWNER_CORE), 1u << order);
    buddy_give(z, index, order);
  }
  zone_unlock(z, irq);
  return index != INDEX_NONE;
}

static bool drop_from_any(unsigned which) {
  for (struct zone *z = zones; z < zones + zone_count; z++) {
    if (drop_one(z, which))
      return true;
  }
  return false;
}

/* The pageblock that is half done, unless somebody is at it just now. */
static bool drop_half_done(void) {
  if (atomic_load_relaxed(&filling.zone) == NULL || !begin_filling())
    return false;
  bool dropped = filling.zone != NULL;
  if (dropped)
    page_free_direct(index_pfn(filling.index), PAGEBLOCK_ORDER);
  keep_half_done(NULL, 0, 0);
  end_filling();
  return dropped;
}

bool zero_pool_drop(void) {
  unsigned n = 0;
  if (drop_half_done() || drop_from_any(1))
    return true;
  while (n < DROP_FRAMES && drop_from_any(0))
    n++;
  return n != 0;
}

void page_zero_pool_limit(uint64_t frames) {
  atomic_store_relaxed(&limit, (uint32_t)min_u64(frames, UINT32_MAX / 2));
  half[0] = share(0) / 2;
  half[1] = (share(1) >> PAGEBLOCK_ORDER) / 2;
  for (unsigned which = 0; which < 2; which++) {
    while (pooled(which) > share(which) && drop_from_any(which))
      continue;
  }
  if (share(1) == 0)
    (void)drop_half_done();
  page_background_hint();
}

uint64_t page_zero_pool_frames(void) {
  return pooled(0) + pooled(1);
}

static uint64_t sum_events(enum zone_event event) {
  uint64_t sum = 0;
  for (const struct zone *z = zones; z < zones + zone_count; z++)
    sum += atomic_load_relaxed(&z->events[event]);
  return sum;
}

void page_zero_pool_read(struct zero_pool_info *out) {
  *out = (struct zero_pool_info){
      .limit = atomic_load_relaxed(&limit),
      .frames = atomic_load_relaxed(&zero_pool_count[0]),
      .pageblocks = atomic_load_relaxed(&zero_pool_count[1]),
      .filled = sum_events(ZONE_POOL_FILLED),
      .taken = sum_events(ZONE_POOL_TAKEN),
      .dropped = sum_events(ZONE_POOL_DROPPED),
  };
}
