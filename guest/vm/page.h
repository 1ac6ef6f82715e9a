/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_PAGE_H
#define GUEST_VM_PAGE_H

/*
 * User frames and their count. frame->refs is the number of page-table entries that map the frame, plus one for a shared object that
 * holds it. Whoever holds the only reference can neither lose it nor see it shared behind his back: a reference is made only from
 * one that is held, under the lock that covers the holder (mmap_lock, vm_shared.lock). The zero page is not counted.
 */

#include "core/atomic.h"
#include "guest/vm/gfp.h"
#include "guest/vm/vm.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

/* A frame for a user page with one reference, contents whatever they were: the caller fills it before it is mapped. ERR_NOMEM. */
static inline MUST_CHECK err_t user_page_alloc(uint64_t rmap, pfn_t *out) {
  err_t err = page_alloc_owned(0, GFP_HIGHUSER_MOVABLE, OWNER_USER, rmap, out);
  if (likely(err == ERR_OK))
    frame_of(*out)->refs = 1;
  return err;
}

/* The same, zeroed here: page_alloc_owned() is quick only where it need not. */
static inline MUST_CHECK err_t user_page_alloc_zeroed(uint64_t rmap, pfn_t *out) {
  err_t err = user_page_alloc(rmap, out);
  if (likely(err == ERR_OK))
    port_zero_frames(*out, 1);
  return err;
}

static inline void user_page_get(pfn_t f) {
  atomic_add_fetch(&frame_of(f)->refs, 1);
}

/* True if the caller, who holds a reference, holds the only one. */
static inline bool user_page_is_exclusive(pfn_t f) {
  return atomic_load_acquire(&frame_of(f)->refs) == 1;
}

/* Let go of a reference. True if it was the last: then the frame is the caller's to free. */
static inline MUST_CHECK bool user_page_drop(pfn_t f) {
  struct frame *frame = frame_of(f);
  if (atomic_load_acquire(&frame->refs) != 1 && atomic_add_fetch(&frame->refs, -1) != 0)
    return false;
  frame->refs = 0;
  return true;
}

static inline void user_page_put(pfn_t f) {
  if (user_page_drop(f))
    page_free(f, 0);
}

#endif
