/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_SLAB_H
#define MM_SLAB_H

/*
 * Kernel objects: caches of equal objects cut from blocks of frames (Bonwick, "The Slab Allocator", USENIX 1994), per-CPU magazines in
 * front (Bonwick and Adams, "Magazines and Vmem", USENIX 2001), and an allocator by size on top. The frames are FRAME_CORE: a slab is the
 * home's own memory, never a guest's.
 *
 * A cache has locks of its own, taken after any lock of the caller and before the allocator's (include/mm/page_alloc.h). All
 * functions may be called with interrupts on or masked, from any CPU, after page_alloc_init(), which forgets every cache.
 */

#include "core/err.h"
#include "core/types.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"

struct slab_cache;

#define SLAB_OBJECT_MAX ((size_t)8192) /* largest object of a cache */
#define SLAB_DEPOT_MAGAZINES 4u        /* full ones that a cache keeps for all CPUs; the same of empty ones */

/*
 * What a cache knows about its objects. With `construct` an object is brought into its constructed state once, when its frames become a
 * slab: it is handed out in that state, must be freed in it, and is neither zeroed nor touched meanwhile. `construct` must not allocate.
 */
struct slab_ops {
  void (*construct)(void *object);
};

/* Debugging, per cache: it costs memory and takes the magazines away. */
#define SLAB_POISON 0x1u   /* fill free objects, look whether the filling is whole before one is handed out (not with `construct`) */
#define SLAB_RED_ZONE 0x2u /* a strip behind each object, looked at when it is freed and handed out */
#define SLAB_DEBUG_ALL 0x3u

/*
 * A cache of objects of `size` bytes, 1..SLAB_OBJECT_MAX, aligned to `align`: a power of two up to 4096, or 0 for 16. `name` and `ops`
 * stay; `ops` NULL: objects come zeroed. ERR_INVAL, ERR_NOMEM.
 */
MUST_CHECK err_t slab_create_with(const char *name, size_t size, size_t align, const struct slab_ops *ops, unsigned debug,
                                  struct slab_cache **out);
MUST_CHECK err_t slab_create(const char *name, size_t size, size_t align, struct slab_cache **out); /* zeroed, no debugging of its own */
/* The inverse. CHECKs that no object is left. */
void slab_destroy(struct slab_cache *cache);

/* Switch debugging of a cache that has no object in use; nobody else uses it meanwhile. ERR_BUSY if it has one, ERR_INVAL. */
MUST_CHECK err_t slab_set_debug(struct slab_cache *cache, unsigned debug);
/* For all caches made from now on, those of mem_alloc() as each size is first used; may be called before page_alloc_init(). */
void slab_set_default_debug(unsigned debug);

/*
 * An object, zeroed or in its constructed state; NULL when no frame is to be had, then nothing changed. slab_alloc() takes frames as
 * page_alloc() without a flag does: above the min watermark, at once. slab_alloc_with(): as far as `flags` allow, of ALLOC_ATOMIC,
 * ALLOC_HIGH, ALLOC_MAY_COMPACT and ALLOC_MAY_RECLAIM (CHECK); for the latter two the caller holds no lock that they forbid.
 */
MUST_CHECK void *slab_alloc(struct slab_cache *cache);
MUST_CHECK void *slab_alloc_with(struct slab_cache *cache, alloc_flags_t flags);

/* `object` came from this cache and is not free: else a CHECK trips. NULL is allowed and does nothing. */
void slab_free(struct slab_cache *cache, void *object);

/*
 * The same for what the home keeps on behalf of an owner, to whom its bytes are charged. A cache's objects are charged all or none; one is
 * freed for the owner it was allocated for (CHECK: that much is charged to it). `owner` less than OWNERS_MAX (CHECK). slab_charged_bytes():
 * now, with what lies between objects.
 */
MUST_CHECK void *slab_alloc_for(struct slab_cache *cache, owner_t owner, alloc_flags_t flags); /* as slab_alloc_with() */
void slab_free_for(struct slab_cache *cache, void *object, owner_t owner);
uint64_t slab_charged_bytes(owner_t owner);

/* Give what lies in magazines of any CPU back to the slabs, and empty slabs to the page allocator. Returns the frames that went. */
uint64_t slab_shrink(struct slab_cache *cache);
/*
 * The same over all caches, those of magazines last, until `frames` have gone. Returns how many have. Allocates nothing.
 * slab_shrink_some(): a bounded piece of it (some 1,000 objects), beginning where the last one ended; 0 may mean that more than one cache
 * is needed.
 */
uint64_t slab_shrink_all(uint64_t frames);
uint64_t slab_shrink_some(uint64_t frames);

/* What /proc/slabinfo shows of a cache. Exact when nobody uses it meanwhile. */
struct slab_info {
  const char *name;
  uint32_t object_bytes, stride_bytes; /* as handed out; from one to the next */
  uint32_t per_slab, slab_order;
  uint32_t magazine_objects; /* of one magazine; 0: the cache has none */
  uint32_t depot_magazines;  /* full ones */
  uint32_t debug;
  uint64_t slabs, empty_slabs;
  uint64_t used_objects, cached_objects; /* in use; in magazines */
  uint64_t charged_objects;              /* of those in use, to an owner */
};
void slab_describe(struct slab_cache *cache, struct slab_info *out);
/* Every cache there is, by number from 0 (newest first); false behind the last. */
bool slab_describe_nth(unsigned n, struct slab_info *out);

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
