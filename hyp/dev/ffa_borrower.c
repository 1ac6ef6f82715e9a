/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A 1.1, the borrower's memory calls: RETRIEVE_REQ and RELINQUISH.
 *
 * What the receiver says of a region must agree with what the sender said of it. The response is in RX before anything is mapped, since RX
 * may be missing.
 *
 * It is mapped in one range: where the receiver says, or, if it has no composite, where there is room.
 *
 * Refused: RETRIEVE_REQ in fragments, for others, or to several ranges.
 *
 * Lock: see ffa.c; whoever ffa_enter() let in has struct ffa.
 */
#include "hyp/core/vm.h"
#include "hyp/dev/ffa_priv.h"

static const uint32_t types[] = {FFA_FLAG_TYPE_SHARE, FFA_FLAG_TYPE_LEND, FFA_FLAG_TYPE_DONATE};

/* A hint at an alignment is not taken: who wants one names the place. A donation is never relinquished. */
static bool flags_make_sense(uint32_t flags, enum handover_kind kind) {
  const uint32_t known = FFA_FLAG_TYPE_MASK | FFA_FLAG_ZERO | FFA_FLAG_ZERO_AFTER;
  uint32_t type = flags & FFA_FLAG_TYPE_MASK;
  if ((flags & ~known) || (type != 0 && type != types[kind]))
    return false;
  return !(flags & FFA_FLAG_ZERO_AFTER) || kind != HANDOVER_DONATE;
}

/* Does what the receiver says of the region agree with what the sender said? */
static err_t agree(const struct vm *vm, const struct ffa_desc *d, const struct handover_info *info) {
  if (d->access_count != 1 || d->access[0].endpoint != vm->id || d->sender != d->handle >> 32)
    return ERR_INVAL;
  if (d->composite && (d->ranges != 1 || d->pages != info->pages))
    return ERR_INVAL;
  if (d->attributes != FFA_ATTR_NORMAL_WB_INNER || d->tag != info->tag || !flags_make_sense(d->flags, info->kind))
    return ERR_INVAL;
  if ((d->access[0].permissions & FFA_DATA_MASK) == FFA_DATA_UNSPECIFIED)
    return ERR_INVAL;
  return (d->flags & FFA_FLAG_ZERO) && !info->zeroed ? ERR_PERM : ERR_OK;
}

static pt_prot_t prot_of(uint8_t permissions) {
  return PT_R | ((permissions & FFA_DATA_MASK) == FFA_DATA_RW ? PT_W : 0) |
         ((permissions & FFA_INSTRUCTION_MASK) == FFA_INSTRUCTION_X ? PT_X : 0);
}

/* The one range that the receiver wants it in; or the look for one begins. */
static err_t choose_place(const struct vm *vm, struct ffa *f, uint64_t pages) {
  struct ffa_constituent c;
  if (!f->d.composite) {
    handover_place_begin(&f->place, vm, pages);
    return ERR_OK;
  }
  err_t err = ffa_desc_constituent(f->copy, f->length, f->d.first_at, &c);
  if (err == ERR_OK && c.pages != f->d.pages)
    return ERR_INVAL;
  f->place.base = c.address;
  return err;
}

static err_t judge(struct vm *vm, struct ffa *f, struct handover_info *info) {
  f->handle = f->d.handle;
  err_t err = f->rx_full ? ERR_BUSY : f->received != f->total ? ERR_INVAL : handover_inquire(vm, f->handle, info);
  if (err == ERR_OK)
    err = agree(vm, &f->d, info);
  return err == ERR_OK ? choose_place(vm, f, info->pages) : err;
}

/* The response, of what it will be, from the request. */
static err_t respond(struct vm *vm, struct ffa *f) {
  uint8_t response[FFA_DESC_RESPONSE_BYTES];
  uint32_t bytes = ffa_desc_response(response, &f->d, f->place.base, f->d.pages);
  return stage2_write(&vm->s2, f->rx, response, bytes);
}

/* The place is known. */
static err_t begin_mapping(struct vm *vm, struct ffa *f) {
  err_t err = respond(vm, f);
  if (err == ERR_OK)
    err = handover_retrieve(vm, f->handle, f->place.base, prot_of(f->d.access[0].permissions), f->wipe);
  f->stage = STAGE_MAP;
  return err;
}

err_t ffa_place_step(struct vm *vm, struct ffa *f) {
  err_t err = handover_place_step(&f->place, vm);
  if (err == ERR_OK)
    err = begin_mapping(vm, f);
  return err == ERR_OK ? ERR_AGAIN : err;
}

static err_t begin_retrieve(struct vm *vm, struct ffa *f) {
  struct handover_info info;
  err_t err = judge(vm, f, &info);
  if (err != ERR_OK)
    return err;
  f->kind = info.kind;
  f->wipe = f->d.flags & FFA_FLAG_ZERO_AFTER;
  f->d.pages = (uint32_t)info.pages;
  f->d.flags = types[info.kind] | (info.zeroed ? FFA_FLAG_ZERO : 0);
  if (!(f->d.access[0].permissions & FFA_INSTRUCTION_MASK))
    f->d.access[0].permissions |= FFA_INSTRUCTION_XN; /* the answer says what it got */
  f->stage = STAGE_PLACE;
  return f->d.composite ? begin_mapping(vm, f) : ERR_OK;
}

int64_t ffa_retrieve(struct vcpu *v) {
  struct ffa *f = ffa_take_transaction(v);
  if (!f)
    return (int64_t)v->x[0];
  err_t err = begin_retrieve(v->vm, f);
  if (err != ERR_OK)
    return ffa_end(v, f, err);
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
    err = handover_relinquish(v->vm, f->handle, flags & FFA_FLAG_ZERO);
  if (err != ERR_OK)
    return ffa_end(v, f, err);
  f->err = ERR_OK;
  f->stage = STAGE_UNMAP;
  return ffa_run(v, f);
}
