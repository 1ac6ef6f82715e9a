/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Caches: how a slab is laid out, making and unmaking one, the registry of all of them, what slabinfo shows, and shrinking.
 *
 * The registry's lock is above every cache's and covers the chain of caches, so a cache that is looked at or shrunk does not go away
 * meanwhile. How many objects a magazine holds depends on their size: about eight KiB of them per CPU at most, so that a CPU does
 * not sit on much memory; caches of magazines have none themselves, which is where the recursion ends.
 *
 * Refuses, by CHECK, to destroy a cache with objects in use.
 */
#include "mm/slab_priv.h"

static struct port_lock registry_lock;
static struct slab_cache *first_cache; /* registry_lock; newest first */
static struct slab_cache cache_of_caches;
static unsigned default_flags; /* of caches made from now on */
static unsigned shrink_next;   /* cache at which slab_shrink_some() goes on; racy, a hint */
#define SHRINK_OBJECTS 1024u   /* moved by it at most, but for the last cache's */

/* Magazines by the size of what is in them. */
static const struct {
  uint32_t object_max;
  uint32_t capacity;
  const char *name;
} kinds[] = {{256, 30, "magazine-30"}, {1024, 14, "magazine-14"}, {SLAB_OBJECT_MAX, 6, "magazine-6"}};
static struct slab_cache magazine_caches[ARRAY_SIZE(kinds)];

/* --- layout --------------------------------------------------------------------------------------------------------------------- */

/* The smallest slab that wastes at most 1/8, or the largest. */
static unsigned choose_order(uint32_t stride) {
  for (unsigned order = 0; order < SLAB_ORDER_MAX; order++) {
    uint32_t bytes = (uint32_t)PAGE_SIZE << order;
    if (bytes >= stride && bytes % stride <= bytes / 8)
      return order;
  }
  return SLAB_ORDER_MAX;
}

/*
 *    plain                      with a constructor            with a red zone
 *   +--------+---------------+ +----------------+--------+   +------------+------+--------+
 *   | record | .             | | object         | record |   | object     | zone | record |    while it is free
 *   +--------+---------------+ +----------------+--------+   +------------+------+--------+
 *   0        16              stride
 */
static void lay_out(struct slab_cache *c) {
  uint32_t end = (uint32_t)align_up(c->size, OBJECT_ALIGN);
  c->object_bytes = c->flags & SLAB_RED_ZONE ? c->size : end;
  c->record = 0;
  if (c->flags & SLAB_RED_ZONE)
    end += OBJECT_ALIGN;
  if (c->ops || c->flags) {
    c->record = end;
    end += (uint32_t)sizeof(struct slab_record);
  }
  c->stride = (uint32_t)align_up(end, max_u64(c->align, OBJECT_ALIGN));
  c->slab_order = (uint8_t)choose_order(c->stride);
  c->slab_mask = ((uint32_t)PAGE_SIZE << c->slab_order) - 1;
  c->per_slab = (uint16_t)((c->slab_mask + 1) / c->stride);
  c->reciprocal = (uint32_t)((((uint64_t)1 << 32) + c->stride - 1) / c->stride);
}

static struct slab_cache *magazines_for(const struct slab_cache *c) {
  for (unsigned i = 0; c->flags == 0 && i < ARRAY_SIZE(kinds); i++) {
    if (c->object_bytes <= kinds[i].object_max)
      return &magazine_caches[i];
  }
  return NULL;
}

void slab_set_up(struct slab_cache *c, const char *name, size_t size, size_t align) {
  *c = (struct slab_cache){.name = name, .size = (uint32_t)size, .align = (uint32_t)align};
  for (unsigned bin = 0; bin <= SLAB_BINS; bin++)
    c->list[bin] = INDEX_NONE;
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++)
    c->slot[cpu].loaded = c->slot[cpu].previous = &slab_no_magazine;
  lay_out(c);
}

void slab_register(struct slab_cache *c) {
  c->next = first_cache;
  first_cache = c;
}

void slab_reset(void) {
  first_cache = NULL;
  shrink_next = 0;
  slab_set_up(&cache_of_caches, "slab_cache", sizeof(struct slab_cache), _Alignof(struct slab_cache));
  slab_register(&cache_of_caches);
  for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
    slab_set_up(&magazine_caches[i], kinds[i].name, sizeof(struct magazine) + kinds[i].capacity * sizeof(void *), OBJECT_ALIGN);
    slab_register(&magazine_caches[i]);
  }
  slab_size_reset();
  slab_charge_reset();
  shrinker_reset();
}

/* --- making and unmaking --------------------------------------------------------------------------------------------------------- */

static port_flags_t registry_enter(void) {
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&registry_lock);
  return flags;
}

static void registry_leave(port_flags_t flags) {
  port_lock_release(&registry_lock);
  port_irq_restore(flags);
}

