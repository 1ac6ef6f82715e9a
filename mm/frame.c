/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frame states: the one table that says which may follow which, the only function that changes the state of an allocated block, and the
 * ledger that counts frames by owner and state.
 *
 * Invariants: a block's state, order and owner stand in its head's word and change by one store, so that a reader without a lock sees the
 * old or the new, never a mix. Each change moves the block's frames between two counters of the CPU it runs on, interrupts
 * masked; the sums over CPUs are the ledger.
 *
 * Takes no lock: the caller holds the one that covers the frame's present state (docs/frame-states.md). Refuses, by CHECK, what is no
 * head, what lies in a per-CPU list, an order that is not the block's, and every transition the table does not allow.
 */
#include "mm/zone.h"

#define TO(state_) STATE_BIT(FRAME_##state_)
/* page_free(): single frames go to a per-CPU list or, like larger blocks, to the buddy. */
#define FREED (TO(CACHED) | TO(FREE))

const uint16_t frame_transitions[16] = {
    [FRAME_RESERVED] = 0,
    [FRAME_FREE] = TO(CACHED),
    [FRAME_CACHED] = FREED | TO(ZEROED) | TO(CORE) | TO(TABLE) | TO(OWNED) | TO(MANAGED) | TO(BAD),
    [FRAME_ZEROED] = FREED | TO(CORE) | TO(TABLE) | TO(OWNED) | TO(MANAGED),
    [FRAME_CORE] = FREED | TO(OWNED) | TO(BAD),
    [FRAME_TABLE] = FREED,
    [FRAME_OWNED] = FREED | TO(OWNED) | TO(SHARED) | TO(LENT) | TO(MANAGED) | TO(MOVING) | TO(BAD),
    [FRAME_SHARED] = FREED | TO(OWNED) | TO(SHARED) | TO(LENT) | TO(MOVING),
    [FRAME_LENT] = TO(OWNED) | TO(SHARED) | TO(LENT),
    [FRAME_MANAGED] = FREED | TO(OWNED) | TO(MANAGED) | TO(MOVING) | TO(BAD),
    [FRAME_MOVING] = FREED | TO(OWNED) | TO(SHARED) | TO(MANAGED) | TO(BAD),
    [FRAME_BAD] = 0,
};

struct frame *frame_table;
uint64_t frame_base_pfn;
uintptr_t frame_table_bias;

/* What a change of state and owner leaves alone. */
#define WORD_KEPT_BY_STATE (~(uint64_t)0xffff)
#define WORD_STATE_OWNER ((uint64_t)0xffff)
#define WORD_ORDER_FLAGS ((uint64_t)0xffff << WORD_ORDER_SHIFT)
#define WORD_PINS_SHIFT 48

static uint32_t total_frames;

bool frame_transition_legal(enum frame_state from, enum frame_state to) {
  return from < FRAME_STATES && to < FRAME_STATES && (frame_transitions[from] >> to & 1);
}

const char *frame_state_name(enum frame_state s) {
  static const char *const names[FRAME_STATES] = {
      "reserved", "free", "cached", "zeroed", "core", "table", "owned", "shared", "lent", "managed", "moving", "bad",
  };
  return s < FRAME_STATES ? names[s] : "?";
}

/* A claim that docs/frame-states.md does not allow: which of the reasons it is stands in the report. */
static NORETURN NOINLINE void refuse(pfn_t f, unsigned order, enum frame_state to) {
  uint64_t word = word_load(frame_of(f));
  CHECK(word_is_head(word));
  CHECK(!(word & word_make(0, 0, 0, FRAME_F_PERCPU)));
  CHECK(word_order(word) == order);
  CHECK(frame_transition_legal((enum frame_state)(word & WORD_STATE_MASK), to));
  check_failed("owner < OWNERS_MAX", __FILE__, __LINE__);
}

