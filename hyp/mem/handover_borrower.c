/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The borrower's side of a hand-over: what is offered to it, where it maps it, and how it lets go. A donation that is mapped becomes its
 * own.
 *
 * A retrieval is judged whole before the borrower's state changes; its tables and leaves are made first, and taken down again where one
 * cannot be had. The rest cannot fail.
 *
 * Lock: both VMs' stage2.lock (handover_lock_parties()), for one step at a time.
 */
#include "hyp/core/vm.h"
#include "hyp/mem/handover_frames.h"
#include "hyp/mem/handover_priv.h"

err_t handover_inquire(struct vm *borrower, uint64_t handle, struct handover_info *out) {
  struct handover_parties p;
  err_t err = handover_lock_parties(&p, borrower->id, handle);
  if (err != ERR_OK)
    return err;
  err = p.h->state == HANDOVER_OPEN ? ERR_OK : ERR_NOENT;
  *out = (struct handover_info){(enum handover_kind)p.h->kind, p.h->tag, p.h->pages, p.b->writable, p.h->zero};
  handover_unlock_parties(&p);
  return err;
}

/* Nobody is left to object, and the borrower could have written zeroes itself. */
static bool may_wipe(const struct handover_parties *p, pt_prot_t prot) {
  return p->h->kind != HANDOVER_SHARE && (prot & PT_W);
}

static bool is_being_wiped(const struct handover *h) {
  for (unsigned i = 0; i < h->borrowers; i++)
    if (h->borrower[i].state == BORROWER_WIPING)
      return true;
  return false;
}

/* May it have it like this? */
static err_t judge_retrieve(const struct handover_parties *p, uint64_t base, pt_prot_t prot, bool wipe) {
  const struct stage2 *s2 = &p->borrower->s2;
  if (p->h->state != HANDOVER_OPEN)
    return ERR_NOENT;
  if (p->b->state != BORROWER_IDLE)
    return ERR_EXIST;
  if (is_being_wiped(p->h))
    return ERR_BUSY;
  if (!stage2_is_window_range(s2, ipa(base), p->h->pages * PAGE_SIZE))
    return ERR_RANGE;
  bool too_much = ((prot & PT_W) && !p->b->writable) || ((prot & PT_X) && (p->h->kind == HANDOVER_SHARE || p->h->borrowers > 1));
  return too_much || (wipe && !may_wipe(p, prot)) ? ERR_PERM : ERR_OK;
}

err_t handover_retrieve(struct vm *borrower, uint64_t handle, uint64_t base, pt_prot_t prot, bool wipe) {
  struct handover_parties p;
  err_t err = handover_lock_parties(&p, borrower->id, handle);
  if (err != ERR_OK)
    return err;
  err = judge_retrieve(&p, base, prot, wipe);
  if (err == ERR_OK) {
    p.b->state = BORROWER_MAPPING;
    p.b->prot = prot;
    p.b->wipe = wipe;
    p.b->base = base;
    p.b->mapped = p.b->gone = 0;
    p.b->next = p.h->first;
  }
  handover_unlock_parties(&p);
  return err;
}

static err_t map_step(const struct handover_parties *p) {
  if (p->b->state != BORROWER_MAPPING || p->h->state != HANDOVER_OPEN)
    return ERR_NOENT;
  err_t err = handover_map_frames(p->borrower, p->b);
  if (err == ERR_OK) {
    p->b->state = BORROWER_MAPPED;
    p->h->wipe |= p->b->wipe;
    p->h->state = p->h->kind == HANDOVER_DONATE ? HANDOVER_TAKEN : HANDOVER_OPEN;
  } else if (err != ERR_AGAIN) {
    p->b->state = BORROWER_UNMAPPING;
  }
  return err;
}

err_t handover_transfer_step(const struct handover_parties *p) {
  if (p->h->state != HANDOVER_TAKEN)
    return ERR_NOENT;
  err_t err = handover_transfer_frames(p->owner, p->borrower, p->h, p->b);
  if (err == ERR_OK)
    handover_forget(p->h);
  return err;
}

static err_t wipe_step(struct handover *h, struct handover_borrower *b) {
  err_t err = handover_settle_frames(h, true);
  if (err == ERR_OK) {
    b->state = BORROWER_IDLE;
    h->wipe = false;
  }
  return err;
}

/* The last one that lets go sees to the contents, if anybody who had it asked for that. */
static err_t let_go(struct handover *h, struct handover_borrower *b) {
  b->state = BORROWER_IDLE;
  if (!h->wipe || handover_is_borrowed(h))
    return ERR_OK;
  b->state = BORROWER_WIPING;
  handover_rewind(h);
  return ERR_AGAIN;
}

err_t handover_unmap_step(const struct handover_parties *p) {
  if (p->b->state == BORROWER_WIPING)
    return wipe_step(p->h, p->b);
  if (p->b->state != BORROWER_UNMAPPING)
    return ERR_NOENT;
  err_t err = handover_unmap_frames(p->borrower, p->h, p->b);
  return err == ERR_OK ? let_go(p->h, p->b) : err;
}

static err_t judge_relinquish(const struct handover_parties *p, bool wipe) {
  if (p->b->state != BORROWER_MAPPED || p->h->state != HANDOVER_OPEN)
    return p->b->state == BORROWER_IDLE ? ERR_NOENT : ERR_BUSY;
  return wipe && !may_wipe(p, p->b->prot) ? ERR_PERM : ERR_OK;
}

err_t handover_relinquish(struct vm *borrower, uint64_t handle, bool wipe) {
  struct handover_parties p;
  err_t err = handover_lock_parties(&p, borrower->id, handle);
  if (err != ERR_OK)
    return err;
  err = judge_relinquish(&p, wipe);
  if (err == ERR_OK) {
    p.b->state = BORROWER_UNMAPPING;
    p.h->wipe |= wipe;
  }
  handover_unlock_parties(&p);
  return err;
}

err_t handover_map(struct vm *borrower, uint64_t handle) {
  return handover_as_borrower(borrower, handle, map_step);
}

err_t handover_transfer(struct vm *borrower, uint64_t handle) {
  return handover_as_borrower(borrower, handle, handover_transfer_step);
}

err_t handover_unmap(struct vm *borrower, uint64_t handle) {
  return handover_as_borrower(borrower, handle, handover_unmap_step);
}
