/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A 1.1, the giver's memory calls: DONATE, LEND and SHARE with their further fragments, RECLAIM.
 *
 * A send is judged by what its descriptor says before a region is begun; what it names is looked at by hyp/mem/handover_giver.c. A sender
 * whose fragments have not all come is in no call: it may go on, or end it by RECLAIM, and everything else about memory is BUSY till then.
 *
 * Lock: see ffa.c; whoever ffa_enter() let in has struct ffa.
 */
#include "hyp/core/vm.h"
#include "hyp/dev/ffa_priv.h"

/* A lender or donor leaves attributes and instruction access to the receiver; only a sharer says how the memory is cached. */
static bool sends_sanely(const struct vm *vm, const struct ffa_desc *d, enum handover_kind kind) {
  bool attributes = d->attributes == FFA_ATTR_NORMAL_WB_INNER || (d->attributes == 0 && kind != HANDOVER_SHARE);
  uint32_t flags = kind == HANDOVER_SHARE ? 0 : FFA_FLAG_ZERO;
  for (unsigned i = 0; i < d->access_count; i++) {
    unsigned data = d->access[i].permissions & FFA_DATA_MASK;
    if ((d->access[i].permissions & FFA_INSTRUCTION_MASK) || (data == FFA_DATA_UNSPECIFIED) != (kind == HANDOVER_DONATE))
      return false;
  }
  return d->composite && d->sender == vm->id && d->handle == 0 && attributes && !(d->flags & ~flags);
}

static struct handover template_of(const struct ffa_desc *d, enum handover_kind kind) {
  struct handover t = {.tag = d->tag, .kind = (uint8_t)kind, .zero = d->flags & FFA_FLAG_ZERO, .borrowers = (uint8_t)d->access_count};
  for (unsigned i = 0; i < d->access_count; i++) {
    t.borrower[i].vm = d->access[i].endpoint;
    t.borrower[i].writable = (d->access[i].permissions & FFA_DATA_MASK) != FFA_DATA_RO;
  }
  return t;
}

int64_t ffa_send(struct vcpu *v, enum handover_kind kind) {
  struct ffa *f = ffa_take_transaction(v);
  if (!f)
    return (int64_t)v->x[0];
  struct handover t = template_of(&f->d, kind);
  err_t err = sends_sanely(v->vm, &f->d, kind) ? handover_begin(v->vm, &t, &f->handle) : ERR_INVAL;
  if (err != ERR_OK)
    return ffa_end(v, f, err);
  f->at = f->d.first_at;
  f->ranges = f->d.ranges;
  f->pages = f->left.pages = 0;
  f->stage = STAGE_CLAIM;
  return ffa_run(v, f);
}

int64_t ffa_next_fragment(struct vcpu *v) {
  uint32_t length = (uint32_t)v->x[3];
  if ((uint32_t)v->x[4] != 0) /* a sender's id is for relayers to say */
    return ffa_refuse(v, FFA_INVALID_PARAMETERS);
  struct ffa *f = ffa_take_descriptor(v, length);
  if (!f)
    return (int64_t)v->x[0];
  bool expected = f->stage == STAGE_FRAGMENT && f->handle == ffa_handle_in(v) && length > 0 && length <= f->total - f->received;
  if (!expected) {
    ffa_leave(f);
    return ffa_refuse(v, FFA_INVALID_PARAMETERS);
  }
  f->received += length;
  f->at = 0;
  f->stage = STAGE_CLAIM;
  return ffa_run(v, f);
}

int64_t ffa_reclaim(struct vcpu *v) {
  uint64_t handle = ffa_handle_in(v);
  uint32_t flags = (uint32_t)v->x[3];
  struct ffa *f = ffa_enter(v);
  if (!f)
    return (int64_t)v->x[0];
  if (f->stage == STAGE_FRAGMENT) { /* of what it has not sent whole: never mind */
    bool same = f->handle == handle;
    f->err = ERR_OK;
    f->stage = same ? STAGE_CANCEL : STAGE_FRAGMENT;
    if (same)
      return ffa_run(v, f);
    ffa_leave(f);
    return ffa_refuse(v, FFA_BUSY);
  }
  err_t err = flags & ~FFA_FLAG_ZERO ? ERR_INVAL : handover_reclaim(v->vm, handle, flags & FFA_FLAG_ZERO);
  if (err != ERR_OK)
    return ffa_end(v, f, err);
  f->handle = handle;
  f->stage = STAGE_RETURN;
  return ffa_run(v, f);
}
