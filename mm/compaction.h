/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_COMPACTION_H
#define MM_COMPACTION_H

/*
 * What the files of compaction share: isolate.c (pageblocks set aside, targets), evacuate.c (emptying a region), compact.c (life of a run),
 * the policies, contig.c. Nobody outside mm/ includes this. A run has its zone to itself (struct zone's `compacting`); others allocate and
 * free meanwhile, so whatever was read without the zone's lock is asked again when it is acted upon.
 */

#include "mm/compact.h"
#include "mm/migrate.h"
#include "mm/zone.h"

/* struct pageblock's flags; written under the zone's lock.
 *
 *     7     5   4     3      2      1       0
 *    +-------+------+------+------+-------+--------+
 *    | type  |CONTIG| SKIP | SORT |PLANNED|ISOLATED|     type: what it was before it was set aside
 *    +-------+------+------+------+-------+--------+
 */
#define PB_ISOLATED 0x01u /* set aside: its free frames are nobody's to take */
#define PB_PLANNED 0x02u  /* to be emptied */
#define PB_SORT 0x04u     /* parts of it are to be emptied, to make larger holes */
#define PB_SKIP 0x08u     /* not worth another look */
#define PB_CONTIG 0x10u   /* set aside for a contiguous range: not given up */
#define PB_TYPE_SHIFT 5

static inline bool pageblock_has(uint32_t pb, unsigned flag) {
  return atomic_load_relaxed(&pageblocks[pb].flags) & flag;
}

/*
 * What a step may cost. Homes run steps with interrupts masked, so all of a step's work is charged to its one budget, whose unit is the
 * move of a frame: some 1,600 instructions. Whatever walks a zone does so in pieces and goes on in the next step, so that the size of the
 * zone is in no stretch: a step of N moves overdraws by one item below, or one block moved, at most.
 */
#define COST_LOOK 32        /* at all parts of a pageblock */
#define COST_RETYPE 12      /* of a pageblock set aside or put back */
#define GLANCES_PER_MOVE 64 /* at the eight bytes of a pageblock */

static inline int glance_cost(uint32_t pb) {
  return pb % GLANCES_PER_MOVE == 0;
}

/* --- isolate.c ------------------------------------------------------------------------------------------------------------------ */

/* Change flags other than ISOLATED and CONTIG. */
void pageblock_mark(struct zone *z, uint32_t pb, unsigned set, unsigned clear);

/* Set a managed pageblock aside, for whom `why` says (0 or PB_CONTIG), unless it is already. */
void isolate_pageblock(struct zone *z, uint32_t pb, unsigned why);
/* Back to everybody: as MOVABLE if it is wholly free, else as it was. Nothing if it is not set aside. */
void isolate_release(struct zone *z, uint32_t pb);

/*
 * A free block to move to: the smallest of at least `order` that is free and neither set aside nor kept for atomic requests, cut to size;
 * none larger than `limit`. State CACHED, as frame_move() wants it. No watermark holds it back: a move gives back what it takes.
 */
bool target_take(struct zone *z, unsigned order, unsigned limit, pfn_t *out);
/* The free block that heads `index`, cut to `order`. */
bool target_take_at(struct zone *z, uint32_t index, unsigned order, pfn_t *out);

/* Wholly free pageblocks now. */
uint32_t zone_whole_pageblocks(struct zone *z);
/* Frames in the buddy now. */
uint64_t zone_free_now(struct zone *z);
/* Is there a free block of at least `order` that anybody may take? */
bool zone_has_block(struct zone *z, unsigned order);

/* --- migrate.c ------------------------------------------------------------------------------------------------------------------ */

/* States with an owner who maps the block and can let it go. LENT is mapped by others than its owner; the rest is nobody's to move. */
#define STATES_MOVABLE (STATE_BIT(FRAME_OWNED) | STATE_BIT(FRAME_SHARED) | STATE_BIT(FRAME_MANAGED))

extern const struct migrate_ops *migrate_ops;

