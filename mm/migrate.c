/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving one block while its owner uses it (include/mm/migrate.h): the core's side of the conversation.
 *
 * Everything the core knows of the block before freeze is a glimpse; what freeze has locked is looked at again, and only then anything is
 * written. From there on nothing can fail: the target takes over the whole entry (state, owner, rmap, refs, private, links), the owner
 * copies and maps, and the source goes straight to the buddy, so that it merges where it lies and no per-CPU list holds it back.
 *
 * Interrupts are masked from freeze to thaw, so that nobody on this CPU waits for a lock it holds. No lock of the core's is held across the
 * owner's calls. Refuses what is pinned, not allocated as movable, or in a state without a mapping to follow.
 */
#include "mm/compaction.h"

const struct migrate_ops *migrate_ops;

void migrate_set_ops(const struct migrate_ops *ops) {
  migrate_ops = ops;
}

const char *move_result_name(enum move_result r) {
  static const char *const names[MOVE_RESULTS] = {"done", "gone", "pinned", "unmovable", "busy", "no room"};
  return (unsigned)r < MOVE_RESULTS ? names[r] : "?";
}

enum move_result frame_movable(pfn_t from) {
  return migrate_ops ? move_judge(word_load(frame_of(from))) : MOVE_UNMOVABLE;
}

static enum move_result refusal(err_t err) {
  switch (err) {
  case ERR_NOENT:
    return MOVE_GONE;
  case ERR_PERM:
    return MOVE_UNMOVABLE;
  default:
    return MOVE_BUSY;
  }
}

/* `from` is frozen: may it go, and is it what was frozen? */
static enum move_result judge_frozen(uint64_t word, unsigned order, owner_t owner) {
  enum move_result r = move_judge(word);
  if (r == MOVE_DONE && (word_order(word) != order || word_owner(word) != owner))
    return MOVE_GONE;
  return r;
}

/* `to`, CACHED, becomes what `from` was: one store, after all that goes with it. */
static void take_over(struct frame *to, const struct frame *from, uint64_t word) {
  to->next = from->next;
  to->prev = from->prev;
  to->refs = from->refs;
  to->private = from->private;
  atomic_store_relaxed(&to->rmap, atomic_load_relaxed(&from->rmap));
  word_store(to, word);
}

/* `from` is the owner's no more but on its way, `to` is: what changes in the sums is that a CACHED frame became a MOVING one. */
static void carry_over(pfn_t from, unsigned order, pfn_t to, uint64_t word) {
  struct frame *source = frame_of(from);
  uint64_t moving = (word & ~WORD_STATE_MASK) | FRAME_MOVING;
  ledger_move(percpu_this(), ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key_of(moving), 1u << order);
  take_over(frame_of(to), source, word);
  word_store(source, moving);
  if (unlikely(port_event_on(MM_EVENT_FRAME_STATE)))
    port_event(MM_EVENT_FRAME_STATE, from.v, order, word & WORD_STATE_MASK, (uint64_t)FRAME_MOVING | (uint64_t)word_owner(word) << 8, 0);
  migrate_ops->move(from, to, order);
}

static enum move_result move_masked(pfn_t from, unsigned order, pfn_t to) {
  uint64_t glimpse = word_load(frame_of(from)), word;
  owner_t owner = word_owner(glimpse);
  enum move_result r = judge_frozen(glimpse, order, owner);
  if (r != MOVE_DONE)
    return r;
  err_t err = migrate_ops->freeze(from, order, owner, atomic_load_relaxed(&frame_of(from)->rmap));
  if (err)
    return refusal(err);
  word = word_load(frame_of(from));
  if (unlikely(word != glimpse))
    r = judge_frozen(word, order, owner);
  if (r == MOVE_DONE)
    carry_over(from, order, to, word);
  migrate_ops->thaw(r == MOVE_DONE ? to : from, order, owner);
  return r;
}

enum move_result frame_move(pfn_t from, unsigned order, pfn_t to) {
  CHECK(word_is_unpinned(word_load(frame_of(to)), order) && frame_of(to)->state == FRAME_CACHED);
  if (!migrate_ops)
    return MOVE_UNMOVABLE;
  port_flags_t flags = port_irq_save();
  enum move_result r = move_masked(from, order, to);
  if (r == MOVE_DONE)
    page_free_direct(from, order);
  port_irq_restore(flags);
  if (r == MOVE_DONE && unlikely(port_event_on(MM_EVENT_FRAME_MOVE)))
    port_event(MM_EVENT_FRAME_MOVE, from.v, to.v, order, 0, 0);
  return r;
}