err_t slab_create_with(const char *name, size_t size, size_t align, const struct slab_ops *ops, unsigned debug, struct slab_cache **out) {
  align = align == 0 ? OBJECT_ALIGN : align;
  if (size == 0 || size > SLAB_OBJECT_MAX || !is_pow2(align) || align > PAGE_SIZE || (debug & ~SLAB_DEBUG_ALL) != 0)
    return ERR_INVAL;
  struct slab_cache *c = slab_alloc(&cache_of_caches);
  if (!c)
    return ERR_NOMEM;
  slab_set_up(c, name, size, align);
  c->ops = ops;
  port_flags_t flags = registry_enter();
  c->flags = (uint8_t)(debug | default_flags);
  lay_out(c);
  c->magazines = magazines_for(c);
  slab_register(c);
  registry_leave(flags);
  *out = c;
  return ERR_OK;
}

err_t slab_create(const char *name, size_t size, size_t align, struct slab_cache **out) {
  return slab_create_with(name, size, align, NULL, 0, out);
}

void slab_destroy(struct slab_cache *cache) {
  struct slab_cache **link = &first_cache;
  slab_shrink(cache);
  if (cache->used_objects != 0)
    slab_fail(cache, NULL, 0, "is in use, as the cache is destroyed");
  port_flags_t flags = registry_enter();
  while (*link != cache)
    link = &(*link)->next;
  *link = cache->next;
  registry_leave(flags);
  slab_free(&cache_of_caches, cache);
}

err_t slab_set_debug(struct slab_cache *cache, unsigned debug) {
  if (debug & ~SLAB_DEBUG_ALL)
    return ERR_INVAL;
  slab_shrink(cache);
  port_flags_t flags = slab_lock(cache);
  err_t err = cache->slabs == 0 ? ERR_OK : ERR_BUSY;
  if (err == ERR_OK) {
    cache->flags = (uint8_t)debug;
    lay_out(cache);
    cache->magazines = magazines_for(cache);
  }
  slab_unlock(cache, flags);
  return err;
}

void slab_set_default_debug(unsigned debug) {
  CHECK((debug & ~SLAB_DEBUG_ALL) == 0);
  port_flags_t flags = registry_enter();
  default_flags = debug;
  registry_leave(flags);
}

/* --- looking and shrinking -------------------------------------------------------------------------------------------------------- */

/* `*objects` counts those that were moved for it. */
static uint64_t shrink(struct slab_cache *c, uint64_t *objects) {
  *objects += slab_drain(c);
  port_flags_t flags = slab_lock(c);
  uint64_t frames = slab_trim(c, 0);
  slab_unlock(c, flags);
  return frames;
}

uint64_t slab_shrink(struct slab_cache *cache) {
  uint64_t objects = 0;
  return shrink(cache, &objects);
}

/* Number `n`; false behind the last. The registry is locked for one at a time: one that is made meanwhile moves the others on. */
static bool shrink_nth(unsigned n, uint64_t *frames, uint64_t *objects) {
  port_flags_t flags = registry_enter();
  struct slab_cache *c = first_cache;
  while (c && n-- != 0)
    c = c->next;
  if (c)
    *frames += shrink(c, objects);
  registry_leave(flags);
  return c != NULL;
}

/* Magazines last: they become free as the others give theirs back. */
uint64_t slab_shrink_all(uint64_t frames) {
  uint64_t got = 0, objects = 0;
  for (unsigned n = 0; got < frames && shrink_nth(n, &got, &objects); n++)
    continue;
  return got;
}

/* Each cache once at most: what is behind the last begins again. */
uint64_t slab_shrink_some(uint64_t frames) {
  uint64_t got = 0, objects = 0;
  unsigned first = atomic_load_relaxed(&shrink_next), n = first;
  bool around = false;
  while (got < frames && objects < SHRINK_OBJECTS && !(around && n >= first)) {
    if (shrink_nth(n, &got, &objects)) {
      n++;
    } else if (around) {
      break;
    } else {
      n = 0;
      around = true;
    }
  }
  atomic_store_relaxed(&shrink_next, n);
  return got;
}

void slab_describe(struct slab_cache *cache, struct slab_info *out) {
  uint64_t cached = slab_cached_objects(cache);
  port_flags_t flags = slab_lock(cache);
  *out = (struct slab_info){
      .name = cache->name,
      .object_bytes = cache->object_bytes,
      .stride_bytes = cache->stride,
      .per_slab = cache->per_slab,
      .slab_order = cache->slab_order,
      .slabs = cache->slabs,
      .empty_slabs = cache->empty_slabs,
      .used_objects = cache->used_objects < cached ? 0 : cache->used_objects - cached,
      .cached_objects = cached,
      .charged_objects = atomic_load_relaxed(&cache->charged_objects),
      .depot_magazines = cache->full_count,
      .magazine_objects = cache->magazines ? (uint32_t)((cache->magazines->size - sizeof(struct magazine)) / sizeof(void *)) : 0,
      .debug = cache->flags,
  };
  slab_unlock(cache, flags);
}

bool slab_describe_nth(unsigned n, struct slab_info *out) {
  port_flags_t flags = registry_enter();
  struct slab_cache *c = first_cache;
  while (c && n-- != 0)
    c = c->next;
  if (c)
    slab_describe(c, out);
  registry_leave(flags);
  return c != NULL;
}