void frame_set_state(pfn_t f, unsigned order, enum frame_state to, owner_t owner, uint64_t rmap) {
  struct frame *frame = frame_of(f);
  uint64_t old = word_load(frame);
  unsigned allowed = frame_transitions[old & 0xf] & ~STATES_OF_ALLOCATOR;
  if (unlikely(!word_is_claimed(old, order)) || unlikely(!(allowed >> to & 1)) || unlikely(owner >= OWNERS_MAX))
    refuse(f, order, to);
  port_flags_t flags = port_irq_save();
  word_store(frame, (old & WORD_KEPT_BY_STATE) | to | (uint64_t)owner << WORD_OWNER_SHIFT);
  atomic_store_relaxed(&frame->rmap, rmap);
  ledger_move(percpu_this(), ledger_key_of(old), ledger_key(to, owner), 1u << order);
  port_irq_restore(flags);
  if (unlikely(port_event_on(MM_EVENT_FRAME_STATE)))
    port_event(MM_EVENT_FRAME_STATE, f.v, order, old & WORD_STATE_MASK, (uint64_t)to | (uint64_t)owner << 8, 0);
}

/* One block of a chain. `word` is what it becomes. */
static ALWAYS_INLINE void set_link(struct frame *frame, uint64_t word, uint64_t rmap, bool release) {
  word_store(frame, word);
  if (rmap != FRAME_RMAP_KEPT)
    atomic_store_relaxed(&frame->rmap, rmap);
  if (release) {
    frame->next = FRAME_LINK_NONE;
    frame->refs = 0;
  }
}

uint32_t frame_set_state_chain(uint32_t first, unsigned max, enum frame_state to, owner_t owner, uint64_t rmap, bool release,
                               uint64_t *frames) {
  uint64_t before = word_load(&frame_table[first]), step = PAGE_SIZE << word_order(before);
  uint64_t kept = WORD_KEPT_BY_STATE & (release ? ~((uint64_t)0xffff << WORD_PINS_SHIFT) : ~(uint64_t)0);
  uint64_t same = WORD_STATE_OWNER | WORD_ORDER_FLAGS, now = to | (uint64_t)owner << WORD_OWNER_SHIFT;
  uint32_t count = 0, index = first;
  if (unlikely(!word_is_claimed(before, word_order(before))) || unlikely(owner >= OWNERS_MAX) ||
      unlikely(!(frame_transitions[before & 0xf] & ~STATES_OF_ALLOCATOR & STATE_BIT(to))))
    refuse(index_pfn(first), word_order(before), to);
  port_flags_t flags = port_irq_save();
  for (; index != FRAME_LINK_NONE && count < max; count++) {
    struct frame *frame = &frame_table[index];
    uint64_t old = word_load(frame);
    if ((old ^ before) & same)
      break;
    uint32_t next = frame->next;
    set_link(frame, (old & kept) | now, rmap, release);
    rmap += rmap != FRAME_RMAP_KEPT ? step : 0;
    if (unlikely(port_event_on(MM_EVENT_FRAME_STATE)))
      port_event(MM_EVENT_FRAME_STATE, index_pfn(index).v, word_order(old), old & WORD_STATE_MASK, (uint64_t)to | (uint64_t)owner << 8, 0);
    index = next;
  }
  *frames = (uint64_t)count << word_order(before);
  ledger_move(percpu_this(), ledger_key_of(before), ledger_key(to, owner), (uint32_t)*frames);
  port_irq_restore(flags);
  return index;
}

/* Do frames in this state have an input address that advances with them? */
static bool has_rmap(enum frame_state state) {
  return state >= FRAME_OWNED && state <= FRAME_MOVING;
}

/* The rmap of the frame `distance` after a head with `rmap`. */
static uint64_t rmap_at(enum frame_state state, uint64_t rmap, uint64_t distance) {
  return has_rmap(state) ? rmap + (distance << PAGE_SHIFT) : rmap;
}

/* Write every entry of the block's pageblocks that has not been written yet, so that parts of it can become heads. */
static void write_entries(uint32_t index, unsigned order) {
  struct zone *z = zone_of(index);
  port_flags_t flags = zone_lock(z);
  for (uint32_t i = index; i < index + (1u << order); i += PAGEBLOCK_FRAMES) {
    if (pageblock_kind(pageblock_of(i)) != PAGEBLOCK_SPLIT)
      pageblock_write_entries(pageblock_of(i));
  }
  zone_unlock(z, flags);
}

