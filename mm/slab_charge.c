/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects charged to an owner: what the home keeps on somebody's behalf is seen, in bytes, beside the frames that the ledger knows.
 *
 * A slab holds objects of many owners, so its frames are nobody's but the home's; the charge is by object, stride included (Linux charges
 * memory cgroups the same way: mm/memcontrol.c, obj_cgroup). Who frees an object says whose it was: nothing is stored in it.
 *
 * Two counts that must agree are kept: bytes by owner here, objects in their cache. No lock: both are atomic. Refuses, by CHECK, to give
 * back more than was charged.
 */
#include "core/atomic.h"
#include "mm/slab_priv.h"

static uint64_t charged[OWNERS_MAX];

void slab_charge_reset(void) {
  for (unsigned owner = 0; owner < OWNERS_MAX; owner++)
    charged[owner] = 0;
}

void *slab_alloc_for(struct slab_cache *cache, owner_t owner, alloc_flags_t flags) {
  CHECK(owner < OWNERS_MAX);
  void *object = slab_alloc_with(cache, flags);
  if (!object)
    return NULL;
  atomic_fetch_add_relaxed(&charged[owner], cache->stride);
  atomic_fetch_add_relaxed(&cache->charged_objects, 1);
  return object;
}

void slab_free_for(struct slab_cache *cache, void *object, owner_t owner) {
  if (!object)
    return;
  CHECK(owner < OWNERS_MAX && slab_charged_bytes(owner) >= cache->stride);
  slab_free(cache, object);
  atomic_fetch_add_relaxed(&charged[owner], -(uint64_t)cache->stride);
  atomic_fetch_add_relaxed(&cache->charged_objects, ~(uint64_t)0);
}

uint64_t slab_charged_bytes(owner_t owner) {
  CHECK(owner < OWNERS_MAX);
  return atomic_load_relaxed(&charged[owner]);
}
