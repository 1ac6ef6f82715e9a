/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOSTILE_HOSTILE_FFA_H
#define HOSTILE_HOSTILE_FFA_H

/* FF-A for the hostile guest: what its stage and the calls share. */

#include "abi/ffa.h"
#include "arch/smccc.h"
#include "hostile.h"

#define ACCOMPLICE_END 0x656e64656e64ull
#define FFA_AWAITS 1 /* beside enum ffa_status and 0: a fragment is asked for */

struct ffa_region {
  uint16_t sender, receiver;
  uint8_t permissions;
  uint32_t flags;
  uint64_t handle, address; /* every second stretch of `pages` from there on */
  uint32_t pages, ranges;
};

extern uint8_t ffa_tx[SZ_4K], ffa_rx[SZ_4K];
extern uint16_t self_id;

uint64_t ffa_ipa(const void *p);
/* 0 or an enum ffa_status, as all of these. */
int64_t ffa_call(uint32_t fid, uint64_t x1, uint64_t x2, uint64_t x3);
int64_t ffa_map_buffers(void);
/* Write it into TX, as much as fits; its length there. */
uint32_t ffa_describe(const struct ffa_region *r);
int64_t ffa_send(uint32_t fid, uint32_t total, uint32_t length, uint64_t *handle);
int64_t ffa_give(uint32_t fid, uint64_t address, uint16_t to, uint64_t *handle);
int64_t ffa_retrieve(uint64_t handle, uint64_t address, uint8_t permissions);
int64_t ffa_relinquish(uint64_t handle);
int64_t ffa_reclaim(uint64_t handle);
/* Take what VM `from` offers. Returns at the end. */
void ffa_accomplice(uint64_t from);

#endif
