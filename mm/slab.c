/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slabs: objects of one size cut from a block of 2^slab_order frames.
 *
 * A slab needs no header: the frame table's entry of its first frame is one. There, rmap is the cache, refs the objects in use, private the
 * first free object (number + 1; 0: none), next and prev the list of slabs with something free. A full slab is on no list. A
 * free object holds the number of the next, and a seal made from its address, which a write after free breaks and a second free
 * meets; the rest of it is not looked at. At most one empty slab is kept per cache, so that a ping-pong of one object costs no frame.
 *
 * Each cache's lock covers its slabs; the page allocator is called under it (lock order: include/mm/page_alloc.h). Refuses, by CHECK, an
 * object that is not this cache's, does not start where an object does, or is free already.
 */
#include "mm/slab.h"
#include "core/string.h"
#include "mm/zone.h"

#define OBJECT_ALIGN 16u
#define SLAB_ORDER_MAX 3u
#define SEAL 0x5ea1edf8eeb1ecull

struct slab_cache {
  const char *name;
  struct port_lock lock; /* covers what follows, and the slabs */
  uint32_t object_bytes; /* constant; and so are the next two */
  uint16_t per_slab;
  uint8_t slab_order;
  uint32_t partial; /* index of the first slab with something free */
  uint32_t empty;   /* of those, slabs with nothing in use: 0 or 1 */
  uint64_t slabs, used_objects;
};

struct free_object {
  uint64_t next; /* number + 1 of the next free object of the slab; 0: none */
  uint64_t seal;
};

static struct slab_cache cache_of_caches;

static uint64_t seal_of(const struct free_object *object) {
  return SEAL ^ (uintptr_t)object;
}

/* --- slabs of one cache; its lock held ----------------------------------------------------------------------------------------- */

static void list_slab(struct slab_cache *c, uint32_t slab) {
  struct frame *frame = frame_at(slab);
  frame->prev = INDEX_NONE;
  frame->next = c->partial;
  if (c->partial != INDEX_NONE)
    frame_at(c->partial)->prev = slab;
  c->partial = slab;
}

static void unlist_slab(struct slab_cache *c, uint32_t slab) {
  struct frame *frame = frame_at(slab);
  if (frame->prev != INDEX_NONE)
    frame_at(frame->prev)->next = frame->next;
  else
    c->partial = frame->next;
  if (frame->next != INDEX_NONE)
    frame_at(frame->next)->prev = frame->prev;
}

static struct free_object *object_at(const struct slab_cache *c, uint32_t slab, uint32_t number) {
  return (struct free_object *)((char *)port_frame_ptr(index_pfn(slab)) + (size_t)number * c->object_bytes);
}

static void put_object(struct slab_cache *c, uint32_t slab, uint32_t number) {
  struct free_object *object = object_at(c, slab, number);
  object->next = frame_at(slab)->private;
  object->seal = seal_of(object);
  frame_at(slab)->private = number + 1;
}

static bool add_slab(struct slab_cache *c) {
  pfn_t f;
  if (page_alloc(c->slab_order, ALLOC_UNMOVABLE | ALLOC_RETURN_CORE | ALLOC_ATOMIC, &f) != ERR_OK)
    return false;
  uint32_t slab = pfn_index(f);
  frame_at(slab)->rmap = (uintptr_t)c;
  for (uint32_t i = c->per_slab; i-- != 0;)
    put_object(c, slab, i);
  list_slab(c, slab);
  c->slabs++;
  c->empty++;
  return true;
}

static void remove_slab(struct slab_cache *c, uint32_t slab) {
  unlist_slab(c, slab);
  c->slabs--;
  c->empty--;
  page_free(index_pfn(slab), c->slab_order);
}

static void *take_object(struct slab_cache *c) {
  struct frame *frame = frame_at(c->partial);
  struct free_object *object = object_at(c, c->partial, frame->private - 1);
  CHECK(object->seal == seal_of(object)); /* written after it was freed */
  if (frame->refs++ == 0)
    c->empty--;
  frame->private = (uint32_t)object->next;
  if (frame->private == 0)
    unlist_slab(c, c->partial);
  c->used_objects++;
  return object;
}

/* Is it on the slab's list? Only asked when its bytes look as if. */
static bool is_free(const struct slab_cache *c, uint32_t slab, uint32_t number) {
  for (uint64_t n = frame_at(slab)->private; n != 0; n = object_at(c, slab, (uint32_t)n - 1)->next) {
    if (n == number + 1)
      return true;
  }
  return false;
}

static void give_object(struct slab_cache *c, uint32_t slab, struct free_object *object) {
  struct frame *frame = frame_at(slab);
  size_t offset = (size_t)((char *)object - (char *)port_frame_ptr(index_pfn(slab)));
  uint32_t number = (uint32_t)(offset / c->object_bytes);
  CHECK(frame->state == FRAME_CORE && frame->rmap == (uintptr_t)c);
  CHECK(offset % c->object_bytes == 0 && number < c->per_slab);
  CHECK(object->seal != seal_of(object) || !is_free(c, slab, number));
  if (frame->private == 0)
    list_slab(c, slab);
  put_object(c, slab, number);
  c->used_objects--;
  if (--frame->refs == 0 && c->empty++ != 0)
    remove_slab(c, slab);
}

/* --- caches -------------------------------------------------------------------------------------------------------------------- */

/* The smallest slab that wastes at most 1/8, or the largest. */
static unsigned choose_order(uint32_t object_bytes) {
  for (unsigned order = 0; order < SLAB_ORDER_MAX; order++) {
    uint32_t bytes = (uint32_t)PAGE_SIZE << order;
    if (bytes >= object_bytes && bytes % object_bytes <= bytes / 8)
      return order;
  }
  return SLAB_ORDER_MAX;
}

