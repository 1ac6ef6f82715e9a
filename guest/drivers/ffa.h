/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_FFA_H
#define GUEST_DRIVERS_FFA_H

/*
 * FF-A 1.1 memory management as a caller (Arm DEN0077A): pages of this VM to another one, and another's into the window. Calls may be made
 * by any CPU; one is made at a time. Errors: ERR_UNSUPPORTED: no FF-A here; ERR_INVAL, ERR_NOMEM, ERR_BUSY, ERR_PERM (DENIED), ERR_IO (any
 * other) as the callee answers.
 */

#include "abi/ffa.h"
#include "core/err.h"
#include "core/types.h"

/* Find it, and give it RX and TX. ERR_UNSUPPORTED, ERR_NOMEM. Once, after psci_init() and the allocator. */
MUST_CHECK err_t ffa_init(void);
/* This VM's id; 0: there is no FF-A. */
uint16_t ffa_id(void);

/*
 * `fid` is FFA_MEM_SHARE_32, LEND or DONATE; `count` frames, at least one, in that order; frames that lie one behind the other travel as
 * one range.
 */
MUST_CHECK err_t ffa_give(uint32_t fid, uint16_t to, const pfn_t *frames, unsigned count, uint64_t *handle);
MUST_CHECK err_t ffa_reclaim(uint64_t handle);
/* To `at`, all `pages` of it; `type` is what it must be, FFA_FLAG_TYPE_*: a donation may be executed as well. */
MUST_CHECK err_t ffa_retrieve(uint64_t handle, pa_t at, uint32_t pages, uint32_t type);
MUST_CHECK err_t ffa_relinquish(uint64_t handle);

#endif
