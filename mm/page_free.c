/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The doors of the physical allocator through which frames come back: page_free and page_free_bulk (include/mm/page_alloc.h).
 *
 * A frame of this CPU's node goes to a per-CPU list, one of another node or of a pageblock set aside to the buddy of its zone. What comes
 * back is cleared of its life at once (frame_forget), so that nothing need be done about it when it is handed out again.
 *
 * Locks: interrupts masked on this CPU, then a zone's. Refuse, by CHECK, what is not a handed-out head of that order in a state that may
 * be freed, or what is pinned.
 */
#include "mm/zone.h"

static ALWAYS_INLINE void check_freeable(uint64_t word, unsigned order) {
  CHECK(word_is_unpinned(word, order) && (STATES_FREEABLE >> (word & 0xf) & 1));
}

/* Before another CPU may take the frame, so that its word of that comes later. What goes to this CPU's list may be told of behind. */
static ALWAYS_INLINE void tell_free(pfn_t f, unsigned order) {
  if (unlikely(port_event_on(MM_EVENT_FRAME_FREE)))
    port_event(MM_EVENT_FRAME_FREE, f.v, order, 0, 0, 0);
}

/* --- to the buddy ------------------------------------------------------------------------------------------------------------------ */

static void free_to_buddy(pfn_t f, uint64_t word, unsigned order) {
  struct zone *z = zone_of(pfn_index(f));
  frame_forget(frame_of(f));
  if (unlikely(poison_generation != 0))
    poison_fill(f, order);
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&z->lock);
  ledger_move(percpu_this(), ledger_key_of(word), ledger_key(FRAME_FREE, OWNER_CORE), 1u << order);
  buddy_give(z, pfn_index(f), order);
  port_lock_release(&z->lock);
  port_irq_restore(irq);
}

/* --- to a list --------------------------------------------------------------------------------------------------------------------- */

/* The block of 2^order frames, handed out with `word`, enters a list that is not full. */
static ALWAYS_INLINE void push(struct percpu *pc, struct percpu_list *list, pfn_t f, uint64_t word, unsigned order) {
  struct frame *frame = frame_of(f);
  uint64_t count = list->count;
  ledger_move(pc, ledger_key_of(word), ledger_key(FRAME_CACHED, OWNER_CORE), 1u << order);
  word_store(frame, list->word);
  frame_forget(frame);
  atomic_store_relaxed(&list->frames[count].v, f.v);
  atomic_store_relaxed(&list->count, (uint32_t)count + 1);
}

/* All but a block that a list has room for. */
static NOINLINE void free_other(pfn_t f, unsigned order) {
  CHECK(f.v - frame_base_pfn < frame_count && entry_is_written(pfn_index(f)));
  uint64_t word = word_load(frame_of(f));
  check_freeable(word, order);
  tell_free(f, order);
  free_to_buddy(f, word, order);
}

static NOINLINE void free_to_full_list(pfn_t f, unsigned number) {
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  struct percpu_list *list = pc->lists[number];
  unsigned order = list->order;
  if (atomic_load_relaxed(&pc->drain_wanted) != 0)
    percpu_drain_all(pc);
  else
    percpu_make_room(pc, list);
  if (unlikely(list->count >= list->high)) {
    port_irq_restore(irq);
    free_other(f, order);
    return;
  }
  push(pc, list, f, word_load(frame_of(f)), order);
  port_irq_restore(irq);
  tell_free(f, order);
}

/* The type a block of `f` has a list for; none of PERCPU_TYPES: another node's, or the pageblock's entries are not written. */
static ALWAYS_INLINE unsigned list_of(const struct percpu *pc, pfn_t f) {
  return (unsigned)atomic_load_relaxed(&pageblocks_bias[f.v >> PAGEBLOCK_ORDER].state) - pc->local;
}

/* The hot path: a block of `order`, known at compile time, into the list of that number of `pc`. */
static ALWAYS_INLINE void free_listed(struct percpu *pc, unsigned number, pfn_t f, unsigned order, port_flags_t irq) {
  const struct frame *frame = frame_of(f);
  struct percpu_list *list = pc->lists[number];
  uint64_t word = word_load(frame);
  CHECK(frame_is_unpinned(frame, order) && (STATES_FREEABLE >> (word & 0xf) & 1));
  if (unlikely(list->count >= list->high)) {
    port_irq_restore(irq);
    free_to_full_list(f, number);
    return;
  }
  push(pc, list, f, word, order);
  port_irq_restore(irq);
  tell_free(f, order);
}

/* `type` as list_of() says it, if entries are written; the kind of a whole pageblock may be WHOLE as well as SPLIT. Interrupts masked. */
static NOINLINE void free_large(pfn_t f, unsigned order, struct percpu *pc, unsigned type, port_flags_t irq) {
  if (type >= PERCPU_TYPES)
    type += (PAGEBLOCK_SPLIT - PAGEBLOCK_WHOLE) << 3;
  if (order == PAGEBLOCK_ORDER && type < PERCPU_TYPES && is_aligned(f.v, PAGEBLOCK_FRAMES)) {
    free_listed(pc, PERCPU_BLOCKS + type, f, PAGEBLOCK_ORDER, irq);
    return;
  }
  port_irq_restore(irq);
  free_other(f, order);
}

void page_free(pfn_t f, unsigned order) {
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  unsigned type = list_of(pc, f);
  if (unlikely(order != 0 || type >= PERCPU_TYPES))
    free_large(f, order, pc, type, irq);
  else
    free_listed(pc, type, f, 0, irq);
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
  do {
    frame_forget(&frame[length]);
    word_store(&frame[length++], cached);
  } while (length < max && frames[length].v == frames[0].v + length && word_load(&frame[length]) == word);
  return length;
}

/* As many of `count` neighbours as the list has room for, to be handed out in ascending order again. Returns their number. */
static unsigned fill_list(struct percpu_list *list, pfn_t first, unsigned count) {
  unsigned have = list->count, room = list->high > have ? list->high - have : 0, taken = count < room ? count : room;
  for (unsigned i = 0; i < taken; i++)
    atomic_store_relaxed(&list->frames[have + taken - 1 - i].v, first.v + i);
  atomic_store_relaxed(&list->count, have + taken);
  return taken;
}

/* A run that is CACHED already: the ledger, the list, the buddy. */
static void free_run(struct percpu *pc, unsigned type, pfn_t first, unsigned count, uint64_t from) {
  unsigned taken = fill_list(&pc->list[type], first, count);
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
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  unsigned type = list_of(pc, frames[0]);
  if (unlikely(type >= PERCPU_TYPES || pc->list[type].high == 0)) {
    port_irq_restore(irq);
    free_other(frames[0], 0);
    return 1;
  }
  uint64_t word = word_load(frame_of(frames[0]));
  check_freeable(word, 0);
  unsigned length = cache_run(frames, count, word, pc->list[type].word);
  for (unsigned i = 0; unlikely(port_event_on(MM_EVENT_FRAME_FREE)) && i < length; i++)
    tell_free(frames[i], 0);
  free_run(pc, type, frames[0], length, ledger_key_of(word));
  port_irq_restore(irq);
  return length;
}

void page_free_bulk(unsigned count, const pfn_t *frames) {
  for (unsigned done = 0; done < count;)
    done += free_first_run(count - done, frames + done);
}

void page_free_direct(pfn_t f, unsigned order) {
  free_other(f, order);
}
