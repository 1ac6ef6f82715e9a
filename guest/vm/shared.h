/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_SHARED_H
#define GUEST_VM_SHARED_H

/* The object behind a shared anonymous mapping (Linux: an unlinked file of shmem). Created by mmap, kept by the VMAs that map it. */

#include "guest/vm/mm_types.h"
#include "guest/vm/store.h"

struct vm_shared {
  struct port_lock lock;
  struct list_node rmap_node; /* rmap_lock; among all objects, by id */
  struct list_node vmas;      /* rmap_lock; those that map it */
  struct page_store store;    /* lock; holds one reference on each frame */
  uint32_t users;             /* (a) VMAs, and whoever creates it */
  uint32_t id;                /* (c) for rmap keys */
  uint64_t pages;             /* (c) */
  uint64_t charged_pages;     /* (c) against the commit limit */
};

#endif