void frame_split_block(pfn_t f, unsigned order, unsigned to_order) {
  struct frame *head = frame_of(f);
  uint64_t word = word_load(head);
  CHECK(word_is_claimed(word, order) && to_order <= order);
  if (order >= PAGEBLOCK_ORDER && to_order < PAGEBLOCK_ORDER)
    write_entries(pfn_index(f), order);
  struct frame part = *head;
  uint64_t step = rmap_at(word & WORD_STATE_MASK, 0, (uint64_t)1 << to_order);
  word = word_with_order(word, to_order);
  for (struct frame *to = head; to < head + ((uint64_t)1 << order); to += (uint64_t)1 << to_order) {
    to->refs = part.refs;
    to->private = part.private;
    atomic_store_relaxed(&to->rmap, part.rmap);
    word_store(to, word);
    part.rmap += step;
  }
}

/* Does the owner have the part so far behind the head as a block would have it? */
static bool follows(const struct frame *head, uint64_t distance) {
  enum frame_state state = word_load(head) & WORD_STATE_MASK;
  return !has_rmap(state) || head[distance].rmap == rmap_at(state, head->rmap, distance);
}

err_t frame_join_block(pfn_t f, unsigned from_order, unsigned order) {
  struct frame *head = frame_of(f);
  uint64_t word = word_load(head), step = (uint64_t)1 << from_order, end = (uint64_t)1 << order;
  CHECK(order <= MAX_ORDER && from_order <= order && is_aligned(f.v, end));
  uint64_t same = ~word_make(0, 0, 0xff, 0); /* a pageblock's type may have changed between two allocations */
  if (!word_is_unpinned(word, from_order))
    return ERR_BUSY;
  for (uint64_t i = step; i < end; i += step) {
    if ((word_load(&head[i]) & same) != (word & same) || !follows(head, i))
      return ERR_BUSY;
  }
  for (uint64_t i = step; i < end; i += step) {
    word_store(&head[i], 0);
    frame_forget(&head[i]);
  }
  word_store(head, word_with_order(word, order));
  return ERR_OK;
}

static bool in_table(pfn_t f) {
  return f.v - frame_base_pfn < frame_count;
}

bool frame_is_valid(pfn_t f) {
  return in_table(f) && entry_is_written(pfn_index(f));
}

pfn_t frame_head(pfn_t f) {
  uint32_t head = in_table(f) ? entry_find_head(pfn_index(f)) : INDEX_NONE;
  return head == INDEX_NONE ? PFN_NONE : index_pfn(head);
}

void frame_describe(pfn_t f, struct frame_info *out) {
  *out = (struct frame_info){.state = FRAME_RESERVED, .head = frame_head(f)};
  if (pfn_is_none(out->head)) {
    if (in_table(f) && pageblock_kind(pageblock_of(pfn_index(f))) == PAGEBLOCK_UNOPENED)
      out->state = FRAME_FREE;
    return;
  }
  const struct frame *head = frame_of(out->head);
  uint64_t word = word_load(head);
  out->state = (enum frame_state)(word & WORD_STATE_MASK);
  out->owner = word_owner(word);
  out->pins = word_pins(word);
  out->order = word_order(word);
  out->rmap = rmap_at(out->state, atomic_load_relaxed(&head->rmap), f.v - out->head.v);
}

enum frame_state frame_state(pfn_t f) {
  struct frame_info info;
  frame_describe(f, &info);
  return info.state;
}

/* --- ledger -------------------------------------------------------------------------------------------------------------------- */

void ledger_reset(uint32_t free, uint32_t reserved) {
  percpus[0].ledger[ledger_key(FRAME_FREE, OWNER_CORE)] = free;
  percpus[0].ledger[ledger_key(FRAME_RESERVED, OWNER_CORE)] = reserved;
  total_frames = free + reserved;
}

void ledger_read_owner(owner_t owner, struct ledger *out) {
  CHECK(owner < OWNERS_MAX);
  for (unsigned state = 0; state < FRAME_STATES; state++) {
    uint32_t sum = 0;
    for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++)
      sum += atomic_load_relaxed(&percpus[cpu].ledger[ledger_key((enum frame_state)state, owner)]);
    out->frames[state] = sum;
  }
}

void ledger_read(struct ledger *out) {
  struct ledger one;
  *out = (struct ledger){0};
  for (owner_t owner = 0; owner < OWNERS_MAX; owner++) {
    ledger_read_owner(owner, &one);
    for (unsigned state = 0; state < FRAME_STATES; state++)
      out->frames[state] += one.frames[state];
  }
}

uint64_t ledger_total(void) {
  return total_frames;
}
