/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doors of the physical allocator through which frames leave: page_alloc and its kin (include/mm/page_alloc.h).
 *
 * They check what comes in, choose between the per-CPU lists (single frames and whole pageblocks), the zeroed pool and the buddy, keep the
 * ledger between FREE, CACHED and CORE, and tell the home (port_event). Single frames are the hot path: no lock, no loop. What the lists
 * and the low watermark do not give goes to slowpath.c.
 *
 * Locks: interrupts masked on this CPU, then a zone's. Entries of free frames have refs, private and rmap at 0 already (page_free.c).
 */
#include "mm/zone.h"

#define ALLOC_FLAGS_ALL                                                                                                                    \
  (ALLOC_TYPE_MASK | ALLOC_ATOMIC | ALLOC_HIGH | ALLOC_MAY_COMPACT | ALLOC_MAY_RECLAIM | ALLOC_ZERO | ALLOC_RETURN_CORE)

_Static_assert((ALLOC_FLAGS_ALL & (ALLOC_FLAGS_ALL + 1)) == 0, "one compare tells a flag that is none");
_Static_assert(ALLOC_RETURN_CORE > ALLOC_ZERO && ALLOC_ZERO > ALLOC_MAY_RECLAIM,
               "flags below ALLOC_ZERO ask nothing of what is handed out");

static ALWAYS_INLINE enum migratetype type_of(alloc_flags_t flags) {
  return (enum migratetype)(flags & ALLOC_TYPE_MASK);
}

static ALWAYS_INLINE enum frame_state handed_out_as(alloc_flags_t flags) {
  return flags & ALLOC_RETURN_CORE ? FRAME_CORE : FRAME_CACHED;
}

static ALWAYS_INLINE bool events_are_on(void) {
  return port_event_on(MM_EVENT_FRAME_ALLOC) || port_event_on(MM_EVENT_FRAME_STATE);
}

static bool arguments_are_bad(unsigned order, alloc_flags_t flags) {
  return flags > ALLOC_FLAGS_ALL || type_of(flags) >= PERCPU_TYPES || order > MAX_ORDER;
}

/* --- out of the buddy -------------------------------------------------------------------------------------------------------------- */

/* A block has left the buddy: its entry, the ledger. */
static void hand_out(struct percpu *pc, uint32_t index, unsigned order, alloc_flags_t flags) {
  word_store(frame_at(index), word_make(handed_out_as(flags), order, type_of(flags), FRAME_F_HEAD));
  ledger_move(pc, ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(handed_out_as(flags), OWNER_CORE), 1u << order);
}

/* What was set aside for high orders of atomic requests is theirs once nothing else is left. */
static uint32_t take_from(struct zone *z, unsigned order, alloc_flags_t flags, enum zone_mark mark) {
  uint32_t index = INDEX_NONE;
  port_lock_acquire(&z->lock);
  if (zone_allows(z, 1u << order, mark)) {
    index = buddy_take(z, order, type_of(flags));
    if (index == INDEX_NONE && mark == MARK_NONE)
      index = buddy_take(z, order, MIGRATE_HIGHATOMIC);
  }
  port_lock_release(&z->lock);
  return index;
}

bool page_take(unsigned order, alloc_flags_t flags, enum zone_mark mark, pfn_t *out) {
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  uint32_t index = INDEX_NONE;
  for (const uint8_t *i = pc->zones; *i < zone_count && index == INDEX_NONE; i++)
    index = take_from(&zones[*i], order, flags, mark);
  if (index != INDEX_NONE)
    hand_out(pc, index, order, flags);
  port_irq_restore(irq);
  if (index == INDEX_NONE)
    return false;
  *out = index_pfn(index);
  if (unlikely(poison_generation != 0))
    poison_check(*out, order);
  return true;
}

/* What few callers want, out of the way of the others; the block is CACHED or, from the buddy, as the flags say. */
static NOINLINE err_t finish(pfn_t f, unsigned order, alloc_flags_t flags, bool is_zeroed) {
  uint64_t word = word_load(frame_of(f));
  if (flags & ALLOC_RETURN_CORE && (word & WORD_STATE_MASK) != FRAME_CORE) {
    port_flags_t irq = port_irq_save();
    word_store(frame_of(f), word_make(FRAME_CORE, order, type_of(flags), FRAME_F_HEAD));
    ledger_move(percpu_this(), ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_CORE, OWNER_CORE), 1u << order);
    port_irq_restore(irq);
  }
  if (flags & ALLOC_ZERO && !is_zeroed)
    port_zero_frames(f, (uint64_t)1 << order);
  if (unlikely(port_event_on(MM_EVENT_FRAME_ALLOC)))
    port_event(MM_EVENT_FRAME_ALLOC, f.v, order, type_of(flags), 0, 0);
  return ERR_OK;
}

