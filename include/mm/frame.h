/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_FRAME_H
#define MM_FRAME_H

/*
 * The frame table: one 32-byte `struct frame` per 4 KiB frame, and the ledger that sums them.
 *
 * Every frame is in exactly one state. Frames are handled in blocks: 2^order frames, naturally aligned. State, order, owner and reverse
 * mapping of a block stand in the entry of its first frame, its head (FRAME_F_HEAD); the entries of the others, its tails, say only
 * that they are no heads. So changing the state of a 2 MiB block is one write. frame_state(), frame_describe() and frame_head() take
 * any frame of a block and find the head themselves; frame_of() does not: it is for a caller who holds the head.
 *
 * docs/frame-states.md holds the table of states, legal transitions, who zeroes and which lock covers each; frame_set_state()
 * trips a CHECK on any transition that is not in it, and a test holds the document against the code.
 *
 * The array is virtually flat, indexed by pfn - frame_base_pfn. Boot does not pay for RAM nobody uses yet: a 2 MiB pageblock's entries are
 * written when the allocator first splits it below 2 MiB, its head's when it first hands it out (mm/buddy.c). Before that frame_state()
 * answers FRAME_FREE without touching them.
 */

#include "core/atomic.h"
#include "core/err.h"
#include "core/types.h"

enum frame_state {
  FRAME_RESERVED = 0, /* not ours to give: firmware, the hypervisor's image, holes */
  FRAME_FREE,         /* in the buddy (or in a chunk not opened yet) */
  FRAME_CACHED,       /* in a per-CPU list, or handed out and not claimed yet */
  FRAME_ZEROED,       /* in the zeroed pool */
  FRAME_CORE,         /* the home's own: EL2's stacks, slabs, rings; a guest kernel's own */
  FRAME_TABLE,        /* a translation table of `owner` */
  FRAME_OWNED,        /* memory of `owner`, mapped at `rmap` */
  FRAME_SHARED,       /* owned by `owner`, mapped by others as well */
  FRAME_LENT,         /* owned by `owner`, mapped only by the borrower */
  FRAME_MANAGED,      /* belongs to a managed range */
  FRAME_MOVING,       /* frozen: its contents are on the way to another frame */
  FRAME_BAD,          /* withdrawn for good */
  FRAME_STATES
};

/* Owner ids. 0 is the home itself; the hypervisor uses vm->id (1..), the guest kernel uses 1 for user pages. */
typedef uint16_t owner_t;
#define OWNER_CORE ((owner_t)0)
#define OWNERS_MAX 64u

#define FRAME_LINK_NONE (~(uint32_t)0)

struct frame {
  union {
    struct {
      uint16_t state : 4; /* enum frame_state; changed under the lock of whoever owns the frame (docs/frame-states.md) */
      uint16_t owner : 12;
      uint8_t migratetype; /* enum migratetype the block was allocated as */
      uint8_t spare;
      uint8_t order; /* of the block this frame heads */
      uint8_t flags; /* FRAME_F_*; the core's alone */
      uint16_t pins; /* > 0: must not be moved or freed */
    };
    struct {
      uint32_t kind;  /* state, owner, type */
      uint32_t claim; /* order, flags, pins */
    };
    uint64_t word; /* all of the above: the core reads entries it does not own with one load, and writes them with one store */
  };
  uint32_t next, prev; /* links by frame index (pfn - frame_base_pfn): free list; owner's use (LRU, slab) when allocated */
  union {
    struct {
      uint32_t refs;    /* the home's count: mappings of a guest page, users of a table; 0 when allocated */
      uint32_t private; /* the home's own, e.g. LRU bits, swap slot; 0 when allocated; of the head only, like refs and rmap */
    };
    uint64_t life; /* both, for one store */
  };
  uint64_t rmap; /* reverse mapping of the head, in the owner's terms: ipa for OWNED of a VM, anon or file key in the guest */
};

_Static_assert(sizeof(struct frame) == 32, "struct frame must stay at 32 bytes");
_Static_assert(FRAME_STATES <= 16 && OWNERS_MAX <= 4096, "state and owner have 4 and 12 bits");

#define FRAME_F_HEAD 0x01u   /* head of its block */
#define FRAME_F_PERCPU 0x02u /* lies in a per-CPU list (state CACHED); clear once handed out */
#define FRAME_F_BUDDY 0x04u  /* head of a free block on the buddy's lists (state FREE) */

