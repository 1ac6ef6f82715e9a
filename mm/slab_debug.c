/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding who wrote where it should not: poison and red zones, per cache, and the words of every failed check of the slabs.
 *
 * A free object of a cache with SLAB_POISON is filled and looked at when it is handed out; one with a constructor keeps its contents when
 * free and so is not. SLAB_RED_ZONE puts a strip behind each object, from the last byte asked for to the record, with one byte
 * while the object is in use and another while it is free. The bytes are Linux's (include/linux/poison.h), which people know from dumps.
 * Such caches have no magazines: every call comes past here. No lock: the object belongs to the caller.
 */
#include "core/format.h"
#include "core/string.h"
#include "mm/slab_priv.h"

#define POISON_FREE 0x6bu
#define RED_INACTIVE 0xbbu
#define RED_ACTIVE 0xccu

void slab_fail(const struct slab_cache *c, const void *object, size_t offset, const char *what) {
  char text[160];
  format(text, sizeof text, "slab %s: object 0x%llx, offset %lu: %s", c->name, (unsigned long long)(uintptr_t)object, (unsigned long)offset,
         what);
  check_failed(text, __FILE__, __LINE__);
}

static void check_bytes(const struct slab_cache *c, const uint8_t *object, size_t from, size_t to, uint8_t byte, const char *what) {
  for (size_t i = from; i < to; i++) {
    if (unlikely(object[i] != byte))
      slab_fail(c, object, i, what);
  }
}

static bool is_poisoned(const struct slab_cache *c) {
  return (c->flags & SLAB_POISON) && !c->ops;
}

static void paint_zone(const struct slab_cache *c, uint8_t *object, uint8_t byte) {
  if (c->flags & SLAB_RED_ZONE)
    memset(object + c->size, byte, c->record - c->size);
}

static void check_zone(const struct slab_cache *c, const uint8_t *object, uint8_t byte, const char *what) {
  if (c->flags & SLAB_RED_ZONE)
    check_bytes(c, object, c->size, c->record, byte, what);
}

void slab_debug_fill(const struct slab_cache *c, void *object) {
  if (is_poisoned(c))
    memset(object, POISON_FREE, c->size);
  paint_zone(c, object, RED_INACTIVE);
}

void slab_debug_free(const struct slab_cache *c, void *object) {
  check_zone(c, object, RED_ACTIVE, "was written beyond its end");
  slab_debug_fill(c, object);
}

void slab_debug_alloc(const struct slab_cache *c, void *object) {
  check_zone(c, object, RED_INACTIVE, "was written beyond its end after it was freed");
  if (is_poisoned(c))
    check_bytes(c, object, 0, c->size, POISON_FREE, "was written after it was freed");
  paint_zone(c, object, RED_ACTIVE);
}
