/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doors of the physical allocator: page_alloc, page_free and their kin (include/mm/page_alloc.h).
 *
 * They check what comes in, choose between the per-CPU lists (single frames) and the buddy, keep the ledger between FREE, CACHED and
 * CORE, and tell the home (port_event). Single frames are the hot path: no lock, no loop, one look at the entry.
 *
 * Locks: interrupts masked on this CPU, then a zone's. Refuse, by CHECK, to free what is not a handed-out head of that order in a state
 * that may be freed, or what is pinned.
 */
#include "mm/zone.h"

#define ALLOC_FLAGS_ALL (ALLOC_TYPE_MASK | ALLOC_ZERO | ALLOC_ATOMIC | ALLOC_RETURN_CORE)

static ALWAYS_INLINE enum migratetype type_of(alloc_flags_t flags) {
  return (enum migratetype)(flags & ALLOC_TYPE_MASK);
}

static ALWAYS_INLINE enum frame_state handed_out_as(alloc_flags_t flags) {
  return flags & ALLOC_RETURN_CORE ? FRAME_CORE : FRAME_CACHED;
}

static void tell(pfn_t f, unsigned order, alloc_flags_t flags) {
  if (unlikely(port_event_on(MM_EVENT_FRAME_ALLOC)))
    port_event(MM_EVENT_FRAME_ALLOC, f.v, order, type_of(flags), 0, 0);
}

static ALWAYS_INLINE bool events_are_on(void) {
  return port_event_on(MM_EVENT_FRAME_ALLOC) || port_event_on(MM_EVENT_FRAME_STATE);
}

/* --- single frames ------------------------------------------------------------------------------------------------------------- */

static NOINLINE bool refill(struct percpu *pc, alloc_flags_t flags) {
  bool atomic = (flags & ALLOC_ATOMIC) != 0;
  if (type_of(flags) >= PERCPU_TYPES)
    return false;
  if (percpu_refill(pc, type_of(flags), atomic))
    return true;
  percpu_drain_all(pc); /* what this CPU keeps for the other types */
  return percpu_refill(pc, type_of(flags), atomic);
}

/* What few callers want, out of the way of the others. */
static NOINLINE err_t finish_single(pfn_t f, alloc_flags_t flags) {
  if (flags & ALLOC_RETURN_CORE) {
    port_flags_t irq = port_irq_save();
    word_store(frame_of(f), word_make(FRAME_CORE, 0, type_of(flags), FRAME_F_HEAD));
    ledger_move(percpu_this(), ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_CORE, OWNER_CORE), 1);
    port_irq_restore(irq);
  }
  if (flags & ALLOC_ZERO)
    port_zero_frames(f, 1);
  tell(f, 0, flags);
  return ERR_OK;
}

/* Take from a list of `count` > 0: the frame becomes what `word` says. */
static ALWAYS_INLINE pfn_t pop(struct percpu *pc, enum migratetype type, uint64_t count, uint64_t word) {
  pfn_t f = pc->frames[type][count - 1];
  atomic_store_relaxed(&pc->count[type], count - 1);
  word_store(frame_of(f), word);
  return f;
}

/* The list is empty, or `flags` name no type. */
static NOINLINE err_t alloc_slowly(alloc_flags_t flags, pfn_t *out) {
  enum migratetype type = type_of(flags);
  err_t err = type < PERCPU_TYPES ? ERR_NOMEM : ERR_INVAL;
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  if (refill(pc, flags)) {
    *out = pop(pc, type, pc->count[type], word_make(FRAME_CACHED, 0, type, FRAME_F_HEAD));
    err = ERR_OK;
  }
  port_irq_restore(irq);
  return err ? err : finish_single(*out, flags);
}

static ALWAYS_INLINE err_t alloc_single(alloc_flags_t flags, pfn_t *out) {
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  uint64_t count = pc->count[type_of(flags)];
  if (unlikely(count == 0)) {
    port_irq_restore(irq);
    return alloc_slowly(flags, out);
  }
  pfn_t f = pop(pc, type_of(flags), count, word_make(FRAME_CACHED, 0, type_of(flags), FRAME_F_HEAD));
  port_irq_restore(irq);
  *out = f;
  if (unlikely(port_event_on(MM_EVENT_FRAME_ALLOC)) || flags & (ALLOC_ZERO | ALLOC_RETURN_CORE))
    return finish_single(f, flags);
  return ERR_OK;
}

/* --- blocks -------------------------------------------------------------------------------------------------------------------- */

static uint32_t take_from(struct zone *z, unsigned order, alloc_flags_t flags) {
  uint32_t index = INDEX_NONE;
  port_lock_acquire(&z->lock);
  if (zone_allows(z, 1u << order, flags & ALLOC_ATOMIC))
    index = buddy_take(z, order, type_of(flags));
  port_lock_release(&z->lock);
  return index;
}

