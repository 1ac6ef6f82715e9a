/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Shared anonymous memory: an object with its own page store that any number of VMAs, in any address spaces, map. A page comes into being
 * zeroed on the first touch by anyone and stays until the last VMA lets go of the object; unmapping or MADV_DONTNEED only drops
 * translations. Locks: mmap_lock of the faulting mm, then shared->lock over look-up, insertion and the reference taken: a page that is
 * moved is found by its store as well (migrate.c).
 */

#include "guest/vm/shared.h"
#include "guest/vm/internal.h"

static uint32_t last_shared_id;

err_t vm_shared_create(uint64_t pages, bool account, struct vm_shared **out) {
  struct vm_shared *shared = vm_shared_alloc();
  if (!shared)
    return ERR_NOMEM;
  if (account && vm_commit(pages) != ERR_OK) {
    vm_shared_free(shared);
    return ERR_NOMEM;
  }
  store_init(&shared->store, pages);
  list_init(&shared->vmas);
  shared->users = 1;
  shared->id = atomic_add_fetch(&last_shared_id, 1) & RMAP_ID_MASK;
  shared->pages = pages;
  shared->charged_pages = account ? pages : 0;
  rmap_add_shared(shared);
  *out = shared;
  return ERR_OK;
}

void vm_shared_put(struct vm_shared *shared) {
  if (atomic_add_fetch(&shared->users, -1) != 0)
    return;
  rmap_remove_shared(shared);
  store_destroy(&shared->store, user_page_put);
  vm_uncommit(shared->charged_pages);
  vm_shared_free(shared);
}

static void shared_open(struct vm_area_struct *vma) {
  atomic_add_fetch(&vma->vm_shared->users, 1);
  rmap_add_vma(vma);
}

static void shared_close(struct vm_area_struct *vma) {
  rmap_remove_vma(vma);
  vm_shared_put(vma->vm_shared);
}

static err_t add_page(struct vm_shared *shared, uint64_t pgoff, pfn_t *out) {
  err_t err = user_page_alloc_zeroed(rmap_key(RMAP_SHARED, shared->id, pgoff << PAGE_SHIFT), out);
  if (err != ERR_OK)
    return err;
  err = store_insert(&shared->store, pgoff, *out);
  if (err != ERR_OK)
    user_page_put(*out);
  return err;
}

static err_t shared_fault(struct vm_area_struct *vma, struct vm_fault_page *vmf) {
  struct vm_shared *shared = vma->vm_shared;
  err_t err = ERR_OK;
  CHECK(vmf->pgoff < shared->pages);
  port_lock_acquire(&shared->lock);
  vmf->frame = store_lookup(&shared->store, vmf->pgoff);
  if (pfn_is_none(vmf->frame))
    err = add_page(shared, vmf->pgoff, &vmf->frame);
  if (err == ERR_OK)
    user_page_get(vmf->frame);
  port_lock_release(&shared->lock);
  return err;
}

const struct vm_operations shared_vm_ops = {
    .name = "shared",
    .open = shared_open,
    .close = shared_close,
    .fault = shared_fault,
};
