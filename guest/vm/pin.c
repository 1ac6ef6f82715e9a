/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * User pages that somebody outside this kernel is about to reach (Linux: pin_user_pages()).
 *
 * A pin is a reference of its own. While it is held the frame is not freed, whatever the process does, and does not move, since a move must
 * find all references (migrate.c). Only private anonymous pages that this mm alone maps, and may write, are pinned: a page that others see
 * as well is not the process's to give. Lock: mmap_lock, for one page at a time; pages may come and go between two, so one that was pinned
 * is not necessarily mapped any more.
 */

#include "guest/vm/internal.h"

#define TRIES 4u /* each in vain only if somebody takes the page away between fault and look */

static err_t pin_mapped(struct mm_struct *mm, uint64_t addr, pfn_t *out) {
  struct pt_leaf leaf;
  if (pt_lookup(&mm->pt, addr, &leaf) != ERR_OK || !(leaf.prot & PT_W))
    return ERR_AGAIN;
  if (leaf.level != 3 || (leaf.desc & PT_DESC_SW0))
    return ERR_PERM;
  pfn_t f = pa_pfn(leaf.out);
  if (rmap_key_kind(frame_of(f)->rmap) != RMAP_ANON || !user_page_is_exclusive(f))
    return ERR_PERM;
  user_page_get(f);
  *out = f;
  return ERR_OK;
}

static err_t pin_one(struct mm_struct *mm, uint64_t addr, pfn_t *out) {
  for (unsigned i = 0; i < TRIES; i++) {
    port_flags_t flags = mmap_lock(mm);
    err_t err = pin_mapped(mm, addr, out);
    mmap_unlock(mm, flags);
    if (err != ERR_AGAIN)
      return err;
    enum vm_fault fault = handle_mm_fault(mm, addr, FAULT_FLAG_WRITE);
    if (fault != VM_FAULT_OK)
      return fault == VM_FAULT_OOM ? ERR_NOMEM : ERR_FAULT;
  }
  return ERR_BUSY;
}

err_t pin_user_pages(struct mm_struct *mm, uint64_t addr, unsigned count, pfn_t *out) {
  if ((addr & ~PAGE_MASK) != 0 || count == 0)
    return ERR_INVAL;
  if (!access_ok(addr, (uint64_t)count * PAGE_SIZE))
    return ERR_FAULT;
  for (unsigned i = 0; i < count; i++) {
    err_t err = pin_one(mm, addr + i * PAGE_SIZE, &out[i]);
    if (err != ERR_OK) {
      unpin_user_pages(i, out);
      return err;
    }
  }
  return ERR_OK;
}

void unpin_user_pages(unsigned count, const pfn_t *frames) {
  for (unsigned i = 0; i < count; i++)
    user_page_put(frames[i]);
}

void withdraw_user_pages(unsigned count, const pfn_t *frames) {
  for (unsigned i = 0; i < count; i++) {
    bool last = user_page_drop(frames[i]);
    CHECK(last);
    frame_set_state(frames[i], 0, FRAME_BAD, OWNER_CORE, 0);
  }
}
