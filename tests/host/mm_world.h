/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_MM_WORLD_H
#define TESTS_HOST_MM_WORLD_H

/*
 * A machine for tests of the memory core: RAM by ranges, the frame table in a reserved place of it, and an oracle that knows of every
 * frame only what the test was told by the allocator's answers: a byte per frame, nothing of blocks, lists or pageblocks.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

/* A struct mem_range. */
#define R(from_, to_)                                                                                                                      \
  {                                                                                                                                        \
    {from_}, {                                                                                                                             \
      to_                                                                                                                                  \
    }                                                                                                                                      \
  }

enum {
  WORLD_NONE = 0,
  WORLD_RESERVED,
  WORLD_FREE,
  WORLD_USED
};

struct world {
  uint64_t base, frames; /* span of the oracle */
  uint8_t *what;         /* WORLD_* per frame */
  uint64_t ram, reserved, free;
};

struct world_config {
  const char *name;
  struct mem_range ram[8];
  struct mem_range reserved[8]; /* the frame table is added */
  uint64_t table;               /* pfn where the frame table lies; 0: behind all RAM, or at its end from 512 MiB on */
};

/* Build RAM and set the core up. Ends the test if that fails. */
void world_create(struct world *w, const struct world_config *config);
void world_destroy(struct world *w);

/* The allocator said so: check it against what is known, and note it. */
void world_note_alloc(struct world *w, pfn_t f, unsigned order);
void world_note_free(struct world *w, pfn_t f, unsigned order);
bool world_all_free(const struct world *w, pfn_t f, unsigned order);

/*
 * Hold everything the core says about itself against the oracle: state of each frame, free counts, ledger, lists. `drained`: no frame is
 * in a per-CPU list, so free blocks must also be merged as far as alignment allows.
 */
void world_audit(const struct world *w, bool drained);

/* xorshift64*: the same numbers everywhere. */
static inline uint64_t world_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545f4914f6cdd1dull;
}

/* What all tests of the core are built with. */
#define F(mib_) ((uint64_t)(mib_) << 8) /* frames in so many MiB */

#endif
