/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_MANAGED_BITS_H
#define HYP_MEM_MANAGED_BITS_H

/* What the files of the pure part share. A word is the part of a mask for 64 pages. */

#include "core/bits.h"
#include "core/compiler.h"
#include "hyp/mem/managed_block.h"

// NOLINTBEGIN(bugprone-macro-parentheses): they declare l_
#define for_each_location(l_) for (unsigned l_ = 0; (l_) < MANAGED_LOCATIONS; (l_)++)

/* Locations whose bits are in `set_`. */
#define for_each_in(l_, set_)                                                                                                              \
  for (unsigned left_##l_ = (set_), l_ = 0; left_##l_ && ((l_) = bits_ffs(left_##l_), true); left_##l_ &= left_##l_ - 1)
// NOLINTEND(bugprone-macro-parentheses)

/* Bits that are set (EL2 has no FP registers to count them with). */
static inline unsigned managed_count(uint64_t bits) {
  if ((bits & (bits - 1)) == 0)
    return bits != 0; /* one page, or none: the usual fault */
  bits -= bits >> 1 & 0x5555555555555555ull;
  bits = (bits & 0x3333333333333333ull) + (bits >> 2 & 0x3333333333333333ull);
  bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0full;
  return (unsigned)(bits * 0x0101010101010101ull >> 56);
}

/* Pages resident at any location but this. */
static inline uint64_t managed_resident_elsewhere(const struct managed_block *b, unsigned location, unsigned word) {
  uint64_t any = 0;
  for_each_location(l) any |= l == location ? 0 : b->resident[l].word[word];
  return any;
}

/* Taken away so often that it is to be held. */
static inline bool managed_page_thrashes(const struct managed_policy *p, const struct managed_page *g) {
  return p->thrash_events != 0 && g->events >= p->thrash_events;
}

#endif
