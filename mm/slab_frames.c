/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slabs: blocks of 2^slab_order frames cut into objects.
 *
 * A slab needs no header: the frame table's entry of its first frame is one. There, rmap is the cache, refs the objects out of it,
 * private the first free object (number + 1; 0: none), next and prev its neighbours in a bin. Slabs with something free lie in bins by
 * how much: objects come from the fullest, so that the emptiest get a chance to become wholly free. A full slab is in no bin. At most one
 * wholly free slab is kept, so that a ping-pong of one object costs no frame.
 *
 * Lock: the cache's, for all of this; the page allocator is called under it, but never reclaims or compacts then (SLAB_EFFORT): reclaiming
 * comes back here.
 */
#include "mm/slab_priv.h"

static unsigned bin_of(const struct slab_cache *c, const struct frame *frame) {
  return (c->per_slab - frame->refs) * SLAB_BINS / c->per_slab;
}

static void list_slab(struct slab_cache *c, uint32_t slab) {
  struct frame *frame = frame_at(slab);
  uint32_t *head = &c->list[bin_of(c, frame)];
  frame->prev = INDEX_NONE;
  frame->next = *head;
  if (*head != INDEX_NONE)
    frame_at(*head)->prev = slab;
  *head = slab;
}

static void unlist_slab(struct slab_cache *c, uint32_t slab, unsigned bin) {
  struct frame *frame = frame_at(slab);
  if (frame->prev != INDEX_NONE)
    frame_at(frame->prev)->next = frame->next;
  else
    c->list[bin] = frame->next;
  if (frame->next != INDEX_NONE)
    frame_at(frame->next)->prev = frame->prev;
}

static char *slab_ptr(uint32_t slab) {
  return port_frame_ptr(index_pfn(slab));
}

static void put_object(struct slab_cache *c, uint32_t slab, void *object, uint32_t number) {
  slab_record_of(c, object)->next = frame_at(slab)->private;
  frame_at(slab)->private = number + 1;
}

/* A new object: constructed, sealed, filled if that is asked for. */
static void make_object(struct slab_cache *c, uint32_t slab, uint32_t number) {
  void *object = slab_ptr(slab) + (size_t)number * c->stride;
  if (c->ops)
    c->ops->construct(object);
  if (c->flags)
    slab_debug_fill(c, object);
  slab_record_of(c, object)->seal = slab_seal_of(object);
  put_object(c, slab, object, number);
}

void slab_add(struct slab_cache *c, pfn_t f) {
  uint32_t slab = pfn_index(f);
  CHECK(is_aligned((uintptr_t)slab_ptr(slab), (uint64_t)c->slab_mask + 1)); /* how a slab is found from an object */
  atomic_store_relaxed(&frame_at(slab)->rmap, (uintptr_t)c);
  uint32_t left = c->per_slab; /* at least one */
  do
    make_object(c, slab, --left);
  while (left != 0);
  list_slab(c, slab);
  c->slabs++;
  c->empty_slabs++;
}

static bool add_slab(struct slab_cache *c, alloc_flags_t flags) {
  pfn_t f;
  if (page_alloc(c->slab_order, ALLOC_UNMOVABLE | ALLOC_RETURN_CORE | flags, &f) != ERR_OK)
    return false;
  slab_add(c, f);
  return true;
}

static uint32_t fullest(const struct slab_cache *c) {
  for (unsigned bin = 0; bin <= SLAB_BINS; bin++) {
    if (c->list[bin] != INDEX_NONE)
      return c->list[bin];
  }
  return INDEX_NONE;
}

/* What stands on the slab's list, up to `want` of it. */
static uint32_t unchain(const struct slab_cache *c, struct frame *frame, char *first, void **to, uint32_t want) {
  uint32_t number = frame->private, got = 0;
  for (; got < want && number != 0; got++) {
    to[got] = first + (size_t)(number - 1) * c->stride;
    number = (uint32_t)slab_record_of(c, to[got])->next;
  }
  frame->private = number;
  return got;
}

uint32_t slab_take_ready(struct slab_cache *c, void **to, uint32_t want) {
  uint32_t slab = fullest(c);
  if (slab == INDEX_NONE)
    return 0;
  struct frame *frame = frame_at(slab);
  unsigned bin = bin_of(c, frame);
  uint32_t got = unchain(c, frame, slab_ptr(slab), to, want);
  if (frame->refs == 0)
    c->empty_slabs--;
  frame->refs += got;
  c->used_objects += got;
  if (frame->private == 0) {
    unlist_slab(c, slab, bin);
  } else if (bin_of(c, frame) != bin) {
    unlist_slab(c, slab, bin);
    list_slab(c, slab);
  }
  return got;
}

void *slab_take(struct slab_cache *c, alloc_flags_t flags) {
  void *object;
  if (slab_take_ready(c, &object, 1) != 0 || (add_slab(c, flags) && slab_take_ready(c, &object, 1) != 0))
    return object;
  return NULL;
}

void slab_give(struct slab_cache *c, void *object) {
  uint32_t offset = (uint32_t)(uintptr_t)object & c->slab_mask;
  uint32_t slab = pfn_index(port_ptr_frame((char *)object - offset));
  struct frame *frame = frame_at(slab);
  unsigned bin = bin_of(c, frame);
  bool was_full = frame->private == 0;
  put_object(c, slab, object, offset / c->stride);
  c->used_objects--;
  frame->refs--;
  if (was_full) {
    list_slab(c, slab);
  } else if (bin_of(c, frame) != bin) {
    unlist_slab(c, slab, bin);
    list_slab(c, slab);
  }
  if (frame->refs == 0 && c->empty_slabs++ != 0)
    slab_trim(c, 1);
}

uint64_t slab_trim(struct slab_cache *c, uint32_t keep) {
  uint64_t frames = 0;
  for (; c->empty_slabs > keep; c->empty_slabs--) {
    uint32_t slab = c->list[SLAB_BINS];
    unlist_slab(c, slab, SLAB_BINS);
    c->slabs--;
    page_free(index_pfn(slab), c->slab_order);
    frames += (uint64_t)1 << c->slab_order;
  }
  return frames;
}

bool slab_object_is_listed(const struct slab_cache *c, void *object) {
  char *slab = (char *)object - ((uintptr_t)object & c->slab_mask);
  uint64_t n = frame_of(port_ptr_frame(slab))->private;
  while (n != 0 && slab + (n - 1) * c->stride != (char *)object)
    n = slab_record_of(c, slab + (n - 1) * c->stride)->next;
  return n != 0;
}
