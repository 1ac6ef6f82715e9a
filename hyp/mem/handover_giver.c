/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The giver's side of a hand-over: a region is begun, gathered, sent, and taken back when nobody has it mapped.
 *
 * All that can fail happens while it is gathered: each page is looked at and pinned, and an error unpins what was pinned. What becomes of a
 * region afterwards is decided by its state alone, so a call that does not fit is refused before anything is touched.
 *
 * Lock: the giver's stage2.lock, for one step at a time.
 */
#include "core/check.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/mem/handover_frames.h"
#include "hyp/mem/handover_priv.h"

static bool is_sane(const struct handover *h) {
  unsigned most = h->kind == HANDOVER_DONATE ? 1 : HANDOVER_BORROWERS_MAX;
  return h->borrowers >= 1 && h->borrowers <= most && !(h->zero && h->kind == HANDOVER_SHARE);
}

/*
 * Under vms_lock: whoever begins to die later finds the region by its borrowers (handover_leave.c), so that no heir of an id is ever named.
 */
static bool borrowers_live(const struct vm *owner, const struct handover *h) {
  for (unsigned i = 0; i < h->borrowers; i++) {
    const struct vm *vm = vm_by_id(h->borrower[i].vm);
    if (!vm || vm == owner || vm->state == VM_DYING)
      return false;
  }
  return true;
}

static struct handover *free_slot(struct handover_table *t) {
  for (unsigned i = 0; i < HANDOVERS_MAX; i++)
    if (t->slot[i].state == HANDOVER_NONE)
      return &t->slot[i];
  return NULL;
}

static err_t begin(struct vm *owner, const struct handover *template, uint64_t *handle) {
  struct handover *h = free_slot(owner->handover);
  if (!h)
    return ERR_NOSPC;
  *h = *template;
  h->handle = *handle = (uint64_t)owner->id << HANDOVER_OWNER_SHIFT | ++owner->handover->count;
  h->first = h->last = FRAME_LINK_NONE;
  h->pages = h->from_window = 0;
  h->state = HANDOVER_GATHERING;
  handover_rewind(h); /* it may be cancelled before anything is claimed */
  return ERR_OK;
}

err_t handover_begin(struct vm *owner, const struct handover *template, uint64_t *handle) {
  if (!is_sane(template))
    return ERR_INVAL;
  err_t err = handover_open(owner);
  if (err == ERR_OK && template->kind != HANDOVER_SHARE)
    err = stage2_open_given(&owner->s2);
  if (err != ERR_OK)
    return err;
  spin_lock(&vms_lock);
  spin_lock(&owner->s2.lock);
  err = borrowers_live(owner, template) ? begin(owner, template, handle) : ERR_INVAL;
  spin_unlock(&owner->s2.lock);
  spin_unlock(&vms_lock);
  return err;
}

/* The giver's own region, in `state`, its lock held; NULL, and no lock, if it has none. */
static struct handover *lock_own(struct vm *owner, uint64_t handle, enum handover_state state) {
  spin_lock(&owner->s2.lock);
  struct handover *h = handover_find(owner, handle);
  if (h && h->state == state)
    return h;
  spin_unlock(&owner->s2.lock);
  return NULL;
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
    handover_forget(h);
  spin_unlock(&owner->s2.lock);
  return err;
}

static bool is_contents_pass_due(const struct handover *h) {
  return h->zero || stage2_must_settle();
}

/*
 * Contents, between one VM and the next, neither of which maps them (a sharer does, and keeps to what both say of the memory's attributes).
 */
static err_t settle_step(struct handover *h) {
  err_t err = is_contents_pass_due(h) ? handover_settle_frames(h, h->zero) : ERR_OK;
  if (err == ERR_OK) {
    stage2_forget_code();
    handover_rewind(h);
  }
  return err;
}

/* One step of what makes a region OPEN: its frames, then what they hold, before anybody else sees it. */
static err_t send_step(struct vm *owner, struct handover *h) {
  err_t err;
  if (h->state == HANDOVER_GATHERING) {
    err = handover_give_frames(owner, h);
    if (err != ERR_OK)
      return err;
    h->state = HANDOVER_SENDING;
    handover_rewind(h);
    if (is_contents_pass_due(h))
      return ERR_AGAIN;
  }
  err = settle_step(h);
  if (err == ERR_OK)
    h->state = HANDOVER_OPEN;
  return err;
}

err_t handover_send(struct vm *owner, uint64_t handle) {
  spin_lock(&owner->s2.lock);
  struct handover *h = handover_find(owner, handle);
  bool due = h && (h->state == HANDOVER_GATHERING || h->state == HANDOVER_SENDING) && h->pages > 0;
  err_t err = due ? send_step(owner, h) : ERR_NOENT;
  spin_unlock(&owner->s2.lock);
  return err;
}

err_t handover_reclaim(struct vm *owner, uint64_t handle, bool zero) {
  err_t err = ERR_NOENT;
  spin_lock(&owner->s2.lock);
  struct handover *h = handover_find(owner, handle);
  if (h && (h->state == HANDOVER_OPEN || h->state == HANDOVER_RETURNING)) {
    err = handover_is_borrowed(h) ? ERR_PERM : ERR_OK;
    if (err == ERR_OK) {
      h->state = HANDOVER_RETURNING;
      h->zero = zero;
      h->unsettled = zero || h->kind != HANDOVER_SHARE;
      handover_rewind(h);
    }
  }
  spin_unlock(&owner->s2.lock);
  return err;
}

static err_t return_step(struct vm *owner, struct handover *h) {
  if (!h->unsettled)
    return handover_return_frames(owner, h);
  h->unsettled = settle_step(h) != ERR_OK;
  return ERR_AGAIN;
}

err_t handover_return(struct vm *owner, uint64_t handle) {
  struct handover *h = lock_own(owner, handle, HANDOVER_RETURNING);
  if (!h)
    return ERR_NOENT;
  err_t err = return_step(owner, h);
  if (err == ERR_OK)
    handover_forget(h);
  spin_unlock(&owner->s2.lock);
  return err;
}
