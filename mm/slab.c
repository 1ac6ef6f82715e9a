/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects in and out, and the magazines that make it cheap (Bonwick and Adams, "Magazines and Vmem", USENIX 2001).
 *
 * Each CPU has two magazines per cache: what it frees goes into the loaded one, what it allocates comes out of it. When that one cannot
 * serve, it changes places with the previous one; when neither can, a full one is exchanged for an empty one, or an empty one for a full
 * one, at the depot under the cache's lock. So at least a magazine's worth of calls passes between two looks at the lock. A free object
 * bears a seal made from its address, which a write after free breaks and a second free meets.
 *
 * Lock: none on the hot path; interrupts are masked and the CPU's slot is held (mm/slab_priv.h). Refuses, by CHECK, an object that is not
 * this cache's, does not start where an object does, is free already, or was written after it was freed.
 */
#include "core/string.h"
#include "mm/slab_priv.h"

struct magazine slab_no_magazine;

/* --- magazines; the slot and the cache's lock held -------------------------------------------------------------------------------- */

static ALWAYS_INLINE void *pop(struct magazine *m) {
  void *object = m->round[m->count - 1];
  m->count--;
  return object;
}

static ALWAYS_INLINE void push(struct magazine *m, void *object) {
  m->round[m->count] = object;
  m->count++;
}

static struct magazine *new_magazine(struct slab_cache *c) {
  struct magazine *m = c->empty;
  if (m) {
    c->empty = m->next;
    c->empty_count--;
    return m;
  }
  m = c->magazines ? slab_alloc(c->magazines) : NULL;
  if (m)
    m->capacity = (uint32_t)((c->magazines->object_bytes - sizeof(*m)) / sizeof(m->round[0]));
  return m;
}

/* An empty magazine is kept for the next that fills up, or is no more. */
static void put_empty(struct slab_cache *c, struct magazine *m) {
  if (m == &slab_no_magazine)
    return;
  if (c->empty_count == SLAB_DEPOT_MAGAZINES) {
    slab_free(c->magazines, m);
    return;
  }
  m->next = c->empty;
  c->empty = m;
  c->empty_count++;
}

static void empty_out(struct slab_cache *c, struct magazine *m) {
  while (m->count != 0)
    slab_give(c, pop(m));
}

static void put_full(struct slab_cache *c, struct magazine *m) {
  if (m == &slab_no_magazine)
    return;
  if (c->full_count == SLAB_DEPOT_MAGAZINES) {
    empty_out(c, m);
    put_empty(c, m);
    return;
  }
  m->next = c->full;
  c->full = m;
  c->full_count++;
}

static struct magazine *get_full(struct slab_cache *c) {
  struct magazine *m = c->full;
  if (m) {
    c->full = m->next;
    c->full_count--;
  }
  return m;
}

/* --- alloc ---------------------------------------------------------------------------------------------------------------------- */

/* `m` is empty: an object from the slabs, and what else the fullest of them has ready, up to a magazine. */
static void *take_from_slabs(struct slab_cache *c, struct magazine **m, alloc_flags_t how) {
  void *object = slab_take(c, how);
  if (!object || !c->magazines)
    return object;
  if (*m == &slab_no_magazine) {
    struct magazine *fresh = new_magazine(c);
    *m = fresh ? fresh : *m;
  }
  if ((*m)->capacity != 0)
    (*m)->count = slab_take_ready(c, (*m)->round, (*m)->capacity);
  return object;
}

/* Neither magazine has an object. */
static void *take_at_depot(struct slab_cache *c, struct slab_slot *slot, struct magazine **m, alloc_flags_t how) {
  void *object;
  port_lock_acquire(&c->lock);
  struct magazine *full = get_full(c);
  if (full) {
    put_empty(c, slot->previous);
    slot->previous = *m;
    *m = full;
    object = pop(full);
  } else {
    object = take_from_slabs(c, m, how);
  }
  port_lock_release(&c->lock);
  return object;
}

/* A free object becomes one in use. */
static ALWAYS_INLINE void *hand_out(const struct slab_cache *c, void *object) {
  struct slab_record *record = slab_record_of(c, object);
  if (unlikely(record->seal != slab_seal_of(object)))
    slab_fail(c, object, c->record + offsetof(struct slab_record, seal), "was written after it was freed");
  record->seal = 0;
  return c->ops ? object : memset(object, 0, c->object_bytes);
}

static void *hand_out_checked(struct slab_cache *c, void *object) {
  if (c->flags)
    slab_debug_alloc(c, object);
  return hand_out(c, object);
}