/* --- the lists --------------------------------------------------------------------------------------------------------------------- */

/* Which of a CPU's lists serves the request; `order` is 0 or PAGEBLOCK_ORDER. */
static ALWAYS_INLINE unsigned list_number(unsigned order, alloc_flags_t flags) {
  return (order == 0 ? 0 : PERCPU_BLOCKS) + type_of(flags);
}

/* Take from a list of `count` > 0: the block is CACHED and no longer the list's. */
static ALWAYS_INLINE pfn_t pop(struct percpu_list *list, uint32_t count) {
  uint32_t left = count - 1;
  atomic_store_relaxed(&list->count, left);
  pfn_t f = list->frames[left];
  atomic_store_relaxed(&frame_of(f)->flags, FRAME_F_HEAD);
  return f;
}

static bool pop_refilled(unsigned order, alloc_flags_t flags, pfn_t *out) {
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  struct percpu_list *list = pc->lists[list_number(order, flags)];
  bool have = list->count != 0 || percpu_refill(pc, list_number(order, flags));
  if (have)
    *out = pop(list, list->count);
  port_irq_restore(irq);
  return have;
}

static bool take_zeroed(unsigned order, pfn_t *out) {
  port_flags_t irq = port_irq_save();
  bool taken = zero_pool_take(percpu_this(), order, word_make(FRAME_CACHED, order, MIGRATE_MOVABLE, FRAME_F_HEAD), 0, out);
  port_irq_restore(irq);
  return taken;
}

/* All that is not a plain block from a list that has one. */
static NOINLINE err_t alloc_other(unsigned order, alloc_flags_t flags, pfn_t *out) {
  if (arguments_are_bad(order, flags))
    return ERR_INVAL;
  if (flags & ALLOC_ZERO && type_of(flags) == MIGRATE_MOVABLE && zero_pool_has(order) && take_zeroed(order, out))
    return finish(*out, order, flags, true);
  bool have = (order == 0 || order == PAGEBLOCK_ORDER) && pop_refilled(order, flags, out);
  if (!have && !page_take(order, flags, MARK_LOW, out)) {
    err_t err = slowpath_alloc(order, flags, out);
    if (err != ERR_OK)
      return err;
  }
  return finish(*out, order, flags, false);
}

/* The hot path: a block of `order`, known at compile time, as it lies in a list. */
static ALWAYS_INLINE err_t alloc_listed(unsigned order, alloc_flags_t flags, pfn_t *out) {
  port_flags_t irq = port_irq_save();
  struct percpu_list *list = percpu_this()->lists[list_number(order, flags)];
  uint32_t count = list->count;
  if (unlikely(count == 0)) {
    port_irq_restore(irq);
    return alloc_other(order, flags, out);
  }
  *out = pop(list, count);
  port_irq_restore(irq);
  return ERR_OK;
}

static NOINLINE err_t alloc_large(unsigned order, alloc_flags_t flags, pfn_t *out) {
  return order == PAGEBLOCK_ORDER ? alloc_listed(PAGEBLOCK_ORDER, flags, out) : alloc_other(order, flags, out);
}

err_t page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out) {
  if (unlikely(flags >= ALLOC_ZERO || port_event_on(MM_EVENT_FRAME_ALLOC)))
    return alloc_other(order, flags, out);
  if (unlikely(order != 0))
    return alloc_large(order, flags, out);
  return alloc_listed(0, flags, out);
}

static NOINLINE err_t alloc_owned_slowly(unsigned order, alloc_flags_t flags, owner_t owner, uint64_t rmap, pfn_t *out) {
  if (flags & ALLOC_RETURN_CORE)
    return ERR_INVAL;
  err_t err = page_alloc(order, flags, out);
  if (err == ERR_OK)
    frame_set_state(*out, order, FRAME_OWNED, owner, rmap);
  return err;
}

