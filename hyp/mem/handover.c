/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hand-over between VMs: who may do what to a region, and in which state it is. What happens to its frames stands in handover_frames.c.
 *
 * A giver's regions stand in its table; a handle names the giver and the region. A borrower that is not named in a region cannot tell it from one that does not
 * exist. Only the owner of a frame gives it, and only once: borrowed memory has another owner, and what is under way is pinned.
 *
 * Nothing a guest passes is trusted, and no pointer to another VM is kept from one call to the next: each looks its parties up anew, since either may be gone.
 * A giver's death takes its loans away: it does not depend on a borrower whether a dead VM's memory comes back. The borrower's next access there is
 * answered as by a bus where nothing is.
 *
 * Lock: see handover.h.
 */
#include "hyp/mem/handover.h"
#include "core/check.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/mem/background.h"
#include "hyp/mem/handover_frames.h"
#include "mm/page_alloc.h"
#include "mm/slab.h"

#define HANDLE_OWNER_SHIFT 32u

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

/* ---- parties ---- */

struct parties {
  struct vm *owner, *borrower;
  struct handover *h;
  struct handover_borrower *b;
};

static struct handover *find(struct vm *owner, uint64_t handle) {
  for (unsigned i = 0; owner->handover && i < HANDOVERS_MAX; i++)
    if (owner->handover->slot[i].handle == handle && owner->handover->slot[i].state != HANDOVER_NONE)
      return &owner->handover->slot[i];
  return NULL;
}