/* What a head's word says of its block. */
static inline enum move_result move_judge(uint64_t word) {
  unsigned state = word & WORD_STATE_MASK;
  if (!word_is_head(word) || state == FRAME_FREE)
    return MOVE_GONE;
  if (state == FRAME_CACHED || state == FRAME_MOVING)
    return MOVE_BUSY; /* in a per-CPU list, not claimed yet, or under way already */
  if (state >= 32 || !(STATES_MOVABLE >> state & 1) || word_type(word) != MIGRATE_MOVABLE)
    return MOVE_UNMOVABLE;
  return word_pins(word) != 0 ? MOVE_PINNED : MOVE_DONE;
}

static inline enum move_result part_judge(uint64_t word) {
  return migrate_ops ? move_judge(word) : MOVE_UNMOVABLE;
}

/* --- evacuate.c ----------------------------------------------------------------------------------------------------------------- */

/* A stretch of a pageblock that is one block, free or not, or one frame of which nothing can be said. */
struct part {
  uint32_t index;
  unsigned order; /* of the stretch: PAGEBLOCK_ORDER at most */
  uint32_t head;  /* of the block, and its order: other than the above if it covers more than this pageblock */
  unsigned block_order;
  bool free;
  enum move_result can; /* not free: MOVE_DONE if it looks movable, else why not */
  owner_t owner;
};

/* A pageblock's first frame, and whatever is no head: evacuate.c. */
void part_read_other(uint32_t index, struct part *out);

/* The part at `index`: a glimpse. Parts of a pageblock are walked from its first frame on. */
static ALWAYS_INLINE void part_glimpse(uint32_t index, struct part *out) {
  uint64_t word = word_load(frame_at(index));
  unsigned order = word_order(word);
  if (unlikely((index & (PAGEBLOCK_FRAMES - 1)) == 0 || !word_is_head(word) || order >= PAGEBLOCK_ORDER || index & ((1u << order) - 1))) {
    part_read_other(index, out);
    return;
  }
  bool free = (word & WORD_STATE_MASK) == FRAME_FREE;
  *out = (struct part){index, order, index, order, free, free ? MOVE_DONE : part_judge(word), word_owner(word)};
}

/* The same, for where instructions are not counted but bytes. */
void part_read(uint32_t index, struct part *out);

static inline uint32_t part_end(const struct part *p) {
  return p->index + (1u << p->order);
}

/* Is the part one that a run for `owner` may count on moving? Frames in per-CPU lists are: a drain brings them. */
static inline bool part_is_movable(const struct part *p, owner_t owner) {
  return p->order < PAGEBLOCK_ORDER && (p->can == MOVE_BUSY || (p->can == MOVE_DONE && (owner == COMPACT_ANY_OWNER || owner == p->owner)));
}

enum evacuation {
  EVACUATED, /* all of it is free */
  EVACUATION_MORE,
  EVACUATION_BUSY,    /* at the end, and something was busy: another round may help */
  EVACUATION_REFUSED, /* something in it does not move */
  EVACUATION_NO_ROOM
};

/* What moves add up to; both kinds of runs keep these. */
struct move_counts {
  uint64_t *moved_frames, *moved_blocks, *failed; /* `failed` by enum move_result */
};

/* The region's pageblock must be set aside. */
void evacuate_begin(struct compact_evacuee *e, uint32_t start, unsigned order, unsigned limit, owner_t owner);
/* Go on, with at most `*budget` frames moved, which is taken down. */
enum evacuation evacuate_step(struct zone *z, struct compact_evacuee *e, const struct move_counts *counts, int *budget);

/* --- policies ------------------------------------------------------------------------------------------------------------------- */

struct compact_policy {
  const char *name;
  /* ERR_NOENT: not worth it now. */
  err_t (*begin)(struct compact_run *run, struct zone *z); /* run->stale: marks to be dropped before the first step */
  err_t (*step)(struct compact_run *run, struct zone *z, int *budget);
  unsigned (*marks_left)(const struct compact_run *run); /* PB_*, to be dropped at the end */
};

/* One run at a time (compact.c): false if somebody has the zone. */
bool zone_claim(struct zone *z);
void zone_unclaim(struct zone *z);

/* Has the run what its mode asks for? */
bool compact_is_satisfied(const struct compact_run *run, struct zone *z);
struct move_counts compact_counts(struct compact_run *run);

#endif