static uint32_t take_anywhere(unsigned order, alloc_flags_t flags) {
  uint32_t index = INDEX_NONE;
  for (struct zone *z = zones; z < zones + zone_count && index == INDEX_NONE; z++)
    index = take_from(z, order, flags);
  return index;
}

/* Another zone, if need be after giving back what this CPU keeps: it may be all that a block lacks. */
static NOINLINE uint32_t take_slowly(struct percpu *pc, unsigned order, alloc_flags_t flags) {
  uint32_t index = take_anywhere(order, flags);
  if (index != INDEX_NONE)
    return index;
  percpu_drain_all(pc);
  return take_anywhere(order, flags);
}

/* A block has left the buddy: its entry, the ledger. */
static ALWAYS_INLINE void hand_out(struct percpu *pc, uint32_t index, unsigned order, alloc_flags_t flags) {
  frame_reset(frame_at(index), word_make(handed_out_as(flags), order, type_of(flags), FRAME_F_HEAD));
  ledger_move(pc, ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(handed_out_as(flags), OWNER_CORE), 1u << order);
}

static ALWAYS_INLINE err_t finish_block(pfn_t f, unsigned order, alloc_flags_t flags) {
  if (flags & ALLOC_ZERO)
    port_zero_frames(f, (uint64_t)1 << order);
  tell(f, order, flags);
  return ERR_OK;
}

static bool arguments_are_bad(unsigned order, alloc_flags_t flags) {
  return flags > ALLOC_FLAGS_ALL || type_of(flags) >= PERCPU_TYPES || order > MAX_ORDER;
}

static NOINLINE err_t alloc_block(unsigned order, alloc_flags_t flags, pfn_t *out) {
  if (arguments_are_bad(order, flags))
    return ERR_INVAL;
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  uint32_t index = take_from(zones, order, flags);
  if (unlikely(index == INDEX_NONE))
    index = take_slowly(pc, order, flags);
  if (likely(index != INDEX_NONE))
    hand_out(pc, index, order, flags);
  port_irq_restore(irq);
  if (unlikely(index == INDEX_NONE))
    return ERR_NOMEM;
  *out = index_pfn(index);
  return finish_block(*out, order, flags);
}

err_t page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out) {
  _Static_assert((ALLOC_FLAGS_ALL & (ALLOC_FLAGS_ALL + 1)) == 0, "one compare tells a flag that is none");
  if (likely(order == 0 && flags <= ALLOC_FLAGS_ALL))
    return alloc_single(flags, out);
  return alloc_block(order, flags, out);
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
  if (unlikely(order != 0 || (flags & ~ALLOC_ATOMIC) >= PERCPU_TYPES || owner >= OWNERS_MAX || events_are_on()))
    return alloc_owned_slowly(order, flags, owner, rmap, out);
  enum migratetype type = type_of(flags);
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  uint64_t count = pc->count[type];
  if (unlikely(count == 0)) {
    port_irq_restore(irq);
    return alloc_owned_slowly(order, flags, owner, rmap, out);
  }
  uint64_t word = word_make(FRAME_OWNED, 0, type, FRAME_F_HEAD) | (uint64_t)owner << WORD_OWNER_SHIFT;
  pfn_t f = pop(pc, type, count, word);
  atomic_store_relaxed(&frame_of(f)->rmap, rmap);
  ledger_move(pc, ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_OWNED, owner), 1);
  port_irq_restore(irq);
  *out = f;
  return ERR_OK;
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
  return finish_block(f, order, flags);
}

/* --- free ---------------------------------------------------------------------------------------------------------------------- */

static ALWAYS_INLINE void check_freeable(uint64_t word, unsigned order) {
  CHECK(word_is_unpinned(word, order) && (STATES_FREEABLE >> (word & 0xf) & 1));
}

static void tell_free(pfn_t f, unsigned order) {
  if (unlikely(port_event_on(MM_EVENT_FRAME_FREE)))
    port_event(MM_EVENT_FRAME_FREE, f.v, order, 0, 0, 0);
}

static NOINLINE void free_block(pfn_t f, unsigned order) {
  uint32_t index = pfn_index(f);
  uint64_t word = word_load(frame_of(f));
  CHECK(index < frame_count && entry_is_written(index));
  check_freeable(word, order);
  struct zone *z = zone_of(index);
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&z->lock);
  ledger_move(percpu_this(), ledger_key_of(word), ledger_key(FRAME_FREE, OWNER_CORE), 1u << order);
  buddy_give(z, index, order);
  port_lock_release(&z->lock);
  port_irq_restore(irq);
  tell_free(f, order);
}

/* The frame, handed out with `word`, enters a list that is not full. */
static ALWAYS_INLINE void push(struct percpu *pc, pfn_t f, struct frame *frame, uint64_t word, unsigned type) {
  uint64_t count = pc->count[type];
  ledger_move(pc, ledger_key_of(word), ledger_key(FRAME_CACHED, OWNER_CORE), 1);
  frame_reset(frame, word_make(FRAME_CACHED, 0, type, FRAME_F_HEAD | FRAME_F_PERCPU));
  atomic_store_relaxed(&pc->frames[type][count].v, f.v);
  atomic_store_relaxed(&pc->count[type], count + 1);
}

