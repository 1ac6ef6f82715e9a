/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MANAGED_WORLD_H
#define MANAGED_WORLD_H

/*
 * A machine around one block of managed memory (hyp/mem/managed_block.h), for tests: frames with contents, descriptors of each guest,
 * quotas and a clock. It carries out what plans say, in the order in which managed.c must, and looks at every step for what may never be
 * seen: contents that were overtaken by a write, a descriptor to a frame that is gone, a frame beyond the quota. What is right is known
 * from one array only: the last value written to each page, by anybody.
 */

#include "hyp/mem/managed_block.h"
#include <stdbool.h>
#include <stdint.h>

#define WORLD_UNLIMITED 100000u

struct world_copy {
  bool there;
  uint64_t value;
};

struct world_pte {
  bool valid, writable;
  uint8_t frame_of; /* whose copy it leads to */
};

struct world {
  struct managed_block block;
  struct managed_policy policy;
  unsigned members; /* guests 1..members */
  uint8_t present;
  uint32_t now_us;
  unsigned quota[MANAGED_LOCATIONS]; /* frames; of LOCATION_HOME, too */
  unsigned fail_tables;              /* of the next so many plans nothing is mapped: no table could be had */
  unsigned (*choose)(unsigned below);

  uint64_t truth[MANAGED_PAGES];
  struct world_copy copy[MANAGED_LOCATIONS][MANAGED_PAGES];
  struct world_pte pte[MANAGED_LOCATIONS][MANAGED_PAGES];
  unsigned frames[MANAGED_LOCATIONS];
  uint64_t moves, plans;
};

void world_init(struct world *w, unsigned members, const struct managed_policy *policy);
/* Put frames and descriptors as the masks of `pages` pages from 0 on say, all of them up to date. */
void world_follow_masks(struct world *w, unsigned pages);

enum world_result {
  WORLD_DONE,    /* the access went through */
  WORLD_NAP,     /* to be tried again at *until_us */
  WORLD_NO_FRAME /* nothing has changed */
};
/* One access by a guest, with all its faults. A write stores `value`; a read must find the last one written. */
enum world_result world_access(struct world *w, unsigned member, unsigned page, bool write, uint64_t value, uint32_t *until_us);

/*
 * One fault, served once as managed.c would: at most one plan for each word, cut to what quotas allow. The verdict of
 * managed_block_decide().
 */
enum managed_verdict world_fault(struct world *w, unsigned member, unsigned page, bool write, uint32_t *until_us);

/* Take pages of word `word` from a member; all its mappings, too, if `all`. False: home has no frame for them, nothing was done. */
bool world_evict(struct world *w, unsigned member, unsigned word, uint64_t pages, bool all);
/* Nobody maps these pages. */
void world_unmap(struct world *w, unsigned word, uint64_t pages);
/* The member's VM ends, or comes. */
void world_leave(struct world *w, unsigned member);
void world_join(struct world *w, unsigned member);
/* Another policy. */
void world_set_policy(struct world *w, const struct managed_policy *policy);

/* Everything that must hold of one page, or of all. */
void world_check_page(const struct world *w, unsigned page);
void world_check(const struct world *w);

#endif