/* Memory is short, and the caller can stand what it takes: a new slab is looked for with no lock held, and its first object is his. */
static NOINLINE void *alloc_with_effort(struct slab_cache *c, alloc_flags_t how) {
  pfn_t f;
  if (page_alloc(c->slab_order, ALLOC_UNMOVABLE | ALLOC_RETURN_CORE | how, &f) != ERR_OK)
    return NULL;
  port_flags_t flags = slab_lock(c);
  slab_add(c, f);
  void *object = slab_take(c, 0);
  slab_unlock(c, flags);
  return hand_out_checked(c, object);
}

static NOINLINE void *alloc_slowly(struct slab_cache *c, struct slab_slot *slot, struct magazine *m, port_flags_t flags,
                                   alloc_flags_t how) {
  void *object;
  struct magazine *previous = slot->previous;
  if (previous->count != 0) {
    slot->previous = m;
    m = previous;
    object = pop(m);
  } else {
    object = take_at_depot(c, slot, &m, how & ~SLAB_EFFORT);
  }
  slab_slot_release(slot, m);
  port_irq_restore(flags);
  if (object)
    return hand_out_checked(c, object);
  return how & SLAB_EFFORT ? alloc_with_effort(c, how) : NULL;
}

static ALWAYS_INLINE void *alloc(struct slab_cache *cache, alloc_flags_t how) {
  port_flags_t flags = port_irq_save();
  struct slab_slot *slot = &cache->slot[port_cpu()];
  struct magazine *m = slab_slot_hold(slot);
  if (unlikely(m->count == 0))
    return alloc_slowly(cache, slot, m, flags, how);
  void *object = pop(m);
  slab_slot_release(slot, m);
  port_irq_restore(flags);
  return hand_out(cache, object);
}

void *slab_alloc(struct slab_cache *cache) {
  return alloc(cache, 0);
}

void *slab_alloc_with(struct slab_cache *cache, alloc_flags_t flags) {
  CHECK((flags & ~SLAB_FLAGS) == 0);
  return alloc(cache, flags);
}

/* --- free ----------------------------------------------------------------------------------------------------------------------- */

/* Neither magazine has room. */
static void give_at_depot(struct slab_cache *c, struct slab_slot *slot, struct magazine **m, void *object) {
  port_lock_acquire(&c->lock);
  struct magazine *empty = new_magazine(c);
  if (empty) {
    put_full(c, slot->previous);
    slot->previous = *m;
    *m = empty;
    push(empty, object);
  } else {
    slab_give(c, object);
  }
  port_lock_release(&c->lock);
}

/* No magazines, and no lock held while it is looked at. */
static void free_debugged(struct slab_cache *c, void *object) {
  slab_debug_free(c, object);
  port_flags_t flags = slab_lock(c);
  slab_give(c, object);
  slab_unlock(c, flags);
}

static NOINLINE void free_slowly(struct slab_cache *c, struct slab_slot *slot, struct magazine *m, void *object, port_flags_t flags) {
  struct magazine *previous = slot->previous;
  if (previous->count != previous->capacity) {
    slot->previous = m;
    m = previous;
    push(m, object);
  } else if (!c->flags) {
    give_at_depot(c, slot, &m, object);
  }
  slab_slot_release(slot, m);
  port_irq_restore(flags);
  if (c->flags)
    free_debugged(c, object);
}

static bool magazine_has(const struct magazine *m, const void *object) {
  for (uint32_t i = 0; i < m->count; i++) {
    if (m->round[i] == object)
      return true;
  }
  return false;
}

static bool depot_has(const struct slab_cache *c, const void *object) {
  for (const struct magazine *m = c->full; m; m = m->next) {
    if (magazine_has(m, object))
      return true;
  }
  return false;
}

/* It bears the seal. Is it free, or are these bytes its owner's? All slots are held at once, lest it wander from one to the next. */
static void check_not_free(struct slab_cache *c, void *object) {
  struct magazine *m[PORT_CPUS_MAX];
  bool found = false;
  port_flags_t flags = port_irq_save();
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++)
    m[cpu] = slab_slot_hold(&c->slot[cpu]);
  port_lock_acquire(&c->lock);
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++)
    found = found || magazine_has(m[cpu], object) || magazine_has(c->slot[cpu].previous, object);
  found = found || depot_has(c, object) || slab_object_is_listed(c, object);
  port_lock_release(&c->lock);
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++)
    slab_slot_release(&c->slot[cpu], m[cpu]);
  port_irq_restore(flags);
  if (found)
    slab_fail(c, object, 0, "is freed twice");
}

