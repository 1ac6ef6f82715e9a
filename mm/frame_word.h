/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_FRAME_WORD_H
#define MM_FRAME_WORD_H

/*
 * Entries of the frame table as the files of the allocator read and write them: by index (pfn - frame_base_pfn, 32 bits), and their first
 * word as a whole, since CPUs that hold no lock look at entries that are not theirs. Also what a word may change to, and its ledger key.
 */

#include "core/bits.h"
#include "core/check.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"

#define INDEX_NONE FRAME_LINK_NONE
#define CHUNK_FRAMES (1u << MAX_ORDER)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "struct frame's word is spelled for little-endian");

extern uint32_t frame_count; /* entries in the table */

static inline struct frame *frame_at(uint32_t index) {
  return &frame_table[index];
}

static inline pfn_t index_pfn(uint32_t index) {
  return pfn(frame_base_pfn + index);
}

/* `f` lies in the table: callers hold it from the allocator, or have checked. */
static inline uint32_t pfn_index(pfn_t f) {
  return (uint32_t)(f.v - frame_base_pfn);
}

/*
 *   63    48 47   40 39   32 31   24 23  16 15     4 3     0
 *  +--------+-------+-------+-------+------+--------+-------+
 *  |  pins  | flags | order |   0   | type | owner  | state |   struct frame's word; its low half-word is the ledger's key
 *  +--------+-------+-------+-------+------+--------+-------+
 */
#define WORD_STATE_MASK ((uint64_t)0xf)
#define WORD_OWNER_SHIFT 4
#define WORD_TYPE_SHIFT 16
#define WORD_ORDER_SHIFT 32
#define WORD_FLAGS_SHIFT 40
#define WORD_PINS_SHIFT 48

static inline uint64_t word_make(enum frame_state state, uint64_t order, uint64_t type, uint64_t flags) {
  return (uint64_t)state | order << WORD_ORDER_SHIFT | type << WORD_TYPE_SHIFT | flags << WORD_FLAGS_SHIFT;
}

static ALWAYS_INLINE uint64_t word_load(const struct frame *f) {
  return atomic_load_relaxed(&f->word);
}

static ALWAYS_INLINE void word_store(struct frame *f, uint64_t word) {
  atomic_store_relaxed(&f->word, word);
}

static inline unsigned word_type(uint64_t word) {
  return (word >> WORD_TYPE_SHIFT) & 0xff;
}

static inline unsigned word_order(uint64_t word) {
  return (word >> WORD_ORDER_SHIFT) & 0xff;
}

static inline owner_t word_owner(uint64_t word) {
  return (owner_t)(word >> WORD_OWNER_SHIFT & 0xfff);
}

static inline unsigned word_pins(uint64_t word) {
  return (unsigned)(word >> WORD_PINS_SHIFT);
}

static inline bool word_is_head(uint64_t word) {
  return word & word_make(0, 0, 0, FRAME_F_HEAD);
}

/* A head of this order that has been handed out: FRAME_F_HEAD and no other flag. */
static inline bool word_is_claimed(uint64_t word, unsigned order) {
  return (uint16_t)(word >> WORD_ORDER_SHIFT) == (order | FRAME_F_HEAD << 8);
}

/* The half of the word that says so, for one look at memory. */
static ALWAYS_INLINE bool frame_is_unpinned(const struct frame *f, unsigned order) {
  return atomic_load_relaxed(&f->claim) == (order | FRAME_F_HEAD << 8);
}

/* The same, and not pinned. */
static inline bool word_is_unpinned(uint64_t word, unsigned order) {
  return word >> WORD_ORDER_SHIFT == (order | FRAME_F_HEAD << 8);
}

/* The head of a free block: its order and flags say it all, for one compare of half a word. */
static ALWAYS_INLINE uint32_t claim_of_free(unsigned order) {
  return order | (FRAME_F_HEAD | FRAME_F_BUDDY) << 8;
}

static ALWAYS_INLINE bool frame_is_free(const struct frame *f, unsigned order) {
  return atomic_load_relaxed(&f->claim) == claim_of_free(order);
}

static inline bool word_is_free(uint64_t word, unsigned order) {
  return word >> WORD_ORDER_SHIFT == claim_of_free(order);
}

static inline uint64_t word_with_order(uint64_t word, unsigned order) {
  return (word & ~word_make(0, 0xff, 0, 0)) | word_make(0, order, 0, 0);
}

/* A block is given back: nothing of its life is left in its head. Free heads, and tails, have these at 0. */
static inline void frame_forget(struct frame *f) {
  atomic_store_relaxed(&f->life, 0);
  atomic_store_relaxed(&f->rmap, 0);
}

/* --- transitions and ledger (frame.c) ------------------------------------------------------------------------------------------ */

#define STATE_BIT(state_) (1u << (state_))
/* States only the allocator puts a frame into. */
#define STATES_OF_ALLOCATOR (STATE_BIT(FRAME_RESERVED) | STATE_BIT(FRAME_FREE) | STATE_BIT(FRAME_CACHED))

/* Bit per state that may follow; rows beyond FRAME_STATES are empty, so that a corrupt entry is refused. */
extern const uint16_t frame_transitions[16];

/* States page_free() takes: the rows above that allow FREE, as one constant for the hot path. */
#define STATES_FREEABLE                                                                                                                    \
  (STATE_BIT(FRAME_CACHED) | STATE_BIT(FRAME_ZEROED) | STATE_BIT(FRAME_CORE) | STATE_BIT(FRAME_TABLE) | STATE_BIT(FRAME_OWNED) |           \
   STATE_BIT(FRAME_SHARED) | STATE_BIT(FRAME_MANAGED) | STATE_BIT(FRAME_MOVING))

#define LEDGER_STATES 16u

static inline uint64_t ledger_key(enum frame_state state, owner_t owner) {
  return (uint64_t)owner * LEDGER_STATES + (uint64_t)state;
}

static inline uint64_t ledger_key_of(uint64_t word) {
  return (uint16_t)word;
}

/* Start anew: `free` frames FREE, `reserved` RESERVED. */
void ledger_reset(uint32_t free, uint32_t reserved);

#endif
