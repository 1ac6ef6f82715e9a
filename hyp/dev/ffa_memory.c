/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A 1.1 memory management calls: descriptors become calls of hyp/mem/handover.c, and its errors become status codes.
 *
 * One memory call of a VM is in progress at a time. It runs in stages, each in steps; interrupts are looked at between steps, and after FFA_STEPS_PER_EXIT of
 * them the rest becomes VCPU_REQ_FFA, which competes with everything else that may take the CPU from this vCPU. What is in TX is copied before it is looked
 * at, a fragment at a time. The response to a retrieval is in RX before anything is mapped, since RX may be missing.
 *
 * Refused: descriptors elsewhere than in TX, RETRIEVE_REQ in fragments or without exactly one range of the receiver's choice, zeroing by RELINQUISH. A
 * response always fits in one fragment, so nobody calls FFA_MEM_FRAG_RX; as the answer to a sender it is used.
 *
 * Lock: see ffa.c; whoever ffa_enter() let in has struct ffa.
 */
#include "core/atomic.h"
#include "hyp/core/cpu.h"
#include "hyp/core/exit.h"
#include "hyp/core/vm.h"
#include "hyp/dev/ffa.h"
#include "hyp/dev/ffa_priv.h"

#define FFA_STEPS_PER_EXIT 4u

static enum ffa_status status_of(err_t err) {
  switch (err) {
  case ERR_NOMEM:
  case ERR_NOSPC:
    return FFA_NO_MEMORY;
  case ERR_PERM:
  case ERR_EXIST:
    return FFA_DENIED;
  case ERR_BUSY:
    return FFA_BUSY;
  default:
    return FFA_INVALID_PARAMETERS;
  }
}

/* ---- a call in stages ---- */

static int64_t end(struct vcpu *v, struct ffa *f, err_t err) {
  f->stage = STAGE_IDLE;
  ffa_leave(f);
  return err == ERR_OK ? ffa_succeed(v, 0, 0) : ffa_refuse(v, status_of(err));
}

static void next_stage(struct ffa *f, enum stage stage) {
  f->stage = stage;
}

/* What was begun is undone first. */
static err_t fail(struct ffa *f, enum stage undo, err_t err) {
  f->err = err;
  f->stage = undo;
  return ERR_AGAIN;
}

/* The next constituent becomes f->left. ERR_NOENT: the fragment has no more of them. */
static err_t read_range(struct ffa *f) {
  struct ffa_constituent c;
  if (f->at == f->length)
    return ERR_NOENT;
  err_t err = ffa_desc_constituent(f->copy, f->length, f->at, &c);
  if (err != ERR_OK)
    return err;
  f->left = (struct handover_range){c.address, c.pages};
  f->at += (uint32_t)sizeof(c);
  f->ranges--;
  f->pages += c.pages;
  return ERR_OK;
}

/* Ranges until enough pages have been looked at for one step. ERR_NOENT: more must come in another fragment. */
static err_t claim(struct vm *vm, struct ffa *f) {
  err_t err = ERR_OK;
  for (uint64_t work = 0; work < HANDOVER_STEP_PAGES && err == ERR_OK;) {
    if (f->left.pages == 0) {
      if (f->ranges == 0)
        return f->pages == f->d.pages ? ERR_OK : ERR_INVAL;
      err = read_range(f);
      if (err != ERR_OK)
        return err;
    }
    work += 1 + (f->left.pages < HANDOVER_STEP_PAGES ? f->left.pages : HANDOVER_STEP_PAGES);
    err = handover_claim(vm, f->handle, &f->left);
    err = err == ERR_NOENT ? ERR_INVAL : err;
  }
  return err == ERR_OK ? ERR_AGAIN : err;
}

static err_t stage_claim(struct vcpu *v, struct ffa *f) {
  err_t err = claim(v->vm, f);
  if (err == ERR_OK)
    next_stage(f, STAGE_SEND);
  else if (err == ERR_NOENT)
    next_stage(f, STAGE_FRAGMENT);
  else if (err != ERR_AGAIN)
    return fail(f, STAGE_CANCEL, err);
  return ERR_AGAIN;
}

static err_t stage_map(struct vcpu *v, struct ffa *f) {
  err_t err = handover_map(v->vm, f->handle);
  if (err == ERR_AGAIN || err == ERR_NOENT)
    return err;
  if (err != ERR_OK)
    return fail(f, STAGE_UNMAP, err);
  struct handover_info info;
  if (handover_inquire(v->vm, f->handle, &info) == ERR_OK)
    return ERR_OK;
  next_stage(f, STAGE_TRANSFER);
  return ERR_AGAIN;
}