static uint32_t offset_in_slab(const struct slab_cache *c, const void *object) {
  return (uint32_t)(uintptr_t)object & c->slab_mask;
}

/* The entry of the slab's first frame names the cache. */
static bool is_from(const struct slab_cache *c, const void *object) {
  const struct frame *frame = frame_of(port_ptr_frame((const char *)object - offset_in_slab(c, object)));
  return atomic_load_relaxed(&frame->rmap) == (uintptr_t)c;
}

static NOINLINE NORETURN void fail_foreign(const struct slab_cache *c, const void *object) {
  if (!is_from(c, object))
    slab_fail(c, object, 0, "is freed to a cache that it is not from");
  slab_fail(c, object, offset_in_slab(c, object) % c->stride, "is freed, but no object starts there");
}

/* The division by the stride is a product, exact for offsets below 2^15. */
static ALWAYS_INLINE bool is_ours(const struct slab_cache *c, const void *object) {
  uint32_t offset = offset_in_slab(c, object);
  uint32_t number = (uint32_t)((uint64_t)offset * c->reciprocal >> 32);
  return likely(is_from(c, object)) && likely(number * c->stride == offset) && likely(number < c->per_slab);
}

/* It is ours and in use. */
static ALWAYS_INLINE void take_back(struct slab_cache *c, void *object) {
  port_flags_t flags = port_irq_save();
  struct slab_slot *slot = &c->slot[port_cpu()];
  struct magazine *m = slab_slot_hold(slot);
  slab_record_of(c, object)->seal = slab_seal_of(object);
  if (unlikely(m->count == m->capacity)) {
    free_slowly(c, slot, m, object, flags);
    return;
  }
  push(m, object);
  slab_slot_release(slot, m);
  port_irq_restore(flags);
}

static NOINLINE void free_suspect(struct slab_cache *c, void *object) {
  check_not_free(c, object);
  take_back(c, object);
}

void slab_free(struct slab_cache *cache, void *object) {
  if (unlikely(!object))
    return;
  if (unlikely(!is_ours(cache, object)))
    fail_foreign(cache, object);
  if (unlikely(slab_record_of(cache, object)->seal == slab_seal_of(object)))
    free_suspect(cache, object);
  else
    take_back(cache, object);
}

/* --- all of them ---------------------------------------------------------------------------------------------------------------- */

/* Returns the objects that go back. */
static uint32_t retire(struct slab_cache *c, struct magazine *m) {
  if (m == &slab_no_magazine)
    return 0;
  uint32_t count = m->count;
  empty_out(c, m);
  slab_free(c->magazines, m);
  return count;
}

static uint32_t drain_slot(struct slab_cache *c, struct slab_slot *slot) {
  port_flags_t flags = port_irq_save();
  struct magazine *loaded = slab_slot_hold(slot), *previous = slot->previous;
  slot->previous = &slab_no_magazine;
  slab_slot_release(slot, &slab_no_magazine);
  port_lock_acquire(&c->lock);
  uint32_t count = retire(c, loaded) + retire(c, previous);
  slab_unlock(c, flags);
  return count;
}

static uint32_t drain_depot(struct slab_cache *c) {
  struct magazine *m;
  uint32_t count = 0;
  port_flags_t flags = slab_lock(c);
  while ((m = get_full(c)) != NULL)
    count += retire(c, m);
  while (c->empty)
    slab_free(c->magazines, new_magazine(c));
  slab_unlock(c, flags);
  return count;
}

uint64_t slab_drain(struct slab_cache *c) {
  uint64_t count = 0;
  for (unsigned cpu = 0; c->magazines && cpu < PORT_CPUS_MAX; cpu++)
    count += drain_slot(c, &c->slot[cpu]);
  return count + drain_depot(c);
}

static uint64_t count_slot(struct slab_slot *slot) {
  port_flags_t flags = port_irq_save();
  struct magazine *m = slab_slot_hold(slot);
  uint64_t count = (uint64_t)m->count + slot->previous->count;
  slab_slot_release(slot, m);
  port_irq_restore(flags);
  return count;
}

uint64_t slab_cached_objects(struct slab_cache *c) {
  uint64_t count = 0;
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++)
    count += count_slot(&c->slot[cpu]);
  port_flags_t flags = slab_lock(c);
  for (const struct magazine *m = c->full; m; m = m->next)
    count += m->count;
  slab_unlock(c, flags);
  return count;
}
