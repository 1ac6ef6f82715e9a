/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_FFA_H
#define HYP_DEV_FFA_H

/* FF-A 1.1 memory management for guests: see ffa.c. A partition's id is its VM's, addresses are its IPAs, in pages of 4 KiB. */

#include "abi/ffa.h"
#include "core/err.h"
#include "core/types.h"

struct vcpu;
struct vm;

/* Once, after the memory core. ERR_NOMEM. */
MUST_CHECK err_t ffa_init(void);

static inline bool ffa_is_call(uint32_t fid) {
  return (fid & ~FFA_64) - (FFA_FAST | FFA_NUMBER_FIRST) <= FFA_NUMBER_LAST - FFA_NUMBER_FIRST;
}

/*
 * A call of the current vCPU. Returns x0; x1..x7 are written. A call over many pages is not done yet when this returns (VCPU_REQ_FFA is
 * set): ffa_resume() goes on with it on the way out of the exit, and writes the answer. An id that is not FF-A's, or not offered:
 * FFA_NOT_SUPPORTED.
 */
int64_t ffa_call(struct vcpu *v, uint32_t fid);
void ffa_resume(struct vcpu *v);

/* `vm` ends or starts anew, and no vCPU of it runs: its buffers and whatever call it was in are forgotten. After handover_leave(). */
void ffa_close(struct vm *vm);

#endif
