/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_COMPACTION_H
#define MM_COMPACTION_H

/*
 * What the files of compaction share: isolate.c (pageblocks set aside, targets), evacuate.c (emptying a region), compact.c (life of a run), the
 * policies, contig.c. Nobody outside mm/ includes this. A run has its zone to itself (struct zone's `compacting`); others allocate and free
 * meanwhile, so whatever was read without the zone's lock is asked again when it is acted upon.
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

/* --- isolate.c ------------------------------------------------------------------------------------------------------------------ */

/* Change flags other than ISOLATED and CONTIG. */
void pageblock_mark(struct zone *z, uint32_t pb, unsigned set, unsigned clear);
/* Drop `flags` of every pageblock of the zone. */
void pageblock_unmark_all(struct zone *z, unsigned flags);

/* Set a managed pageblock aside, for whom `why` says (0 or PB_CONTIG), unless it is already. */
void isolate_pageblock(struct zone *z, uint32_t pb, unsigned why);
/* Back to everybody: as MOVABLE if it is wholly free, else as it was. Nothing if it is not set aside. */
void isolate_release(struct zone *z, uint32_t pb);
void isolate_release_all(struct zone *z);

/*
 * A free block to move to: the smallest of at least `order` that is free and neither set aside nor kept for atomic requests, cut to size; none
 * larger than `limit`. State CACHED, as frame_move() wants it. No watermark holds it back: a move gives back what it takes.
 */
bool target_take(struct zone *z, unsigned order, unsigned limit, pfn_t *out);
/* The free block that heads `index`, cut to `order`. */
bool target_take_at(struct zone *z, uint32_t index, unsigned order, pfn_t *out);

/* Wholly free pageblocks now. */
uint32_t zone_whole_pageblocks(struct zone *z);
/* Is there a free block of at least `order` that anybody may take? */
bool zone_has_block(struct zone *z, unsigned order);

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

/* The part at `index`: a glimpse. Parts of a pageblock are walked from its first frame on. */
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
  err_t (*begin)(struct compact_run *run, struct zone *z);
  err_t (*step)(struct compact_run *run, struct zone *z, int budget);
  void (*end)(struct compact_run *run, struct zone *z);
};

/* One run at a time (compact.c): false if somebody has the zone. */
bool zone_claim(struct zone *z);
void zone_unclaim(struct zone *z);

/* Has the run what its mode asks for? */
bool compact_is_satisfied(const struct compact_run *run, struct zone *z);
struct move_counts compact_counts(struct compact_run *run);

#endif
