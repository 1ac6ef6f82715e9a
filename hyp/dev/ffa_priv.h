/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_FFA_PRIV_H
#define HYP_DEV_FFA_PRIV_H

/* What the files of FF-A share: the state of a VM's FF-A, and how a call is answered. */

#include "hyp/core/vcpu.h"
#include "hyp/dev/ffa_desc.h"
#include "hyp/mem/handover.h"

enum stage {
  STAGE_IDLE = 0,
  STAGE_CLAIM,    /* DONATE, LEND, SHARE: constituents are read, their pages pinned */
  STAGE_FRAGMENT, /* the sender is asked for more of them; no call in progress */
  STAGE_CANCEL,
  STAGE_SEND,
  STAGE_PLACE, /* RETRIEVE_REQ without a place: one is looked for */
  STAGE_MAP,
  STAGE_TRANSFER,
  STAGE_UNMAP,  /* RELINQUISH, or a retrieval that failed: `err` */
  STAGE_RETURN, /* RECLAIM */
};

struct ffa {
  struct vcpu *caller; /* atomic */
  bool mapped, rx_full;
  ipa_t tx, rx;
  enum stage stage;
  err_t err; /* what the call returns when it has been undone */
  uint64_t handle;
  enum handover_kind kind; /* of the region that is retrieved */
  bool wipe;               /* and it is to be zeroed when it is relinquished */
  struct ffa_desc d;
  uint8_t *copy;   /* of the fragment in TX: a page */
  uint32_t length; /* bytes in it */
  uint32_t at;     /* of the next constituent */
  uint32_t received, total, ranges;
  uint64_t pages;             /* of the constituents read so far */
  struct handover_range left; /* of the last of them */
  struct handover_place place;
};

static inline int64_t ffa_answer(struct vcpu *v, uint32_t fid, uint64_t x1, uint64_t x2, uint64_t x3) {
  for (unsigned i = 4; i < 8; i++)
    v->x[i] = 0;
  v->x[1] = x1;
  v->x[2] = x2;
  v->x[3] = x3;
  v->x[0] = fid;
  return (int64_t)v->x[0];
}

static inline int64_t ffa_refuse(struct vcpu *v, enum ffa_status status) {
  return ffa_answer(v, FFA_ERROR, 0, (uint32_t)status, 0);
}

static inline int64_t ffa_succeed(struct vcpu *v, uint64_t x2, uint64_t x3) {
  return ffa_answer(v, FFA_SUCCESS_32, 0, x2, x3);
}

/*
 * The VM's memory call from now on is this vCPU's. NULL: answered already, no buffers (DENIED) or another call is in progress (BUSY).
 * ffa_leave() ends that.
 */
struct ffa *ffa_enter(struct vcpu *v);
void ffa_leave(struct ffa *f);

/* ffa_info.c */
int64_t ffa_features(struct vcpu *v);
int64_t ffa_partition_info(struct vcpu *v);

/* All calls that are not ffa.c's. */
int64_t ffa_memory_call(struct vcpu *v, uint32_t fid);

enum ffa_status ffa_status_of(err_t err);
/* The stages of the call in progress from f->stage on, until it is done or has had its share of this exit. Returns x0, as the next. */
int64_t ffa_run(struct vcpu *v, struct ffa *f);
/* The call in progress is over: FFA_SUCCESS without values, or what `err` means. */
int64_t ffa_end(struct vcpu *v, struct ffa *f, err_t err);

/* Enter, and copy `length` bytes of TX. A fragment may be awaited. NULL: answered already. */
struct ffa *ffa_take_descriptor(struct vcpu *v, uint32_t length);
/* The same for a descriptor that begins a call, with (total, length, buffer, pages) in w1..w4, parsed into f->d. NULL: answered already. */
struct ffa *ffa_take_transaction(struct vcpu *v);

static inline uint64_t ffa_handle_in(const struct vcpu *v) {
  return (uint32_t)v->x[1] | v->x[2] << 32;
}

/* ffa_giver.c */
int64_t ffa_send(struct vcpu *v, enum handover_kind kind);
int64_t ffa_next_fragment(struct vcpu *v);
int64_t ffa_reclaim(struct vcpu *v);
/* ffa_borrower.c */
int64_t ffa_retrieve(struct vcpu *v);
/* A step of STAGE_PLACE: ERR_AGAIN; ERR_NOSPC, or why it cannot be had there. */
err_t ffa_place_step(struct vm *vm, struct ffa *f);
int64_t ffa_relinquish(struct vcpu *v);

#endif