/* A part of the call in progress: ERR_AGAIN while there is more, else what became of it. */
static err_t step(struct vcpu *v, struct ffa *f) {
  switch (f->stage) {
  case STAGE_CLAIM:
    return stage_claim(v, f);
  case STAGE_CANCEL:
    return handover_cancel(v->vm, f->handle) == ERR_AGAIN ? ERR_AGAIN : f->err;
  case STAGE_SEND:
    return handover_send(v->vm, f->handle);
  case STAGE_MAP:
    return stage_map(v, f);
  case STAGE_TRANSFER:
    return handover_transfer(v->vm, f->handle);
  case STAGE_UNMAP:
    return handover_unmap(v->vm, f->handle) == ERR_AGAIN ? ERR_AGAIN : f->err;
  case STAGE_RETURN:
    return handover_return(v->vm, f->handle);
  default:
    return ERR_INVAL;
  }
}

static int64_t ask_for_fragment(struct vcpu *v, struct ffa *f) {
  ffa_leave(f);
  return ffa_answer(v, FFA_MEM_FRAG_RX, (uint32_t)f->handle, f->handle >> 32, f->received);
}

/* What the last step of a call that went well leaves in the registers. */
static int64_t finish(struct vcpu *v, struct ffa *f, enum stage last) {
  uint64_t handle = f->handle;
  if (last == STAGE_MAP || last == STAGE_TRANSFER) {
    f->rx_full = true;
    end(v, f, ERR_OK);
    return ffa_answer(v, FFA_MEM_RETRIEVE_RESP, FFA_DESC_RESPONSE_BYTES, FFA_DESC_RESPONSE_BYTES, 0);
  }
  end(v, f, ERR_OK);
  return last == STAGE_SEND ? ffa_succeed(v, (uint32_t)handle, handle >> 32) : (int64_t)v->x[0];
}

static int64_t run(struct vcpu *v, struct ffa *f) {
  for (unsigned i = 0; i < FFA_STEPS_PER_EXIT; i++) {
    enum stage stage = f->stage;
    err_t err = step(v, f);
    if (f->stage == STAGE_FRAGMENT)
      return ask_for_fragment(v, f);
    if (err == ERR_OK)
      return finish(v, f, stage);
    if (err != ERR_AGAIN)
      return end(v, f, err);
    irq_poll(this_cpu());
  }
  atomic_fetch_or(&v->requests, VCPU_REQ_FFA);
  return (int64_t)v->x[0]; /* still the call's: the answer comes later */
}

void ffa_resume(struct vcpu *v) {
  struct ffa *f = v->vm->ffa;
  if (f && atomic_load_relaxed(&f->caller) == v)
    (void)run(v, f); /* it writes x0 itself */
}

/* ---- the memory calls ---- */

/* What lies in TX, for a memory call with (total, length, buffer, pages) in w1..w4. NULL: answered already. */
static struct ffa *take_descriptor(struct vcpu *v, uint32_t length) {
  struct ffa *f = ffa_enter(v);
  if (!f)
    return NULL;
  f->length = length;
  err_t err = f->stage != STAGE_IDLE && f->stage != STAGE_FRAGMENT ? ERR_BUSY : ERR_OK;
  if (err == ERR_OK)
    err = length <= PAGE_SIZE ? stage2_read(&v->vm->s2, f->copy, f->tx, length) : ERR_INVAL;
  if (err == ERR_OK)
    return f;
  ffa_leave(f);
  ffa_refuse(v, status_of(err));
  return NULL;
}

/* A descriptor that begins a call, read; NULL: answered. */
static struct ffa *take_transaction(struct vcpu *v) {
  uint32_t total = (uint32_t)v->x[1], length = (uint32_t)v->x[2];
  if (v->x[3] != 0 || (uint32_t)v->x[4] != 0) {
    ffa_refuse(v, FFA_INVALID_PARAMETERS);
    return NULL;
  }
  struct ffa *f = take_descriptor(v, length);
  if (!f)
    return NULL;
  err_t err = f->stage != STAGE_IDLE ? ERR_BUSY : ffa_desc_parse(f->copy, length, total, &f->d);
  if (err == ERR_OK && f->d.composite) {
    f->received = length;
    f->total = total;
    return f;
  }
  ffa_leave(f);
  ffa_refuse(v, status_of(err == ERR_OK ? ERR_INVAL : err));
  return NULL;
}

/* A lender or donor leaves attributes and instruction access to the receiver; only a sharer says how the memory is cached. */
static bool sends_sanely(const struct vm *vm, const struct ffa_desc *d, enum handover_kind kind) {
  bool attributes = d->attributes == FFA_ATTR_NORMAL_WB_INNER || (d->attributes == 0 && kind != HANDOVER_SHARE);
  uint32_t flags = kind == HANDOVER_SHARE ? 0 : FFA_FLAG_ZERO;
  for (unsigned i = 0; i < d->access_count; i++) {
    unsigned data = d->access[i].permissions & FFA_DATA_MASK;
    if ((d->access[i].permissions & FFA_INSTRUCTION_MASK) || (data == FFA_DATA_UNSPECIFIED) != (kind == HANDOVER_DONATE))
      return false;
  }
  return d->sender == vm->id && d->handle == 0 && attributes && !(d->flags & ~flags);
}

