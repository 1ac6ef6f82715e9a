/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_STORE_H
#define GUEST_VM_STORE_H

/*
 * A sparse array of frames, indexed by page offset: a radix tree of 512-way nodes, each one frame, as tall as its size asks for. A
 * store for one page has no node at all. The lock is the owner's business.
 */

#include "core/err.h"
#include "core/types.h"

#define STORE_NODE_BITS 9u
#define STORE_MAX_PAGES ((uint64_t)1 << 27)

struct page_store {
  uint64_t root;   /* slot: of the only page (height 0), or of the top node */
  unsigned height; /* levels of nodes */
};

/* For offsets [0, pages), all empty. `pages` is 1..STORE_MAX_PAGES. */
void store_init(struct page_store *store, uint64_t pages);
/* The frame at `index`, or PFN_NONE. */
pfn_t store_lookup(const struct page_store *store, uint64_t index);
/* Put `frame` at `index`, which is empty. ERR_NOMEM: no frame for a node. */
MUST_CHECK err_t store_insert(struct page_store *store, uint64_t index, pfn_t frame);
/* Put another frame in the place of the one at `index`. */
void store_replace(struct page_store *store, uint64_t index, pfn_t frame);
/* Hand every frame to `put` and free the nodes. */
void store_destroy(struct page_store *store, void (*put)(pfn_t frame));

#endif
