/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A 1.1 memory management calls: how one runs, and what its errors become. The giver's calls stand in ffa_giver.c, the borrower's in
 * ffa_borrower.c.
 *
 * One memory call of a VM is in progress at a time. It runs in stages, each in steps; interrupts are looked at between steps, and after
 * FFA_STEPS_PER_EXIT of them the rest becomes VCPU_REQ_FFA, which competes with everything else that may take the CPU from this vCPU. What
 * is in TX is copied before it is looked at, a fragment at a time.
 *
 * Refused: descriptors elsewhere than in TX. FFA_MEM_FRAG_RX: a response always fits in one fragment, so nobody calls it; as the answer to
 * a sender it is used.
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

enum ffa_status ffa_status_of(err_t err) {
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

int64_t ffa_end(struct vcpu *v, struct ffa *f, err_t err) {
  f->stage = STAGE_IDLE;
  ffa_leave(f);
  return err == ERR_OK ? ffa_succeed(v, 0, 0) : ffa_refuse(v, ffa_status_of(err));
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
    f->stage = STAGE_SEND;
  else if (err == ERR_NOENT)
    f->stage = STAGE_FRAGMENT;
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
  if (f->kind != HANDOVER_DONATE)
    return ERR_OK;
  f->stage = STAGE_TRANSFER;
  return ERR_AGAIN;
}

/* A donation that is mapped becomes the caller's, whatever happens: where it is no more, its giver's end has completed it. */
static err_t stage_transfer(struct vcpu *v, struct ffa *f) {
  err_t err = handover_transfer(v->vm, f->handle);
  return err == ERR_NOENT ? ERR_OK : err;
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
  case STAGE_PLACE:
    return ffa_place_step(v->vm, f);
  case STAGE_MAP:
    return stage_map(v, f);
  case STAGE_TRANSFER:
    return stage_transfer(v, f);
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
    ffa_end(v, f, ERR_OK);
    return ffa_answer(v, FFA_MEM_RETRIEVE_RESP, FFA_DESC_RESPONSE_BYTES, FFA_DESC_RESPONSE_BYTES, 0);
  }
  ffa_end(v, f, ERR_OK);
  return last == STAGE_SEND ? ffa_succeed(v, (uint32_t)handle, handle >> 32) : (int64_t)v->x[0];
}

int64_t ffa_run(struct vcpu *v, struct ffa *f) {
  for (unsigned i = 0; i < FFA_STEPS_PER_EXIT; i++) {
    enum stage stage = f->stage;
    err_t err = step(v, f);
    if (f->stage == STAGE_FRAGMENT)
      return ask_for_fragment(v, f);
    if (err == ERR_OK)
      return finish(v, f, stage);
    if (err != ERR_AGAIN)
      return ffa_end(v, f, err);
    irq_poll(this_cpu());
  }
  atomic_fetch_or(&v->requests, VCPU_REQ_FFA);
  return (int64_t)v->x[0]; /* still the call's: the answer comes later */
}

void ffa_resume(struct vcpu *v) {
  struct ffa *f = v->vm->ffa;
  if (f && atomic_load_relaxed(&f->caller) == v)
    (void)ffa_run(v, f); /* it writes x0 itself */
}

/* ---- what is in TX ---- */

struct ffa *ffa_take_descriptor(struct vcpu *v, uint32_t length) {
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
  ffa_refuse(v, ffa_status_of(err));
  return NULL;
}

struct ffa *ffa_take_transaction(struct vcpu *v) {
  uint32_t total = (uint32_t)v->x[1], length = (uint32_t)v->x[2];
  if (v->x[3] != 0 || (uint32_t)v->x[4] != 0) {
    ffa_refuse(v, FFA_INVALID_PARAMETERS);
    return NULL;
  }
  struct ffa *f = ffa_take_descriptor(v, length);
  if (!f)
    return NULL;
  err_t err = f->stage != STAGE_IDLE ? ERR_BUSY : ffa_desc_parse(f->copy, length, total, &f->d);
  if (err == ERR_OK) {
    f->received = length;
    f->total = total;
    return f;
  }
  ffa_leave(f);
  ffa_refuse(v, ffa_status_of(err));
  return NULL;
}

/* ---- calls ---- */

int64_t ffa_memory_call(struct vcpu *v, uint32_t fid) {
  switch (fid & ~FFA_64) {
  case FFA_MEM_DONATE_32:
    return ffa_send(v, HANDOVER_DONATE);
  case FFA_MEM_LEND_32:
    return ffa_send(v, HANDOVER_LEND);
  case FFA_MEM_SHARE_32:
    return ffa_send(v, HANDOVER_SHARE);
  case FFA_MEM_RETRIEVE_REQ_32:
    return ffa_retrieve(v);
  }
  switch (fid) {
  case FFA_MEM_RELINQUISH:
    return ffa_relinquish(v);
  case FFA_MEM_RECLAIM:
    return ffa_reclaim(v);
  case FFA_MEM_FRAG_TX:
    return ffa_next_fragment(v);
  }
  return ffa_refuse(v, FFA_NOT_SUPPORTED);
}
