/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory by size: a cache for each of twelve sizes (Linux's kmalloc sizes), whole frames above the largest.
 *
 * The cache of a piece of memory is found from its address: the entry of the slab's first frame names it, and no other block of the home's
 * own has a reverse mapping. No lock but the caches'. Refuses, by CHECK, what is no memory of this kind.
 */
#include "mm/slab_priv.h"

static const struct {
  uint16_t bytes;
  const char *name;
} sizes[] = {
    {16, "kmalloc-16"},   {32, "kmalloc-32"},   {64, "kmalloc-64"},   {96, "kmalloc-96"},   {128, "kmalloc-128"}, {192, "kmalloc-192"},
    {256, "kmalloc-256"}, {512, "kmalloc-512"}, {1024, "kmalloc-1k"}, {2048, "kmalloc-2k"}, {4096, "kmalloc-4k"}, {8192, "kmalloc-8k"},
};
static struct slab_cache *caches[ARRAY_SIZE(sizes)]; /* made when first used; written once */

/* Which size serves 1..256 bytes, in steps of 16. */
static const uint8_t small[16] = {0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6};

void slab_size_reset(void) {
  for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
    caches[i] = NULL;
}

/* Two CPUs may make one at the same time: the second throws its own away. */
static NOINLINE struct slab_cache *make_cache(unsigned i) {
  struct slab_cache *made, *other = NULL;
  if (slab_create(sizes[i].name, sizes[i].bytes, sizes[i].bytes & (sizes[i].bytes - 1) ? 0 : min_u64(sizes[i].bytes, PAGE_SIZE), &made) !=
      ERR_OK)
    return NULL;
  if (atomic_cas(&caches[i], &other, made))
    return made;
  slab_destroy(made);
  return other;
}

static ALWAYS_INLINE unsigned size_index(size_t bytes) {
  return bytes <= 256 ? small[(bytes - 1) >> 4] : bits_fls(bytes - 1) - 1;
}

static void *alloc_frames(size_t bytes) {
  unsigned order = bits_fls((bytes - 1) >> PAGE_SHIFT) + 1;
  pfn_t f;
  if (order > MAX_ORDER || page_alloc(order, ALLOC_UNMOVABLE | ALLOC_RETURN_CORE | ALLOC_ZERO, &f) != ERR_OK)
    return NULL;
  return port_frame_ptr(f);
}

void *mem_alloc(size_t bytes) {
  if (unlikely(bytes - 1 >= SLAB_OBJECT_MAX))
    return bytes == 0 ? NULL : alloc_frames(bytes);
  struct slab_cache *cache = atomic_load_acquire(&caches[size_index(bytes)]);
  if (unlikely(!cache))
    cache = make_cache(size_index(bytes));
  return likely(cache) ? slab_alloc(cache) : NULL;
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
