/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_PAGEBLOCK_H
#define MM_PAGEBLOCK_H

/* What a 2 MiB pageblock holds: for pictures of memory, and for whoever wants to know why it is not free. */

#include "mm/page_alloc.h"

struct pageblock_info {
  pfn_t start;
  enum migratetype type;
  uint16_t free;      /* frames in the buddy, unopened ones included */
  uint16_t cached;    /* in per-CPU lists, in the zeroed pool, or handed out and not claimed yet */
  uint16_t movable;   /* in use, and such that they can be moved */
  uint16_t unmovable; /* in use, and such that they cannot */
  uint16_t reserved;  /* not the allocator's, or bad */
  owner_t owner;      /* who has most of the frames in use; OWNER_CORE if none are */
};

/*
 * The pageblock that holds `f`. False, and nothing written, outside RAM. A glimpse, without a lock: exact when nobody allocates or frees in
 * it. Time: one entry per block in it, 512 at most.
 */
bool pageblock_describe(pfn_t f, struct pageblock_info *out);

#endif