static void set_up(struct slab_cache *c, const char *name, size_t size, size_t align) {
  uint32_t bytes = (uint32_t)align_up(size, align);
  unsigned order = choose_order(bytes);
  *c = (struct slab_cache){
      .name = name,
      .object_bytes = bytes,
      .per_slab = (uint16_t)(((uint32_t)PAGE_SIZE << order) / bytes),
      .slab_order = (uint8_t)order,
      .partial = INDEX_NONE,
  };
}

err_t slab_create(const char *name, size_t size, size_t align, struct slab_cache **out) {
  align = align == 0 ? OBJECT_ALIGN : align;
  if (size == 0 || size > SLAB_OBJECT_MAX || !is_pow2(align) || align > PAGE_SIZE)
    return ERR_INVAL;
  *out = slab_alloc(&cache_of_caches);
  if (!*out)
    return ERR_NOMEM;
  set_up(*out, name, size, max_u64(align, OBJECT_ALIGN));
  return ERR_OK;
}

void slab_destroy(struct slab_cache *cache) {
  CHECK(cache->used_objects == 0);
  slab_shrink(cache);
  slab_free(&cache_of_caches, cache);
}

static port_flags_t lock(struct slab_cache *c) {
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&c->lock);
  return flags;
}

static void unlock(struct slab_cache *c, port_flags_t flags) {
  port_lock_release(&c->lock);
  port_irq_restore(flags);
}

void *slab_alloc(struct slab_cache *cache) {
  void *object = NULL;
  port_flags_t flags = lock(cache);
  if (cache->partial != INDEX_NONE || add_slab(cache))
    object = take_object(cache);
  unlock(cache, flags);
  return object ? memset(object, 0, cache->object_bytes) : NULL;
}

void slab_free(struct slab_cache *cache, void *object) {
  if (!object)
    return;
  uint32_t slab = pfn_index(port_ptr_frame(object)) & ~((1u << cache->slab_order) - 1);
  port_flags_t flags = lock(cache);
  give_object(cache, slab, object);
  unlock(cache, flags);
}

uint64_t slab_shrink(struct slab_cache *cache) {
  uint64_t frames = 0;
  port_flags_t flags = lock(cache);
  for (uint32_t slab = cache->partial, next; slab != INDEX_NONE && cache->empty != 0; slab = next) {
    next = frame_at(slab)->next;
    if (frame_at(slab)->refs != 0)
      continue;
    remove_slab(cache, slab);
    frames += (uint64_t)1 << cache->slab_order;
  }
  unlock(cache, flags);
  return frames;
}

void slab_describe(struct slab_cache *cache, struct slab_info *out) {
  port_flags_t flags = lock(cache);
  *out = (struct slab_info){
      .name = cache->name,
      .object_bytes = cache->object_bytes,
      .per_slab = cache->per_slab,
      .slab_order = cache->slab_order,
      .slabs = cache->slabs,
      .used_objects = cache->used_objects,
  };
  unlock(cache, flags);
}

/* --- by size ------------------------------------------------------------------------------------------------------------------- */

static const uint16_t sizes[] = {16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192};
static struct slab_cache caches[ARRAY_SIZE(sizes)];

void slab_reset(void) {
  set_up(&cache_of_caches, "slab_cache", sizeof(struct slab_cache), OBJECT_ALIGN);
  for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
    set_up(&caches[i], "mem", sizes[i], OBJECT_ALIGN);
}

static void *alloc_frames(size_t bytes) {
  unsigned order = bits_fls((bytes - 1) >> PAGE_SHIFT) + 1;
  pfn_t f;
  if (order > MAX_ORDER || page_alloc(order, ALLOC_UNMOVABLE | ALLOC_RETURN_CORE | ALLOC_ZERO | ALLOC_ATOMIC, &f) != ERR_OK)
    return NULL;
  return port_frame_ptr(f);
}

void *mem_alloc(size_t bytes) {
  if (bytes == 0)
    return NULL;
  for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
    if (bytes <= sizes[i])
      return slab_alloc(&caches[i]);
  }
  return alloc_frames(bytes);
}

/* Most slabs are one frame; a larger block's head is looked for. */
static pfn_t head_of(pfn_t f) {
  uint64_t word = frame_is_valid(f) ? word_load(frame_of(f)) : 0;
  bool single = word_is_claimed(word, 0) && (word & WORD_STATE_MASK) == FRAME_CORE;
  return single ? f : frame_head(f);
}

/* The cache `p` came from, NULL for whole frames; `head` is that of its block. */
static struct slab_cache *cache_of(const void *p, pfn_t *head) {
  *head = head_of(port_ptr_frame(p));
  CHECK(!pfn_is_none(*head) && frame_of(*head)->state == FRAME_CORE);
  return (struct slab_cache *)(uintptr_t)frame_of(*head)->rmap;
}

void mem_free(void *p) {
  pfn_t head;
  if (!p)
    return;
  struct slab_cache *cache = cache_of(p, &head);
  if (cache) {
    slab_free(cache, p);
    return;
  }
  CHECK(port_frame_ptr(head) == p);
  page_free(head, frame_of(head)->order);
}

size_t mem_size(const void *p) {
  pfn_t head;
  const struct slab_cache *cache = cache_of(p, &head);
  return cache ? cache->object_bytes : (size_t)PAGE_SIZE << frame_of(head)->order;
}