/* page_alloc() and frame_set_state() folded into one, where nothing is to be told, zeroed or refilled. */
err_t page_alloc_owned(unsigned order, alloc_flags_t flags, owner_t owner, uint64_t rmap, pfn_t *out) {
  if (unlikely(order != 0 || flags >= ALLOC_ZERO || owner >= OWNERS_MAX || events_are_on()))
    return alloc_owned_slowly(order, flags, owner, rmap, out);
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  struct percpu_list *list = pc->lists[type_of(flags)];
  uint32_t count = list->count;
  if (unlikely(count == 0)) {
    port_irq_restore(irq);
    return alloc_owned_slowly(order, flags, owner, rmap, out);
  }
  pfn_t f = list->frames[count - 1];
  struct frame *frame = frame_of(f);
  atomic_store_relaxed(&list->count, count - 1);
  word_store(frame, word_make(FRAME_OWNED, 0, type_of(flags), FRAME_F_HEAD) | (uint64_t)owner << WORD_OWNER_SHIFT);
  atomic_store_relaxed(&frame->rmap, rmap);
  ledger_move(pc, ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_OWNED, owner), 1);
  port_irq_restore(irq);
  *out = f;
  return ERR_OK;
}

static NOINLINE bool take_zeroed_owned(unsigned order, owner_t owner, uint64_t rmap, pfn_t *out) {
  uint64_t word = word_make(FRAME_OWNED, order, MIGRATE_MOVABLE, FRAME_F_HEAD) | (uint64_t)owner << WORD_OWNER_SHIFT;
  port_flags_t irq = port_irq_save();
  bool taken = owner < OWNERS_MAX && zero_pool_take(percpu_this(), order, word, rmap, out);
  port_irq_restore(irq);
  if (taken && unlikely(port_event_on(MM_EVENT_FRAME_ALLOC)))
    port_event(MM_EVENT_FRAME_ALLOC, out->v, order, MIGRATE_MOVABLE, 0, 0);
  return taken;
}

err_t page_alloc_owned_zeroed(unsigned order, alloc_flags_t flags, owner_t owner, uint64_t rmap, pfn_t *out, bool *zeroed) {
  if (unlikely(zero_pool_has(order)) && type_of(flags) == MIGRATE_MOVABLE && take_zeroed_owned(order, owner, rmap, out)) {
    *zeroed = true;
    return ERR_OK;
  }
  *zeroed = false;
  return page_alloc_owned(order, flags & ~ALLOC_ZERO, owner, rmap, out);
}

err_t page_alloc_bulk(unsigned count, alloc_flags_t flags, pfn_t *out) {
  for (unsigned i = 0; i < count; i++) {
    err_t err = page_alloc(0, flags, &out[i]);
    if (err == ERR_OK)
      continue;
    while (i != 0)
      page_free(out[--i], 0);
    return err;
  }
  return ERR_OK;
}

/* --- by name ------------------------------------------------------------------------------------------------------------------------ */

static bool take_at(struct zone *z, uint32_t index, unsigned order) {
  port_lock_acquire(&z->lock);
  fallback_open_at(z, index);
  bool taken = buddy_take_at(z, index, order);
  port_lock_release(&z->lock);
  return taken;
}

/* The zone that may spare `frames` at `index`. */
static err_t check_at(pfn_t f, unsigned order, alloc_flags_t flags, struct zone **out) {
  uint64_t last = f.v + ((uint64_t)1 << order) - 1;
  if (arguments_are_bad(order, flags) || !is_aligned(f.v, (uint64_t)1 << order))
    return ERR_INVAL;
  if (f.v < frame_base_pfn || last - frame_base_pfn >= frame_count)
    return ERR_RANGE;
  if (pageblock_kind(pageblock_of(pfn_index(f))) == PAGEBLOCK_NONE)
    return ERR_RANGE;
  *out = zone_of(pfn_index(f));
  return ERR_OK;
}

err_t page_alloc_at(pfn_t f, unsigned order, alloc_flags_t flags) {
  struct zone *z;
  err_t err = check_at(f, order, flags, &z);
  if (err)
    return err;
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  bool taken = take_at(z, pfn_index(f), order);
  if (!taken) {
    percpu_drain_all(pc);
    taken = take_at(z, pfn_index(f), order);
  }
  if (taken)
    hand_out(pc, pfn_index(f), order, flags);
  port_irq_restore(irq);
  if (!taken)
    return ERR_BUSY;
  if (unlikely(poison_generation != 0))
    poison_check(f, order);
  return finish(f, order, flags, false);
}
