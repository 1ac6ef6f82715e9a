/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_LAYOUTS_H
#define TESTS_HOST_LAYOUTS_H

/*
 * Seeded layouts of one zone of memory, made through the public allocator, with an owner whose blocks can be moved.
 *
 *   bimodal     pageblocks are nearly full or nearly empty; single frames
 *   clustered   runs of used and free frames of very different lengths, regardless of pageblocks; single frames
 *   aged        what a long trace of allocations leaves: blocks of orders 0 to 8, short and long lived, placed by the allocator itself
 *   uniform     each frame is used or not by a throw of its own: the control, nothing can be gained by being clever
 *   empty       nothing yet: for layout_add()
 *
 * The owner knows for each of its blocks where it lies, and what each frame of it holds. Contents are a tag per frame, kept beside the
 * arena and copied by every move, so that a zone of 4 GiB costs the build machine 12 bytes per frame, not 4096.
 *
 * Not tied to cmocka: tests and benchmarks use it. What goes wrong in making a layout ends the program.
 */

#include "mm/frame.h"
#include "mm/migrate.h"
#include "mm/page_alloc.h"

enum layout_kind {
  LAYOUT_BIMODAL,
  LAYOUT_CLUSTERED,
  LAYOUT_AGED,
  LAYOUT_UNIFORM,
  LAYOUT_KINDS,
  LAYOUT_EMPTY = LAYOUT_KINDS
};
const char *layout_kind_name(enum layout_kind kind);

#define LAYOUT_OWNER ((owner_t)1)

struct layout_config {
  enum layout_kind kind;
  uint64_t frames;    /* of the zone; a multiple of 1024 */
  unsigned occupancy; /* percent of them used */
  unsigned unmovable; /* percent of the used ones that do not move: the home's own (FRAME_CORE) */
  unsigned pinned;    /* percent of the used ones that are the owner's, but pinned */
  uint64_t seed;
};

enum layout_mobility {
  LAYOUT_MOVABLE,
  LAYOUT_PINNED,
  LAYOUT_UNMOVABLE,
  LAYOUT_MOBILITIES
};

/* A block in use; its number is its logical address. */
struct layout_block {
  uint32_t at; /* frame, counted from the zone's first */
  uint8_t order;
  uint8_t mobility; /* enum layout_mobility, or LAYOUT_NO_BLOCK */
};
#define LAYOUT_NO_BLOCK 0xffu

struct layout {
  struct layout_config config;
  pfn_t base;
  struct layout_block *block;
  uint32_t blocks;                /* numbers in use lie below */
  uint32_t *unused, unused_count; /* numbers below `blocks` that are not */
  uint64_t used;                  /* frames */
  uint64_t frames_of[LAYOUT_MOBILITIES];
  uint32_t *tag;                       /* what each frame of the zone holds */
  uint64_t moved_frames, moved_blocks; /* counted by the owner, since the layout was made */
  uint32_t frozen;                     /* the block that is being moved */
  uint64_t random;
};

/* A fresh zone 0, its layout, and this owner's migrate_set_ops(). One at a time. Per-CPU lists are drained. */
void layout_create(struct layout *l, const struct layout_config *config);
void layout_destroy(struct layout *l);

/* A block that was allocated (state CORE if unmovable, else CACHED) becomes the owner's; its number. */
uint32_t layout_add(struct layout *l, pfn_t f, unsigned order, enum layout_mobility mobility);
/* page_free() of one. */
void layout_remove(struct layout *l, uint32_t id);

/* NULL, or what is wrong: a block that is not where its owner thinks, lost contents, frames in two blocks, frames lost. */
const char *layout_verify(const struct layout *l);

/* What a pageblock holds, by the owner's knowledge alone. `out`: one per pageblock of the zone, zeroed by the caller. */
struct layout_pageblock {
  uint16_t used, unmovable; /* frames; what is pinned is unmovable too */
};
void layout_describe(const struct layout *l, struct layout_pageblock *out);

/* Wholly free ones. */
unsigned layout_free_pageblocks(const struct layout *l);

/* What layout_create() gives to migrate_set_ops(): for an owner in front of this one. */
const struct migrate_ops *layout_migrate_ops(void);

/* The layout's own random numbers: any, below a bound of 32 bits, true in `part` of `of` cases. */
uint64_t layout_random(struct layout *l);
uint64_t layout_below(struct layout *l, uint64_t bound);
bool layout_chance(struct layout *l, uint64_t part, uint64_t of);

#endif