static NOINLINE void free_to_full_list(pfn_t f, uint64_t word, unsigned type) {
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  percpu_drain(pc, type, PERCPU_BATCH);
  push(pc, f, frame_of(f), word, type);
  port_irq_restore(irq);
  tell_free(f, 0);
}

/* The list a single frame belongs to; if it is none of PERCPU_TYPES, it has none, or the pageblock's entries are not written. */
static ALWAYS_INLINE unsigned list_of(pfn_t f) {
  return (unsigned)atomic_load_relaxed(&pageblocks_bias[f.v >> PAGEBLOCK_ORDER].state) - (PAGEBLOCK_SPLIT << 3);
}

void page_free(pfn_t f, unsigned order) {
  unsigned type = list_of(f);
  if (unlikely(order != 0 || type >= PERCPU_TYPES)) {
    free_block(f, order);
    return;
  }
  struct frame *frame = frame_of(f);
  uint64_t word = word_load(frame);
  check_freeable(word, 0);
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  if (unlikely(pc->count[type] == PERCPU_HIGH)) {
    port_irq_restore(irq);
    free_to_full_list(f, word, type);
    return;
  }
  push(pc, f, frame, word, type);
  port_irq_restore(irq);
  tell_free(f, 0);
}

/* --- many single frames -------------------------------------------------------------------------------------------------------- */

/*
 * The first entries of `frames` that ascend by one within a pageblock and whose words are all `word`: they become `cached`. Returns their
 * number.
 */
static ALWAYS_INLINE unsigned cache_run(const pfn_t *frames, unsigned count, uint64_t word, uint64_t cached) {
  uint64_t left = PAGEBLOCK_FRAMES - (frames[0].v & (PAGEBLOCK_FRAMES - 1));
  unsigned length = 0, max = count < left ? count : (unsigned)left;
  struct frame *frame = frame_of(frames[0]);
  do
    word_store(&frame[length++], cached);
  while (length < max && frames[length].v == frames[0].v + length && word_load(&frame[length]) == word);
  return length;
}

/* As many of `count` neighbours as the list has room for, to be handed out in ascending order again. Returns their number. */
static unsigned fill_list(struct percpu *pc, unsigned type, pfn_t first, unsigned count, uint64_t cached) {
  unsigned have = (unsigned)pc->count[type], taken = count < PERCPU_HIGH - have ? count : PERCPU_HIGH - have;
  struct frame *frame = frame_of(first);
  for (unsigned i = 0; i < taken; i++) {
    frame_reset(&frame[i], cached);
    atomic_store_relaxed(&pc->frames[type][have + taken - 1 - i].v, first.v + i);
  }
  atomic_store_relaxed(&pc->count[type], have + taken);
  return taken;
}

/* A run that is CACHED already: the ledger, the list, the buddy. */
static void free_run(pfn_t first, unsigned count, uint64_t from, unsigned type, uint64_t cached) {
  struct percpu *pc = percpu_this();
  unsigned taken = fill_list(pc, type, first, count, cached);
  ledger_move(pc, from, ledger_key(FRAME_CACHED, OWNER_CORE), taken);
  if (taken == count)
    return;
  struct zone *z = zone_of(pfn_index(first));
  ledger_move(pc, from, ledger_key(FRAME_FREE, OWNER_CORE), count - taken);
  port_lock_acquire(&z->lock);
  buddy_give_run(z, pfn_index(first) + taken, count - taken);
  port_lock_release(&z->lock);
}

/* The first run of `frames`; returns its length. */
static unsigned free_first_run(unsigned count, const pfn_t *frames) {
  unsigned type = list_of(frames[0]);
  if (unlikely(type >= PERCPU_TYPES)) {
    free_block(frames[0], 0);
    return 1;
  }
  uint64_t word = word_load(frame_of(frames[0]));
  uint64_t cached = word_make(FRAME_CACHED, 0, type, FRAME_F_HEAD | FRAME_F_PERCPU);
  check_freeable(word, 0);
  port_flags_t irq = port_irq_save();
  unsigned length = cache_run(frames, count, word, cached);
  free_run(frames[0], length, ledger_key_of(word), type, cached);
  port_irq_restore(irq);
  for (unsigned i = 0; unlikely(port_event_on(MM_EVENT_FRAME_FREE)) && i < length; i++)
    tell_free(frames[i], 0);
  return length;
}

void page_free_bulk(unsigned count, const pfn_t *frames) {
  for (unsigned done = 0; done < count;)
    done += free_first_run(count - done, frames + done);
}

void page_free_direct(pfn_t f, unsigned order) {
  free_block(f, order);
}

void page_drain_local(void) {
  port_flags_t irq = port_irq_save();
  percpu_drain_all(percpu_this());
  port_irq_restore(irq);
}
