/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A 1.1, the borrower's memory calls: RETRIEVE_REQ and RELINQUISH.
 *
 * What the receiver says of a region must agree with what the sender said of it. The response is in RX before anything is mapped, since RX may be missing.
 *
 * Refused: RETRIEVE_REQ in fragments or without exactly one range of the receiver's choice, zeroing by RELINQUISH.
 *
 * Lock: see ffa.c; whoever ffa_enter() let in has struct ffa.
 */
#include "hyp/core/vm.h"
#include "hyp/dev/ffa_priv.h"

static const uint32_t types[] = {FFA_FLAG_TYPE_SHARE, FFA_FLAG_TYPE_LEND, FFA_FLAG_TYPE_DONATE};

/* Does what the receiver says of the region agree with what the sender said? */
static err_t agree(const struct vm *vm, const struct ffa_desc *d, const struct handover_info *info) {
  uint32_t type = d->flags & FFA_FLAG_TYPE_MASK;
  if (d->access_count != 1 || d->access[0].endpoint != vm->id || d->sender != d->handle >> 32 || d->ranges != 1 || d->pages != info->pages)
    return ERR_INVAL;
  if (d->attributes != FFA_ATTR_NORMAL_WB_INNER || d->tag != info->tag || (type != 0 && type != types[info->kind]))
    return ERR_INVAL;
  if ((d->flags & ~(FFA_FLAG_TYPE_MASK | FFA_FLAG_ZERO)) || (d->access[0].permissions & FFA_DATA_MASK) == FFA_DATA_UNSPECIFIED)
    return ERR_INVAL;
  return (d->flags & FFA_FLAG_ZERO) && !info->zeroed ? ERR_PERM : ERR_OK;
}

static pt_prot_t prot_of(uint8_t permissions) {
  return PT_R | ((permissions & FFA_DATA_MASK) == FFA_DATA_RW ? PT_W : 0) |
         ((permissions & FFA_INSTRUCTION_MASK) == FFA_INSTRUCTION_X ? PT_X : 0);
}

/* The one range that the receiver wants it in. */
static err_t chosen_place(struct ffa *f, struct ffa_constituent *c) {
  err_t err = ffa_desc_constituent(f->copy, f->length, f->d.first_at, c);
  return err == ERR_OK && c->pages != f->d.pages ? ERR_INVAL : err;
}

static err_t begin_retrieve(struct vm *vm, struct ffa *f) {
  struct ffa_constituent place;
  struct handover_info info;
  uint8_t response[FFA_DESC_RESPONSE_BYTES];
  f->handle = f->d.handle;
  err_t err = f->rx_full ? ERR_BUSY : f->received != f->total ? ERR_INVAL : handover_inquire(vm, f->handle, &info);
  if (err == ERR_OK)
    err = agree(vm, &f->d, &info);
  if (err == ERR_OK)
    err = chosen_place(f, &place);
  if (err != ERR_OK)
    return err;
  f->kind = info.kind;
  if (!(f->d.access[0].permissions & FFA_INSTRUCTION_MASK))
    f->d.access[0].permissions |= FFA_INSTRUCTION_XN; /* the answer says what it got */
  f->d.flags = types[info.kind] | (info.zeroed ? FFA_FLAG_ZERO : 0);
  err = stage2_write(&vm->s2, f->rx, response, ffa_desc_response(response, &f->d, place.address, place.pages));
  return err == ERR_OK ? handover_retrieve(vm, f->handle, place.address, prot_of(f->d.access[0].permissions)) : err;
}

int64_t ffa_retrieve(struct vcpu *v) {
  struct ffa *f = ffa_take_transaction(v);
  if (!f)
    return (int64_t)v->x[0];
  err_t err = begin_retrieve(v->vm, f);
  if (err != ERR_OK)
    return ffa_end(v, f, err);
  f->stage = STAGE_MAP;
  return ffa_run(v, f);
}

int64_t ffa_relinquish(struct vcpu *v) {
  uint32_t flags, length = sizeof(struct ffa_relinquish) + sizeof(uint16_t);
  struct ffa *f = ffa_take_descriptor(v, length);
  if (!f)
    return (int64_t)v->x[0];
  if (f->stage != STAGE_IDLE) {
    ffa_leave(f);
    return ffa_refuse(v, FFA_BUSY);
  }
  err_t err = ffa_desc_relinquish(f->copy, length, v->vm->id, &f->handle, &flags);
  if (err == ERR_OK)
    err = flags ? ERR_PERM : handover_relinquish(v->vm, f->handle);
  if (err != ERR_OK)
    return ffa_end(v, f, err);
  f->err = ERR_OK;
  f->stage = STAGE_UNMAP;
  return ffa_run(v, f);
}
