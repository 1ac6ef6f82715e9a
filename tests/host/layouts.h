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
  LAYOUT_KINDS
};
const char *layout_kind_name(enum layout_kind kind);

#define LAYOUT_OWNER ((owner_t)1)
#define LAYOUT_MAX_ORDER 8u

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
  LAYOUT_UNMOVABLE
};

/* A block in use; its number is its logical address. */
struct layout_block {
  uint32_t at; /* frame, counted from the zone's first */
  uint8_t order;
  uint8_t mobility; /* enum layout_mobility */
};

struct layout {
  struct layout_config config;
  pfn_t base;
  struct layout_block *block;
  uint32_t blocks;
  uint64_t used;                       /* frames */
  uint32_t *tag;                       /* what each frame of the zone holds */
  uint64_t moved_frames, moved_blocks; /* counted by the owner, since the layout was made */
  uint32_t frozen;                     /* the block that is being moved */
  uint64_t random;
};

/* A fresh zone 0, its layout, and this owner's migrate_set_ops(). One at a time. Per-CPU lists are drained. */
void layout_create(struct layout *l, const struct layout_config *config);
void layout_destroy(struct layout *l);
/* The owner's, for a test that puts something between. */
const struct migrate_ops *layout_migrate_ops(void);

/* NULL, or what is wrong: a block that is not where its owner thinks, lost contents, frames in two blocks, frames lost. */
const char *layout_verify(const struct layout *l);

/* Wholly free, aligned 2 MiB, by the owner's knowledge alone. */
unsigned layout_free_pageblocks(const struct layout *l);

#endif
