/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_RMAP_H
#define GUEST_VM_RMAP_H

/*
 * The reverse-mapping key of a user frame (frame->rmap), from which its mappings can be found again:
 *
 *    63        39 38              12 11   2 1    0
 *   +------------+------------------+------+------+
 *   |     id     |  page number     |  0   | kind |
 *   +------------+------------------+------+------+
 *
 *   kind RMAP_ANON, RMAP_FILE   id is the family of forks (mm->rmap_id), page number that of the virtual address: a frame that fork
 *                               shares is mapped at the same address in every mm of the family, or nowhere
 *   kind RMAP_SHARED            id names the shared object, page number is the offset in it
 *
 * Two families may share an id after 2^25 of them; a search by key then visits more candidates than it needs, and misses none.
 */

#include "core/bits.h"
#include "core/types.h"
#include "guest/vm/mm_types.h"

enum rmap_kind {
  RMAP_NONE,
  RMAP_ANON,
  RMAP_FILE,
  RMAP_SHARED
};

#define RMAP_ID_SHIFT TASK_SIZE_BITS
#define RMAP_ID_MASK ((1u << (64 - RMAP_ID_SHIFT)) - 1)

/* `addr` is a page's virtual address, or its offset in the object, in bytes. */
static inline uint64_t rmap_key(enum rmap_kind kind, uint32_t id, uint64_t addr) {
  return (uint64_t)id << RMAP_ID_SHIFT | (addr & (TASK_SIZE - 1) & PAGE_MASK) | (uint64_t)kind;
}

static inline enum rmap_kind rmap_key_kind(uint64_t key) {
  return (enum rmap_kind)(key & 3);
}

static inline uint32_t rmap_key_id(uint64_t key) {
  return (uint32_t)(key >> RMAP_ID_SHIFT);
}

static inline uint64_t rmap_key_addr(uint64_t key) {
  return key & (TASK_SIZE - 1) & PAGE_MASK;
}

/* RMAP_ANON, RMAP_FILE and RMAP_SHARED stand in the order of enum rss_kind. */
static inline enum rss_kind rmap_rss_kind(uint64_t key) {
  return (enum rss_kind)((key & 3) - 1);
}

_Static_assert(RMAP_ANON - 1 == (int)MM_ANONPAGES && RMAP_FILE - 1 == (int)MM_FILEPAGES && RMAP_SHARED - 1 == (int)MM_SHMEMPAGES,
               "rmap_rss_kind() counts on the order");

#endif