static struct handover template_of(const struct ffa_desc *d, enum handover_kind kind) {
  struct handover t = {.tag = d->tag, .kind = (uint8_t)kind, .zero = d->flags & FFA_FLAG_ZERO, .borrowers = (uint8_t)d->access_count};
  for (unsigned i = 0; i < d->access_count; i++) {
    t.borrower[i].vm = d->access[i].endpoint;
    t.borrower[i].writable = (d->access[i].permissions & FFA_DATA_MASK) != FFA_DATA_RO;
  }
  return t;
}

static int64_t send(struct vcpu *v, enum handover_kind kind) {
  struct ffa *f = take_transaction(v);
  if (!f)
    return (int64_t)v->x[0];
  struct handover t = template_of(&f->d, kind);
  err_t err = sends_sanely(v->vm, &f->d, kind) ? handover_begin(v->vm, &t, &f->handle) : ERR_INVAL;
  if (err != ERR_OK)
    return end(v, f, err);
  f->at = f->d.first_at;
  f->ranges = f->d.ranges;
  f->pages = f->left.pages = 0;
  next_stage(f, STAGE_CLAIM);
  return run(v, f);
}

static uint64_t handle_in(const struct vcpu *v) {
  return (uint32_t)v->x[1] | v->x[2] << 32;
}

static int64_t next_fragment(struct vcpu *v) {
  uint32_t length = (uint32_t)v->x[3];
  struct ffa *f = take_descriptor(v, length);
  if (!f)
    return (int64_t)v->x[0];
  bool expected = f->stage == STAGE_FRAGMENT && f->handle == handle_in(v) && length > 0 && length <= f->total - f->received;
  if (!expected) {
    ffa_leave(f);
    return ffa_refuse(v, FFA_INVALID_PARAMETERS);
  }
  f->received += length;
  f->at = 0;
  next_stage(f, STAGE_CLAIM);
  return run(v, f);
}

/* Does what the receiver says of the region agree with what the sender said? */
static err_t agree(const struct vm *vm, const struct ffa_desc *d, const struct handover_info *info) {
  static const uint32_t types[] = {FFA_FLAG_TYPE_SHARE, FFA_FLAG_TYPE_LEND, FFA_FLAG_TYPE_DONATE};
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
  static const uint32_t types[] = {FFA_FLAG_TYPE_SHARE, FFA_FLAG_TYPE_LEND, FFA_FLAG_TYPE_DONATE};
  f->d.flags = types[info.kind] | (info.zeroed ? FFA_FLAG_ZERO : 0);
  err = stage2_write(&vm->s2, f->rx, response, ffa_desc_response(response, &f->d, place.address, place.pages));
  return err == ERR_OK ? handover_retrieve(vm, f->handle, place.address, prot_of(f->d.access[0].permissions)) : err;
}

static int64_t retrieve(struct vcpu *v) {
  struct ffa *f = take_transaction(v);
  if (!f)
    return (int64_t)v->x[0];
  err_t err = begin_retrieve(v->vm, f);
  if (err != ERR_OK)
    return end(v, f, err);
  next_stage(f, STAGE_MAP);
  return run(v, f);
}

static int64_t relinquish(struct vcpu *v) {
  uint32_t flags, length = sizeof(struct ffa_relinquish) + sizeof(uint16_t);
  struct ffa *f = take_descriptor(v, length);
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
    return end(v, f, err);
  f->err = ERR_OK;
  next_stage(f, STAGE_UNMAP);
  return run(v, f);
}

static int64_t reclaim(struct vcpu *v) {
  uint64_t handle = handle_in(v);
  uint32_t flags = (uint32_t)v->x[3];
  struct ffa *f = ffa_enter(v);
  if (!f)
    return (int64_t)v->x[0];
  if (f->stage == STAGE_FRAGMENT) { /* of what it has not sent whole: never mind */
    bool same = f->handle == handle;
    f->err = ERR_OK;
    f->stage = same ? STAGE_CANCEL : STAGE_FRAGMENT;
    if (same)
      return run(v, f);
    ffa_leave(f);
    return ffa_refuse(v, FFA_BUSY);
  }
  err_t err = flags & ~FFA_FLAG_ZERO ? ERR_INVAL : handover_reclaim(v->vm, handle, flags & FFA_FLAG_ZERO);
  if (err != ERR_OK)
    return end(v, f, err);
  f->handle = handle;
  next_stage(f, STAGE_RETURN);
  return run(v, f);
}

int64_t ffa_memory_call(struct vcpu *v, uint32_t fid) {
  switch (fid & ~FFA_64) {
  case FFA_MEM_DONATE_32:
    return send(v, HANDOVER_DONATE);
  case FFA_MEM_LEND_32:
    return send(v, HANDOVER_LEND);
  case FFA_MEM_SHARE_32:
    return send(v, HANDOVER_SHARE);
  case FFA_MEM_RETRIEVE_REQ_32:
    return retrieve(v);
  }
  switch (fid) {
  case FFA_MEM_RELINQUISH:
    return relinquish(v);
  case FFA_MEM_RECLAIM:
    return reclaim(v);
  case FFA_MEM_FRAG_TX:
    return next_fragment(v);
  }
  return ffa_refuse(v, FFA_NOT_SUPPORTED);
}
