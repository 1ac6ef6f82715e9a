/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_RECLAIM_H
#define HYP_MEM_RECLAIM_H

/*
 * Memory that a guest says it does without: taken out of its stage 2 and freed, many pages under one TLB flush. Every address is the
 * guest's word and may be anything. What it names is gone with its contents; on the next touch it is populated anew, zeroed.
 */

#include "core/types.h"

struct stage2;

/* What became of what was named, in 4 KiB frames; added to. */
struct reclaim_sum {
  uint64_t released; /* back in the allocator */
  uint64_t absent;   /* nothing was backed there */
  uint64_t kept;     /* not the VM's own to give: pinned, shared, lent; or no frame for the table of a split */
  uint64_t outside;  /* no RAM, or not aligned */
};

/*
 * Release single pages, by IPA, in any order. Blocks they lie in are split first. One call is one piece of work, at most RECLAIM_PAGES of
 * them, 50,000 instructions; returns how many entries were dealt with: at least one. s2->lock must not be held.
 */
#define RECLAIM_PAGES 128u
unsigned reclaim_pages(struct stage2 *s2, unsigned count, const uint64_t *ipas, struct reclaim_sum *sum);

/* [at, at + bytes), 4 KiB aligned; anything else, and what is not wholly RAM, counts as empty. */
struct reclaim_range {
  uint64_t at, bytes;
};

/*
 * Release ranges: whole 2 MiB blocks as blocks, the rest by pages. One piece of work as above: `*done` is where it stands, in bytes of
 * all ranges, 0 at first. True when all is done.
 */
bool reclaim_ranges(struct stage2 *s2, unsigned count, const struct reclaim_range *ranges, uint64_t *done, struct reclaim_sum *sum);

#endif
