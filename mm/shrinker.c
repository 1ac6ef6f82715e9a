/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry of shrinkers, and the round through them that the reclaim step of the page allocator makes.
 *
 * Entries are only ever added, so the round reads them without a lock: the count is published after the entry. The slabs come first, since
 * what they give is in nobody's use; then each shrinker is asked for its share of what is missing, by what it counts, and at last whoever
 * has anything left for the rest.
 */
#include "mm/shrinker.h"
#include "mm/slab.h"
#include "mm/zone.h"

static struct port_lock lock;
static const struct shrinker_ops *shrinkers[SHRINKERS_MAX]; /* written under the lock */
static unsigned shrinker_count;

void shrinker_reset(void) {
  shrinker_count = 0;
}

static bool is_registered(const struct shrinker_ops *ops) {
  for (unsigned i = 0; i < shrinker_count; i++) {
    if (shrinkers[i] == ops)
      return true;
  }
  return false;
}

err_t shrinker_register(const struct shrinker_ops *ops) {
  err_t err = ERR_OK;
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&lock);
  if (is_registered(ops)) {
    err = ERR_EXIST;
  } else if (shrinker_count == SHRINKERS_MAX) {
    err = ERR_NOSPC;
  } else {
    shrinkers[shrinker_count] = ops;
    atomic_store_release(&shrinker_count, shrinker_count + 1);
  }
  port_lock_release(&lock);
  port_irq_restore(flags);
  return err;
}

/* `part` of `whole` of `frames`, rounded up. */
static uint64_t share(uint64_t frames, uint64_t part, uint64_t whole) {
  return part >= whole ? frames : min_u64(frames, frames * part / whole + 1);
}

uint64_t shrinkers_scan(uint64_t frames) {
  unsigned n = atomic_load_acquire(&shrinker_count);
  uint64_t counts[SHRINKERS_MAX], whole = 0;
  uint64_t got = slab_shrink_some(frames);
  for (unsigned i = 0; i < n; i++)
    whole += counts[i] = shrinkers[i]->count();
  uint64_t want = min_u64(frames - min_u64(got, frames), whole); /* so that the product in share() fits */
  for (unsigned i = 0; i < n && got < frames; i++) {
    if (counts[i] != 0)
      got += shrinkers[i]->scan(share(want, counts[i], whole));
  }
  for (unsigned i = 0; i < n && got < frames; i++) {
    if (shrinkers[i]->count() != 0)
      got += shrinkers[i]->scan(frames - got);
  }
  return got;
}
