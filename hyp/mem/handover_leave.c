/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hand-over at the end of a VM, or when it starts anew: it is borrower of nothing any more, and whatever it gave comes back.
 *
 * A giver's death takes its loans away: it does not depend on a borrower whether a dead VM's memory comes back. The borrower's next access
 * there is answered as by a bus where nothing is. A donation that its taker has begun to take is completed.
 *
 * Lock: as in handover.h; vms_lock is not held, but a VM that is found is not freed before the caller's step is over.
 */
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/mem/handover_frames.h"
#include "hyp/mem/handover_priv.h"

/* A borrower is to be rid of a region, whatever it was at: a donation that it takes is completed, anything else is unmapped. */
static err_t sever_step(const struct handover_parties *p) {
  if (p->h->state == HANDOVER_TAKEN)
    return handover_transfer_step(p) == ERR_AGAIN ? ERR_AGAIN : ERR_OK;
  if (p->b->state == BORROWER_MAPPING || p->b->state == BORROWER_MAPPED)
    p->b->state = BORROWER_UNMAPPING;
  if (p->b->state != BORROWER_IDLE && handover_unmap_step(p) == ERR_AGAIN)
    return ERR_AGAIN;
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
      if (owner->handover->slot[i].state != HANDOVER_NONE && handover_find_borrower(&owner->handover->slot[i], vm->id))
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
    err_t err = handover_as_borrower(borrower, h->handle, sever_step);
    (void)err; /* whatever it is, there is another look at what is left */
    return ERR_AGAIN;
  }
  spin_lock(&vm->s2.lock);
  if (h->state != HANDOVER_NONE) {
    h->state = HANDOVER_RETURNING; /* nobody begins to retrieve it any more */
    if (!handover_is_borrowed(h) && handover_drop_frames(vm, h) == ERR_OK)
      handover_forget(h);
  }
  spin_unlock(&vm->s2.lock);
  return ERR_AGAIN;
}

err_t handover_leave(struct vm *vm) {
  if (!handover_any())
    return ERR_OK;
  uint64_t handle = region_naming(vm);
  if (handle) {
    err_t err = handover_as_borrower(vm, handle, sever_step);
    (void)err; /* as above */
    return ERR_AGAIN;
  }
  struct handover *h = any_own(vm);
  if (h)
    return leave_as_owner(vm, h);
  handover_close(vm);
  return ERR_OK;
}
