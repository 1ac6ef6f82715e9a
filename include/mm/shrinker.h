/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_SHRINKER_H
#define MM_SHRINKER_H

/*
 * Shrinkers: caches that can give frames back when memory is short (Linux: struct shrinker). The slabs are always asked first; a home adds
 * its own.
 */

#include "core/err.h"
#include "core/types.h"

struct shrinker_ops {
  const char *name;
  /* Frames that scan() could free now, as far as one knows; cheap, takes no lock. */
  uint64_t (*count)(void);
  /*
   * Free up to about `frames`; returns how many went. Allocates nothing and takes no lock that anybody holds across an allocation which may
   * reclaim. Any CPU, several at a time.
   */
  uint64_t (*scan)(uint64_t frames);
};

#define SHRINKERS_MAX 8u

/* `ops` stays, until page_alloc_init() starts anew. ERR_NOSPC after SHRINKERS_MAX; ERR_EXIST if it is there already. */
MUST_CHECK err_t shrinker_register(const struct shrinker_ops *ops);
/* Ask the slabs, then the others in turn, each in proportion to what it counts, until `frames` have gone; returns how many have. */
uint64_t shrinkers_scan(uint64_t frames);

#endif