static struct handover_borrower *find_borrower(struct handover *h, unsigned vm_id) {
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

static void parties_unlock(const struct parties *p) {
  spin_unlock(&p->owner->s2.lock);
  if (p->borrower)
    spin_unlock(&p->borrower->s2.lock);
}

/* Both VMs locked and the region found, or ERR_NOENT and nothing locked. */
static err_t parties_lock(struct parties *p, unsigned borrower_id, uint64_t handle) {
  unsigned owner_id = (unsigned)(handle >> HANDLE_OWNER_SHIFT);
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
  p->h = find(p->owner, handle);
  p->b = p->h ? find_borrower(p->h, borrower_id) : NULL;
  if (p->b)
    return ERR_OK;
  parties_unlock(p);
  return ERR_NOENT;
}

/* ---- the giver ---- */

static bool borrowers_are_sane(const struct vm *owner, const struct handover *h) {
  if (h->borrowers < 1 || h->borrowers > HANDOVER_BORROWERS_MAX || (h->kind == HANDOVER_DONATE && h->borrowers > 1))
    return false;
  for (unsigned i = 0; i < h->borrowers; i++)
    if (h->borrower[i].vm == owner->id || !vm_by_id(h->borrower[i].vm))
      return false;
  return !(h->zero && h->kind == HANDOVER_SHARE);
}

static struct handover *free_slot(struct handover_table *t) {
  for (unsigned i = 0; i < HANDOVERS_MAX; i++)
    if (t->slot[i].state == HANDOVER_NONE)
      return &t->slot[i];
  return NULL;
}

err_t handover_begin(struct vm *owner, const struct handover *template, uint64_t *handle) {
  if (!borrowers_are_sane(owner, template))
    return ERR_INVAL;
  err_t err = handover_open(owner);
  if (err == ERR_OK && template->kind != HANDOVER_SHARE)
    err = stage2_open_given(&owner->s2);
  if (err != ERR_OK)
    return err;
  spin_lock(&owner->s2.lock);
  struct handover *h = free_slot(owner->handover);
  if (h) {
    *h = *template;
    h->handle = *handle = (uint64_t)owner->id << HANDLE_OWNER_SHIFT | ++owner->handover->count;
    h->first = h->last = FRAME_LINK_NONE;
    h->pages = h->from_window = 0;
    h->state = HANDOVER_GATHERING;
  }
  spin_unlock(&owner->s2.lock);
  return h ? ERR_OK : ERR_NOSPC;
}

/* The giver's own region, in `state`, its lock held; NULL, and no lock, if it has none. */
static struct handover *lock_own(struct vm *owner, uint64_t handle, enum handover_state state) {
  spin_lock(&owner->s2.lock);
  struct handover *h = find(owner, handle);
  if (h && h->state == state)
    return h;
  spin_unlock(&owner->s2.lock);
  return NULL;
}

static void forget(struct handover *h) {
  memset(h, 0, sizeof(*h));
}

err_t handover_claim(struct vm *owner, uint64_t handle, struct handover_range *left) {
  struct handover *h = lock_own(owner, handle, HANDOVER_GATHERING);
  if (!h)
    return ERR_NOENT;
  err_t err = handover_claim_frames(owner, h, left);
  handover_rewind(h);
  spin_unlock(&owner->s2.lock);
  if (err != ERR_NOENT)
    return err;
  err = stage2_populate(&owner->s2, ipa(left->ia));
  return err == ERR_OK ? ERR_AGAIN : err;
}

err_t handover_cancel(struct vm *owner, uint64_t handle) {
  struct handover *h = lock_own(owner, handle, HANDOVER_GATHERING);
  if (!h)
    return ERR_NOENT;
  err_t err = handover_unpin_frames(h);
  if (err == ERR_OK)
    forget(h);
  spin_unlock(&owner->s2.lock);
  return err;
}

/* One step of what makes a region OPEN: its frames, then, if they go empty, their contents. */
static err_t send_step(struct vm *owner, struct handover *h) {
  err_t err = h->state == HANDOVER_GATHERING ? handover_give_frames(owner, h) : handover_zero_frames(h);
  if (err != ERR_OK)
    return err;
  handover_rewind(h);
  bool more = h->state == HANDOVER_GATHERING && h->zero;
  h->state = more ? HANDOVER_SENDING : HANDOVER_OPEN;
  return more ? ERR_AGAIN : ERR_OK;
}

err_t handover_send(struct vm *owner, uint64_t handle) {
  spin_lock(&owner->s2.lock);
  struct handover *h = find(owner, handle);
  bool due = h && (h->state == HANDOVER_GATHERING || h->state == HANDOVER_SENDING) && h->pages > 0;
  err_t err = due ? send_step(owner, h) : ERR_NOENT;
  spin_unlock(&owner->s2.lock);
  return err;
}

static bool is_borrowed(const struct handover *h) {
  for (unsigned i = 0; i < h->borrowers; i++)
    if (h->borrower[i].state != BORROWER_IDLE && h->borrower[i].state != BORROWER_GONE)
      return true;
  return false;
}

err_t handover_reclaim(struct vm *owner, uint64_t handle, bool zero) {
  err_t err = ERR_NOENT;
  spin_lock(&owner->s2.lock);
  struct handover *h = find(owner, handle);
  if (h && (h->state == HANDOVER_OPEN || h->state == HANDOVER_RETURNING)) {
    err = is_borrowed(h) ? ERR_PERM : ERR_OK;
    if (err == ERR_OK) {
      h->state = HANDOVER_RETURNING;
      h->zero = zero;
      handover_rewind(h);
    }
  }
  spin_unlock(&owner->s2.lock);
  return err;
}

static err_t return_step(struct vm *owner, struct handover *h) {
  if (!h->zero)
    return handover_return_frames(owner, h);
  h->zero = handover_zero_frames(h) == ERR_AGAIN;
  return ERR_AGAIN;
}

err_t handover_return(struct vm *owner, uint64_t handle) {
  struct handover *h = lock_own(owner, handle, HANDOVER_RETURNING);
  if (!h)
    return ERR_NOENT;
  err_t err = return_step(owner, h);
  if (err == ERR_OK)
    forget(h);
  spin_unlock(&owner->s2.lock);
  return err;
}

/* ---- the borrower ---- */

err_t handover_inquire(struct vm *borrower, uint64_t handle, struct handover_info *out) {
  struct parties p;
  err_t err = parties_lock(&p, borrower->id, handle);
  if (err != ERR_OK)
    return err;
  err = p.h->state == HANDOVER_OPEN ? ERR_OK : ERR_NOENT;
  *out = (struct handover_info){(enum handover_kind)p.h->kind, p.h->tag, p.h->pages, p.b->writable, p.h->zero};
  parties_unlock(&p);
  return err;
}

/* May it have it like this? */
static err_t judge_retrieve(const struct parties *p, uint64_t base, pt_prot_t prot) {
  const struct stage2 *s2 = &p->borrower->s2;
  if (p->h->state != HANDOVER_OPEN)
    return ERR_NOENT;
  if (p->b->state != BORROWER_IDLE)
    return ERR_EXIST;
  if (!stage2_is_window_range(s2, ipa(base), p->h->pages * PAGE_SIZE))
    return ERR_RANGE;
  bool too_much = ((prot & PT_W) && !p->b->writable) || ((prot & PT_X) && (p->h->kind == HANDOVER_SHARE || p->h->borrowers > 1));
  return too_much ? ERR_PERM : ERR_OK;
}

err_t handover_retrieve(struct vm *borrower, uint64_t handle, uint64_t base, pt_prot_t prot) {
  struct parties p;
  err_t err = parties_lock(&p, borrower->id, handle);
  if (err != ERR_OK)
    return err;
  err = judge_retrieve(&p, base, prot);
  if (err == ERR_OK) {
    p.b->state = BORROWER_MAPPING;
    p.b->prot = prot;
    p.b->base = base;
    p.b->mapped = p.b->gone = 0;
    p.b->next = p.h->first;
  }
  parties_unlock(&p);
  return err;
}

static err_t map_step(const struct parties *p) {
  if (p->b->state != BORROWER_MAPPING || p->h->state != HANDOVER_OPEN)
    return ERR_NOENT;
  err_t err = handover_map_frames(p->borrower, p->b);
  if (err == ERR_OK) {
    p->b->state = BORROWER_MAPPED;
    p->h->state = p->h->kind == HANDOVER_DONATE ? HANDOVER_TAKEN : HANDOVER_OPEN;
  } else if (err != ERR_AGAIN) {
    p->b->state = BORROWER_UNMAPPING;
  }
  return err;
}

static err_t transfer_step(const struct parties *p) {
  if (p->h->state != HANDOVER_TAKEN)
    return ERR_NOENT;
  err_t err = handover_transfer_frames(p->owner, p->borrower, p->h, p->b);
  if (err == ERR_OK)
    forget(p->h);
  return err;
}

static err_t unmap_step(const struct parties *p) {
  if (p->b->state != BORROWER_UNMAPPING)
    return ERR_NOENT;
  err_t err = handover_unmap_frames(p->borrower, p->h, p->b);
  if (err == ERR_OK)
    p->b->state = BORROWER_IDLE;
  return err;
}

static err_t relinquish(const struct parties *p) {
  if (p->b->state != BORROWER_MAPPED || p->h->state != HANDOVER_OPEN)
    return p->b->state == BORROWER_IDLE ? ERR_NOENT : ERR_BUSY;
  p->b->state = BORROWER_UNMAPPING;
  return ERR_OK;
}

/* One of the above, with both locks. */
static err_t as_borrower(struct vm *borrower, uint64_t handle, err_t (*step)(const struct parties *)) {
  struct parties p;
  err_t err = parties_lock(&p, borrower->id, handle);
  if (err != ERR_OK)
    return err;
  err = step(&p);
  parties_unlock(&p);
  return err;
}

err_t handover_map(struct vm *borrower, uint64_t handle) {
  return as_borrower(borrower, handle, map_step);
}

err_t handover_transfer(struct vm *borrower, uint64_t handle) {
  return as_borrower(borrower, handle, transfer_step);
}

err_t handover_relinquish(struct vm *borrower, uint64_t handle) {
  return as_borrower(borrower, handle, relinquish);
}

err_t handover_unmap(struct vm *borrower, uint64_t handle) {
  return as_borrower(borrower, handle, unmap_step);
}

/* ---- the end of a VM ---- */

/* A borrower is to be rid of a region, whatever it was at: a donation that it takes is completed, anything else is unmapped. */
static err_t sever_step(const struct parties *p) {
  if (p->h->state == HANDOVER_TAKEN)
    return transfer_step(p) == ERR_AGAIN ? ERR_AGAIN : ERR_OK;
  if (p->b->state != BORROWER_IDLE) {
    p->b->state = BORROWER_UNMAPPING;
    if (unmap_step(p) == ERR_AGAIN)
      return ERR_AGAIN;
  }
  p->b->state = BORROWER_GONE;
  return ERR_OK;
}

/* A region that `vm` is still named in as a borrower: its handle, 0 if there is none. */
static uint64_t region_naming(const struct vm *vm) {
  struct vm *owner;
  uint64_t handle = 0;
  for_each_vm(owner) {
    spin_lock(&owner->s2.lock);
    for (unsigned i = 0; owner->handover && i < HANDOVERS_MAX && handle == 0; i++)
      if (owner->handover->slot[i].state != HANDOVER_NONE && find_borrower(&owner->handover->slot[i], vm->id))
        handle = owner->handover->slot[i].handle;
    spin_unlock(&owner->s2.lock);
  }
  return handle;
}

static struct handover *any_own(struct vm *vm) {
  for (unsigned i = 0; vm->handover && i < HANDOVERS_MAX; i++)
    if (vm->handover->slot[i].state != HANDOVER_NONE)
      return &vm->handover->slot[i];
  return NULL;
}

/* A borrower of `h` that has not been severed; NULL if there is none. One whose VM is gone was severed by its own end. */
static struct vm *severable(const struct handover *h) {
  for (unsigned i = 0; i < h->borrowers; i++)
    if (h->borrower[i].state != BORROWER_GONE && h->borrower[i].state != BORROWER_IDLE)
      return vm_by_id(h->borrower[i].vm);
  return NULL;
}

/* No vCPU of the giver runs: nobody else begins or ends its regions meanwhile, but a taker's last step may forget one. */
static err_t leave_as_owner(struct vm *vm, struct handover *h) {
  struct vm *borrower = severable(h);
  if (borrower) {
    err_t err = as_borrower(borrower, h->handle, sever_step);
    (void)err; /* whatever it is, there is another look at what is left */
    return ERR_AGAIN;
  }
  spin_lock(&vm->s2.lock);
  if (h->state != HANDOVER_NONE) {
    h->state = HANDOVER_RETURNING; /* nobody begins to retrieve it any more */
    if (!is_borrowed(h) && handover_drop_frames(vm, h) == ERR_OK)
      forget(h);
  }
  spin_unlock(&vm->s2.lock);
  return ERR_AGAIN;
}

static void close_table(struct vm *vm) {
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

err_t handover_leave(struct vm *vm) {
  if (atomic_load_relaxed(&tables) == 0)
    return ERR_OK;
  uint64_t handle = region_naming(vm);
  if (handle) {
    err_t err = as_borrower(vm, handle, sever_step);
    (void)err; /* as above */
    return ERR_AGAIN;
  }
  struct handover *h = any_own(vm);
  if (h)
    return leave_as_owner(vm, h);
  close_table(vm);
  return ERR_OK;
}