extern struct frame *frame_table; /* entry of frame_base_pfn */
extern uint64_t frame_base_pfn;
extern uintptr_t frame_table_bias; /* where the entry of frame 0 would be: saves the hot paths a subtraction */

/* The entry of a frame that heads a block. Constant time, no check: callers hold a pfn that came from the allocator. */
static inline struct frame *frame_of(pfn_t f) {
  return (struct frame *)(frame_table_bias + f.v * sizeof(struct frame));
}

static inline pfn_t frame_pfn(const struct frame *f) {
  return (pfn_t){(uint64_t)(f - frame_table) + frame_base_pfn};
}

/*
 * True if `f` lies in RAM that the core manages, reserved frames beside it included, and its own entry has been initialised. Safe for
 * any value.
 */
bool frame_is_valid(pfn_t f);

/*
 * The head of the block that `f`, any frame number, belongs to; its entry is frame_of() of that. PFN_NONE if it has none: reserved,
 * outside RAM, or in a chunk not opened yet. The answer holds while the caller holds the lock that covers the block; without it, it is
 * a glimpse (reports).
 */
pfn_t frame_head(pfn_t f);

/* State of any frame number; FRAME_RESERVED outside RAM, FRAME_FREE in a chunk not opened yet. */
enum frame_state frame_state(pfn_t f);
const char *frame_state_name(enum frame_state s);

/*
 * All there is to say about one frame, for reports and tests. `rmap` is that of the frame itself: the head's plus its distance, for
 * states that have a mapping.
 */
struct frame_info {
  enum frame_state state;
  owner_t owner;
  unsigned order; /* of the block */
  unsigned pins;
  pfn_t head; /* PFN_NONE as in frame_head() */
  uint64_t rmap;
};
void frame_describe(pfn_t f, struct frame_info *out);

/* True if docs/frame-states.md allows the step; those into RESERVED, FREE and CACHED are the allocator's alone. */
bool frame_transition_legal(enum frame_state from, enum frame_state to);

/*
 * Move a whole block of 2^order frames headed by `f` to `to` for `owner`, with the reverse mapping `rmap` of its head (the others
 * follow at 4 KiB steps when `to` is OWNED). Constant time for any order. Legal transitions only, and never into FREE, CACHED or
 * RESERVED (CHECK): that is page_free()'s. Keeps the ledger. Masks interrupts itself; the caller holds the lock that covers the frame's
 * present state.
 */
void frame_set_state(pfn_t f, unsigned order, enum frame_state to, owner_t owner, uint64_t rmap);

/*
 * As frame_set_state() for blocks of one order, state and owner that hang together by `next` (frame indexes): from `first` on, at most
 * `max`, and no further than their order stays the same. Their rmaps stay (FRAME_RMAP_KEPT), or follow one another from `rmap` on. With
 * `release` they leave the chain: unpinned, unlinked, refs 0. Returns the index after the last, FRAME_LINK_NONE at the end; `*frames` is
 * how many frames it were. One move in the ledger for all.
 */
#define FRAME_RMAP_KEPT (~(uint64_t)0)
uint32_t frame_set_state_chain(uint32_t first, unsigned max, enum frame_state to, owner_t owner, uint64_t rmap, bool release,
                               uint64_t *frames);

/*
 * Split the bookkeeping of an allocated block into 2^(order - to_order) blocks of `to_order`, all in the same state with the same owner
 * (rmap advancing, refs, pins and private copied): what a split of a 2 MiB leaf needs before its 4 KiB parts go separate ways. Each
 * part may then be freed or moved alone. Time: 2^(order - to_order) entries.
 */
void frame_split_block(pfn_t f, unsigned order, unsigned to_order);

/*
 * The inverse, before a collapse: the blocks of `from_order` that fill [f, f + 2^order) become one, with the head's rmap, refs and private.
 * ERR_BUSY, nothing changed, if one of them differs in order, state or owner, is not mapped next to the one before, or is pinned. The
 * caller holds the lock that covers them all.
 */
MUST_CHECK err_t frame_join_block(pfn_t f, unsigned from_order, unsigned order);

/*
 * Counts in frames. The sum over states equals ledger_total(). Exact when every CPU stands at a safe point, else off by what is in
 * flight.
 */
struct ledger {
  uint64_t frames[FRAME_STATES];
};
void ledger_read(struct ledger *out);
void ledger_read_owner(owner_t owner, struct ledger *out);
uint64_t ledger_total(void); /* frames of RAM, reserved ones included, holes not */

#endif
