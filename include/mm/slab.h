/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_SLAB_H
#define MM_SLAB_H

/*
 * Kernel objects: caches of equal objects cut from blocks of frames (Bonwick, "The Slab Allocator", USENIX 1994), and an allocator by
 * size on top. Objects come zeroed. The frames are FRAME_CORE: a slab is the home's own memory, never a guest's.
 *
 * A cache has a lock of its own, taken after any lock of the caller and before the allocator's (include/mm/page_alloc.h). All
 * functions may be called with interrupts on or masked, from any CPU, after page_alloc_init().
 */

#include "core/err.h"
#include "core/types.h"

struct slab_cache;

#define SLAB_OBJECT_MAX ((size_t)8192) /* largest object of a cache */

/*
 * A cache of objects of `size` bytes, 1..SLAB_OBJECT_MAX, aligned to `align`: a power of two up to 4096, or 0 for 16. `name` stays.
 * ERR_INVAL, ERR_NOMEM.
 */
MUST_CHECK err_t slab_create(const char *name, size_t size, size_t align, struct slab_cache **out);
/* The inverse. CHECKs that no object is left. */
void slab_destroy(struct slab_cache *cache);

/* A zeroed object, or NULL when no frame is to be had; then nothing changed. */
MUST_CHECK void *slab_alloc(struct slab_cache *cache);

/* `object` came from this cache and is not free: else a CHECK trips. NULL is allowed and does nothing. */
void slab_free(struct slab_cache *cache, void *object);

/* Give empty slabs back to the page allocator. Returns the frames that went. */
uint64_t slab_shrink(struct slab_cache *cache);

struct slab_info {
  const char *name;
  uint32_t object_bytes; /* as laid out */
  uint32_t per_slab, slab_order;
  uint64_t slabs, used_objects;
};
void slab_describe(struct slab_cache *cache, struct slab_info *out);

/*
 * Memory by size, zeroed, aligned to 16 bytes, or to the size itself if that is a power of two up to 4096. NULL when there is none,
 * `bytes` is 0 or more than 2^MAX_ORDER frames. Above SLAB_OBJECT_MAX it is whole frames, frame-aligned.
 */
MUST_CHECK void *mem_alloc(size_t bytes);
/* What mem_alloc() gave; NULL is allowed. */
void mem_free(void *p);
/* What mem_alloc() really gave for `p`. */
size_t mem_size(const void *p);

#endif
