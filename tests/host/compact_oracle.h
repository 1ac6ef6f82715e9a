/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_COMPACT_ORACLE_H
#define TESTS_HOST_COMPACT_ORACLE_H

/*
 * The best that any compactor could do with a layout: how many pageblocks can be made wholly free, and how many frames must be moved for
 * that. It knows blocks by place, order and whether they move, and nothing of the allocator, its lists or its types. Both bounds are proven
 * in compact_oracle.c: exact if all movable blocks are single frames, else never below the first and never above the second of what a
 * compactor could do.
 */

#include "core/types.h"

#define ORACLE_MAX_ORDER 9u /* of a pageblock */

struct oracle;

/* `pageblocks` of 2^pageblock_order frames each, all free. */
struct oracle *oracle_create(uint32_t pageblocks, unsigned pageblock_order);
void oracle_destroy(struct oracle *o);

/* A block in use: 2^order frames from `at`, aligned, within one pageblock. Each frame once. */
void oracle_add(struct oracle *o, uint32_t at, unsigned order, bool movable);

/* No sequence of moves ends with more free pageblocks. After the last oracle_add(), like what follows. */
uint32_t oracle_most_free(struct oracle *o);
/* Free ones as things are. */
uint32_t oracle_free_now(struct oracle *o);
/* All movable blocks are single frames: then the bounds are exact. */
bool oracle_is_exact(const struct oracle *o);

/*
 * No sequence of moves that ends with `free` pageblocks or more (at most oracle_most_free()) moves fewer frames. `effort`: steps of the
 * search for the best proof, 0 for the plain sum of the emptiest pageblocks; any number is sound.
 */
uint64_t oracle_least_moves(struct oracle *o, uint32_t free, unsigned effort);

#endif
