/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hand-over between VMs: the tables of regions, and how the parties to one are found and locked. What a giver may do stands in
 * handover_giver.c, what a borrower may in handover_borrower.c, what becomes of both at the end of a VM in handover_leave.c; what happens
 * to frames in handover_frames.c.
 *
 * A giver's regions stand in its table; a handle names the giver and the region. A borrower that is not named in a region cannot tell it
 * from one that does not exist. Only the owner of a frame gives it, and only once: borrowed memory has another owner, and what is under way
 * is pinned.
 *
 * Nothing a guest passes is trusted, and no pointer to another VM is kept from one call to the next: each looks its parties up anew, since
 * either may be gone.
 *
 * Lock: see handover.h.
 */
#include "hyp/mem/handover.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/mem/background.h"
#include "hyp/mem/handover_priv.h"
#include "mm/page_alloc.h"
#include "mm/slab.h"

static struct slab_cache *table_cache;
static uint32_t tables; /* in use: none means that no VM has anything under way; vms_lock, read without it */

err_t handover_init(void) {
  return slab_create("handover", sizeof(struct handover_table), 0, &table_cache);
}

err_t handover_open(struct vm *vm) {
  if (atomic_load_acquire(&vm->handover))
    return ERR_OK;
  struct handover_table *t = slab_alloc_for(table_cache, vm->id, ALLOC_EFFORT);
  if (!t)
    return ERR_NOMEM;
  spin_lock(&vms_lock);
  spin_lock(&vm->s2.lock);
  bool first = !vm->handover;
  if (first) {
    atomic_store_release(&vm->handover, t);
    atomic_store_relaxed(&tables, tables + 1);
  }
  spin_unlock(&vm->s2.lock);
  spin_unlock(&vms_lock);
  if (!first)
    slab_free_for(table_cache, t, vm->id);
  return ERR_OK;
}

bool handover_any(void) {
  return atomic_load_relaxed(&tables) != 0;
}

void handover_close(struct vm *vm) {
  spin_lock(&vms_lock);
  spin_lock(&vm->s2.lock);
  struct handover_table *t = vm->handover;
  atomic_store_release(&vm->handover, NULL);
  atomic_store_relaxed(&tables, tables - (t != NULL));
  spin_unlock(&vm->s2.lock);
  spin_unlock(&vms_lock);
  stage2_close_given(&vm->s2);
  if (t)
    slab_free_for(table_cache, t, vm->id);
}

/* ---- parties ---- */

struct handover *handover_find(struct vm *owner, uint64_t handle) {
  for (unsigned i = 0; owner->handover && i < HANDOVERS_MAX; i++)
    if (owner->handover->slot[i].handle == handle && owner->handover->slot[i].state != HANDOVER_NONE)
      return &owner->handover->slot[i];
  return NULL;
}

struct handover_borrower *handover_find_borrower(struct handover *h, unsigned vm_id) {
  for (unsigned i = 0; i < h->borrowers; i++)
    if (h->borrower[i].vm == vm_id && h->borrower[i].state != BORROWER_GONE)
      return &h->borrower[i];
  return NULL;
}

/* The stage-2 locks of two VMs, the lower id first; `b` may be NULL. */
static void lock_both(struct vm *a, struct vm *b) {
  struct vm *low = b && b->id < a->id ? b : a, *high = low == a ? b : a;
  spin_lock(&low->s2.lock);
  if (high)
    spin_lock(&high->s2.lock);
}

void handover_unlock_parties(const struct handover_parties *p) {
  spin_unlock(&p->owner->s2.lock);
  if (p->borrower)
    spin_unlock(&p->borrower->s2.lock);
}

err_t handover_lock_parties(struct handover_parties *p, unsigned borrower_id, uint64_t handle) {
  unsigned owner_id = (unsigned)(handle >> HANDOVER_OWNER_SHIFT);
  if (owner_id == borrower_id)
    return ERR_NOENT;
  spin_lock(&vms_lock);
  p->owner = vm_by_id(owner_id);
  p->borrower = vm_by_id(borrower_id);
  bool there = p->owner && p->borrower;
  if (there)
    lock_both(p->owner, p->borrower);
  spin_unlock(&vms_lock);
  if (!there)
    return ERR_NOENT;
  p->h = handover_find(p->owner, handle);
  p->b = p->h ? handover_find_borrower(p->h, borrower_id) : NULL;
  if (p->b)
    return ERR_OK;
  handover_unlock_parties(p);
  return ERR_NOENT;
}

err_t handover_as_borrower(struct vm *borrower, uint64_t handle, err_t (*step)(const struct handover_parties *)) {
  struct handover_parties p;
  err_t err = handover_lock_parties(&p, borrower->id, handle);
  if (err != ERR_OK)
    return err;
  err = step(&p);
  handover_unlock_parties(&p);
  return err;
}

bool handover_is_borrowed(const struct handover *h) {
  for (unsigned i = 0; i < h->borrowers; i++)
    if (h->borrower[i].state != BORROWER_IDLE && h->borrower[i].state != BORROWER_GONE)
      return true;
  return false;
}

void handover_forget(struct handover *h) {
  memset(h, 0, sizeof(*h));
}
