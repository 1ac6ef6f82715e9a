/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The page store: see store.h. A slot is a frame number plus one, or 0 for none, so that a zeroed frame is an empty node. Nodes that become
 * necessary are made on insertion and freed only with the store. Lock: the owner's.
 */

#include "guest/vm/store.h"
#include "core/bits.h"
#include "core/check.h"
#include "guest/vm/gfp.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

#define NODE_SLOTS (1u << STORE_NODE_BITS)

static uint64_t *node_of(uint64_t slot) {
  return port_frame_ptr(pfn(slot - 1));
}

static unsigned slot_index(uint64_t index, unsigned level) {
  return (unsigned)(index >> (level * STORE_NODE_BITS)) & (NODE_SLOTS - 1);
}

void store_init(struct page_store *store, uint64_t pages) {
  CHECK(pages > 0 && pages <= STORE_MAX_PAGES);
  store->root = 0;
  store->height = 0;
  while (pages > (uint64_t)1 << (store->height * STORE_NODE_BITS))
    store->height++;
}

pfn_t store_lookup(const struct page_store *store, uint64_t index) {
  uint64_t slot = store->root;
  for (unsigned level = store->height; level-- > 0 && slot;)
    slot = node_of(slot)[slot_index(index, level)];
  return slot ? pfn(slot - 1) : PFN_NONE;
}

static err_t add_node(uint64_t *slot) {
  pfn_t node;
  err_t err = page_alloc(0, GFP_KERNEL_LOCKED | ALLOC_ZERO | ALLOC_RETURN_CORE, &node);
  if (err == ERR_OK)
    *slot = node.v + 1;
  return err;
}

err_t store_insert(struct page_store *store, uint64_t index, pfn_t frame) {
  uint64_t *slot = &store->root;
  for (unsigned level = store->height; level-- > 0;) {
    err_t err = *slot ? ERR_OK : add_node(slot);
    if (err != ERR_OK)
      return err;
    slot = &node_of(*slot)[slot_index(index, level)];
  }
  CHECK(*slot == 0);
  *slot = frame.v + 1;
  return ERR_OK;
}

void store_replace(struct page_store *store, uint64_t index, pfn_t frame) {
  uint64_t *slot = &store->root;
  for (unsigned level = store->height; level-- > 0;)
    slot = &node_of(*slot)[slot_index(index, level)];
  CHECK(*slot != 0);
  *slot = frame.v + 1;
}

/* At most three levels deep. */
static void destroy(uint64_t slot, unsigned height, void (*put)(pfn_t frame)) {
  if (!slot)
    return;
  if (height == 0) {
    put(pfn(slot - 1));
    return;
  }
  const uint64_t *node = node_of(slot);
  for (unsigned i = 0; i < NODE_SLOTS; i++)
    destroy(node[i], height - 1, put);
  page_free(pfn(slot - 1), 0);
}

void store_destroy(struct page_store *store, void (*put)(pfn_t frame)) {
  destroy(store->root, store->height, put);
  store->root = 0;
}
