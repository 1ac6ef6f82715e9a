/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_SLAB_PRIV_H
#define MM_SLAB_PRIV_H

/*
 * What the files of the slab allocator share: slab.c (the hot path and its magazines), slab_frames.c (slabs of frames), slab_cache.c
 * (caches, reports, shrinking), slab_size.c (memory by size), slab_charge.c (whose they are), slab_debug.c (poison, red zones, what a
 * failed CHECK says). Nobody else includes this.
 *
 *   one cache        CPU 0   CPU 1  ...            lock order, from the top:
 *                  +-------+-------+                 registry
 *                  | loaded| loaded|  slots          slots of a cache, by CPU number
 *                  | prev. | prev. |                 lock of that cache
 *                  +---+---+---+---+                 slots and lock of a cache of magazines
 *                      |       |                     the page allocator
 *                  +---+-------+---+
 *                  | depot: full   |  lock         An object is in one of three places: a slab's list of free objects,
 *                  | and empty ones|               a magazine, or in use. What a slab counts as in use (refs) are
 *                  +-------+-------+               the last two.
 *                  | slabs, fullest|
 *                  | ones first    |
 *                  +---------------+
 */

#include "core/atomic.h"
#include "mm/slab.h"
#include "mm/zone.h"

#define OBJECT_ALIGN 16u
#define SLAB_ORDER_MAX 3u
#define SLAB_BINS 4u /* of partly used slabs, by quarters of free objects */

/* Objects that one CPU hands out and takes back without a lock. */
struct magazine {
  struct magazine *next; /* in the depot */
  uint32_t count, capacity;
  void *round[];
};

/*
 * One CPU's. `loaded` is NULL while somebody holds the slot: its CPU for a few instructions, interrupts masked, or another one that drains
 * it. So a drain needs no call to other CPUs, at the price of an exchange on a line that is otherwise this CPU's alone. `previous` is the
 * holder's; it is full, empty or slab_no_magazine.
 */
struct slab_slot {
  struct magazine *loaded, *previous;
} ALIGNED(64);

struct slab_cache {
  /* constant while it has a slab */
  uint32_t object_bytes; /* what is handed out and zeroed */
  uint32_t stride;       /* from one object to the next */
  uint32_t reciprocal;   /* ceil(2^32 / stride) */
  uint32_t record;       /* where a free object's struct slab_record stands */
  uint32_t slab_mask;    /* bytes of a slab - 1 */
  uint16_t per_slab;
  uint8_t slab_order;
  uint8_t flags;                /* SLAB_POISON, SLAB_RED_ZONE */
  const struct slab_ops *ops;   /* NULL: objects come zeroed */
  struct slab_cache *magazines; /* where its magazines come from; NULL: it has none */
  const char *name;
  uint32_t size, align;    /* as asked for */
  struct slab_cache *next; /* registry lock */

  struct port_lock lock;        /* covers what follows, and the slabs */
  uint32_t list[SLAB_BINS + 1]; /* first slab of each bin; the last bin: wholly free, at most one outside a call */
  uint32_t slabs, empty_slabs;
  uint64_t used_objects;    /* out of their slabs: in use or in a magazine */
  uint64_t charged_objects; /* atomic (slab_charge.c) */
  struct magazine *full, *empty;
  uint32_t full_count, empty_count;

  struct slab_slot slot[PORT_CPUS_MAX];
};

/* In a free object: at its start, or behind it where its contents must stay. */
struct slab_record {
  uint64_t next; /* number + 1 of the next free object of the slab; 0: none. Only while it is in its slab's list */
  uint64_t seal; /* says that it is free */
};

extern struct magazine slab_no_magazine; /* neither object nor room: its CPU takes the slow path */

static inline struct slab_record *slab_record_of(const struct slab_cache *c, void *object) {
  return (struct slab_record *)((char *)object + c->record);
}

static inline uint64_t slab_seal_of(const void *object) {
  return ~(uint64_t)(uintptr_t)object;
}

static inline port_flags_t slab_lock(struct slab_cache *c) {
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&c->lock);
  return flags;
}

static inline void slab_unlock(struct slab_cache *c, port_flags_t flags) {
  port_lock_release(&c->lock);
  port_irq_restore(flags);
}

/* Take hold of a slot, interrupts masked; it is another CPU's only for a drain. */
static ALWAYS_INLINE struct magazine *slab_slot_hold(struct slab_slot *slot) {
  struct magazine *m;
  while (unlikely((m = __atomic_exchange_n(&slot->loaded, NULL, __ATOMIC_ACQUIRE)) == NULL))
    port_relax();
  return m;
}

static ALWAYS_INLINE void slab_slot_release(struct slab_slot *slot, struct magazine *m) {
  atomic_store_release(&slot->loaded, m);
}

/* --- slabs of frames (slab_frames.c); the cache's lock held ---------------------------------------------------------------------- */

#define SLAB_EFFORT (ALLOC_MAY_COMPACT | ALLOC_MAY_RECLAIM) /* never under the cache's lock */
#define SLAB_FLAGS (SLAB_EFFORT | ALLOC_ATOMIC | ALLOC_HIGH)

/* An object from the fullest slab, from a new one if none has any; NULL when no frame is to be had. `flags` without SLAB_EFFORT. */
void *slab_take(struct slab_cache *c, alloc_flags_t flags);
/* A block of slab_order, in state CORE, becomes a slab. */
void slab_add(struct slab_cache *c, pfn_t f);
/* Up to `want` objects from the fullest slab, never a new one; returns how many. */
uint32_t slab_take_ready(struct slab_cache *c, void **to, uint32_t want);
void slab_give(struct slab_cache *c, void *object);
/* Give wholly free slabs back until `keep` are left; returns the frames. */
uint64_t slab_trim(struct slab_cache *c, uint32_t keep);
bool slab_object_is_listed(const struct slab_cache *c, void *object);

/* --- magazines (slab.c) ----------------------------------------------------------------------------------------------------------- */

/* Every object and magazine of the depot and of all CPUs goes back; returns how many objects. */
uint64_t slab_drain(struct slab_cache *c);
/* Objects in magazines, CPU by CPU. */
uint64_t slab_cached_objects(struct slab_cache *c);

/* --- caches (slab_cache.c) --------------------------------------------------------------------------------------------------------- */

/* Lay out a cache that has no slab. `c` is zero, or was set up before. */
void slab_set_up(struct slab_cache *c, const char *name, size_t size, size_t align);
/* For the static ones, while nobody else runs. */
void slab_register(struct slab_cache *c);
void slab_size_reset(void);

/* --- charges (slab_charge.c) --------------------------------------------------------------------------------------------------------- */

void slab_charge_reset(void);

/* --- debugging (slab_debug.c) -------------------------------------------------------------------------------------------------------- */

/* Stops with the name of the cache, the object, the offset and what was found there. */
NORETURN void slab_fail(const struct slab_cache *c, const void *object, size_t offset, const char *what);
/* For caches with flags: an object becomes free; is checked and becomes one in use. */
void slab_debug_fill(const struct slab_cache *c, void *object);
void slab_debug_free(const struct slab_cache *c, void *object);
void slab_debug_alloc(const struct slab_cache *c, void *object);

#endif
