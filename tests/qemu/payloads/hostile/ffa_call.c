/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A calls for the hostile guest: a descriptor that is right, to be spoilt; answers as one status; the accomplice, who takes what it can.
 */
#include "hostile_ffa.h"

uint8_t ffa_tx[SZ_4K] ALIGNED(4096), ffa_rx[SZ_4K] ALIGNED(4096);

uint64_t ffa_ipa(const void *p) {
  return (uint64_t)p & ~HIGH;
}

int64_t ffa_call(uint32_t fid, uint64_t x1, uint64_t x2, uint64_t x3) {
  uint64_t x[8] = {fid, x1, x2, x3};
  smccc_hvc8(x);
  return (uint32_t)x[0] == FFA_ERROR ? (int32_t)x[2] : 0;
}

int64_t ffa_map_buffers(void) {
  (void)ffa_call(FFA_RXTX_UNMAP, 0, 0, 0);
  return ffa_call(FFA_RXTX_MAP_64, ffa_ipa(ffa_tx), ffa_ipa(ffa_rx), 1);
}

uint32_t ffa_describe(const struct ffa_region *r) {
  struct ffa_transaction t = {.sender = r->sender, .attributes = FFA_ATTR_NORMAL_WB_INNER, .handle = r->handle, .flags = r->flags};
  struct ffa_access a = {r->receiver, r->permissions, 0, 64, 0};
  struct ffa_composite c = {r->pages * r->ranges, r->ranges, 0};
  t.access_bytes = sizeof(a);
  t.access_count = 1;
  t.access_offset = sizeof(t);
  __builtin_memcpy(ffa_tx, &t, sizeof(t));
  __builtin_memcpy(ffa_tx + 48, &a, sizeof(a));
  __builtin_memcpy(ffa_tx + 64, &c, sizeof(c));
  uint32_t at = 80;
  for (uint32_t i = 0; i < r->ranges && at + sizeof(struct ffa_constituent) <= sizeof(ffa_tx); i++, at += 16) {
    struct ffa_constituent range = {r->address + i * 2 * r->pages * SZ_4K, r->pages, 0};
    __builtin_memcpy(ffa_tx + at, &range, sizeof(range));
  }
  return at;
}

int64_t ffa_send(uint32_t fid, uint32_t total, uint32_t length, uint64_t *handle) {
  uint64_t x[8] = {fid, total, length};
  smccc_hvc8(x);
  if ((uint32_t)x[0] == FFA_ERROR)
    return (int32_t)x[2];
  bool more = (uint32_t)x[0] == FFA_MEM_FRAG_RX;
  *handle = more ? (uint32_t)x[1] | x[2] << 32 : (uint32_t)x[2] | x[3] << 32;
  return more ? FFA_AWAITS : 0;
}

int64_t ffa_give(uint32_t fid, uint64_t address, uint16_t to, uint64_t *handle) {
  bool donated = fid == FFA_MEM_DONATE_32;
  struct ffa_region r = {self_id, to, donated ? 0 : FFA_DATA_RW, 0, 0, address, 1, 1};
  uint32_t length = ffa_describe(&r);
  return ffa_send(fid, length, length, handle);
}

int64_t ffa_retrieve(uint64_t handle, uint64_t address, uint8_t permissions) {
  struct ffa_region r = {(uint16_t)(handle >> 32), self_id, permissions, 0, handle, address, 1, 1};
  uint32_t length = ffa_describe(&r);
  int64_t s = ffa_call(FFA_MEM_RETRIEVE_REQ_32, length, length, 0);
  if (s == 0)
    (void)ffa_call(FFA_RX_RELEASE, 0, 0, 0);
  return s;
}

int64_t ffa_relinquish(uint64_t handle) {
  struct ffa_relinquish r = {handle, 0, 1};
  __builtin_memcpy(ffa_tx, &r, sizeof(r));
  __builtin_memcpy(ffa_tx + sizeof(r), &self_id, sizeof(self_id));
  return ffa_call(FFA_MEM_RELINQUISH, 0, 0, 0);
}

int64_t ffa_reclaim(uint64_t handle) {
  return ffa_call(FFA_MEM_RECLAIM, (uint32_t)handle, handle >> 32, 0);
}

/* The first page that is offered is where the hostile guest says what it gives; we try all handles that there may have been. */
static volatile uint64_t *find_mailbox(uint64_t from) {
  for (uint64_t n = 1; ffa_retrieve(from << 32 | n, machine.ram_end, FFA_DATA_RW) != 0; n = n % 8192 + 1)
    cpu_relax();
  return (volatile uint64_t *)machine.ram_end;
}

/* Takes what is being given and reclaimed, and lets go of it at once. What is donated it keeps. */
void ffa_accomplice(uint64_t from) {
  uint64_t taken = 0, handle, at = machine.ram_end + SZ_4K;
  if (ffa_map_buffers() != 0)
    return;
  volatile uint64_t *mailbox = find_mailbox(from);
  mailbox[1] = 1;
  while ((handle = mailbox[0]) != ACCOMPLICE_END) {
    cpu_relax();
    if (handle == 0 || ffa_retrieve(handle, at, FFA_DATA_RW) != 0)
      continue;
    taken++;
    *(volatile uint64_t *)at = handle;
    if (ffa_relinquish(handle) != 0)
      at += SZ_4K;
  }
  say_count("accomplice: taken:", taken);
}
