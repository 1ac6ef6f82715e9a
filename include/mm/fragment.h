/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_FRAGMENT_H
#define MM_FRAGMENT_H

/*
 * A seeded fragmenter: memory in a state that compaction has work with, made by the allocator's own doors, the same for the same seed.
 *
 * It allocates blocks of orders 0 to 8, most of them single frames, and gives a part of them back: more from some pageblocks than from
 * others, so that occupancies differ. What it keeps belongs to an owner of its own. Its movable blocks can be moved like any owner's
 * (fragment_migrate_ops; the block's number is its rmap) and hold a pattern made from seed and number, so that a lost, doubled or stale
 * copy is found. One instance. All in steps that the caller paces; steps are called by one CPU at a time, moves may come from any.
 *
 * Its blocks are chained through their entries in the frame table: it needs no memory for itself.
 */

#include "core/err.h"
#include "core/types.h"
#include "mm/frame.h"
#include "mm/migrate.h"

struct fragment_config {
  uint64_t seed;
  uint64_t frames;    /* to fill before the thinning; what there is above the min watermark, if that is less */
  unsigned occupancy; /* 0..100: percent of them kept in the end */
  unsigned unmovable; /* 0..100: percent of the frames allocated as unmovable */
  unsigned words;     /* 0..512: words of pattern per frame; 512 fills it, 0 leaves frames untouched */
  owner_t owner;      /* nobody else's */
};

struct fragment_report {
  uint64_t frames, blocks; /* held now */
  uint64_t unmovable_frames;
  uint64_t moves;      /* of its blocks, since fragment_begin() */
  unsigned score;      /* compact_score() over all zones together: 0 no fragmentation, 100 no free 2 MiB block */
  uint64_t bad_frames; /* found by fragment_verify_step(), since fragment_verify_begin() */
};

/* ERR_INVAL: a number out of its range. ERR_BUSY: it still holds memory. */
MUST_CHECK err_t fragment_begin(const struct fragment_config *config);
/* Allocate or give back at most `max_blocks` blocks; ERR_AGAIN until all is as configured. */
MUST_CHECK err_t fragment_step(unsigned max_blocks);
void fragment_report(struct fragment_report *out);

/* Check every pattern: begin, then steps of at most `max_blocks` blocks until ERR_OK, or ERR_FAULT if a frame was bad or one is missing. */
void fragment_verify_begin(void);
MUST_CHECK err_t fragment_verify_step(unsigned max_blocks);

/* Give back at most `max_blocks` blocks; ERR_AGAIN until nothing is held. At any time. */
MUST_CHECK err_t fragment_free_step(unsigned max_blocks);

/* For the home's own table, which asks by owner. */
extern const struct migrate_ops fragment_migrate_ops;

#endif
