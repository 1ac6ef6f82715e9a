/* SPDX-License-Identifier: BSD-2-Clause */
/* FF-A calls of a guest: descriptors written into TX, sent in fragments where one page is not enough, answers turned into one status. */
#include "arch/smccc.h"
#include "handover.h"

static uint8_t tx[4096] ALIGNED(4096), rx[4096] ALIGNED(4096);
static uint64_t ticks;
struct party self;

void *ffa_tx(void) {
  return tx;
}

uint64_t ffa_last_ticks(void) {
  return ticks;
}

void ffa_invoke(uint64_t x[8]) {
  static unsigned turn;
  uint64_t start = payload_ticks();
  if (self.both_conduits && ++turn % 2)
    smccc_smc8(x);
  else
    smccc_hvc8(x);
  ticks += payload_ticks() - start;
}

static int64_t status(const uint64_t x[8], uint32_t wanted) {
  if ((uint32_t)x[0] == FFA_ERROR)
    return (int32_t)x[2];
  if ((uint32_t)x[0] != wanted)
    payload_fail("unexpected answer", x[0]);
  return 0;
}

static int64_t call(uint32_t fid, uint64_t x1, uint64_t x2, uint64_t x3) {
  uint64_t x[8] = {fid, x1, x2, x3};
  ticks = 0;
  ffa_invoke(x);
  return status(x, FFA_SUCCESS_32);
}

void ffa_begin(void) {
  uint64_t x[8] = {FFA_VERSION, FFA_VERSION_1_1}, id[8] = {FFA_ID_GET};
  ffa_invoke(x);
  if (x[0] != FFA_VERSION_1_1)
    payload_fail("FFA_VERSION", x[0]);
  ffa_invoke(id);
  self.id = (uint16_t)id[2];
  if (call(FFA_FEATURES, FFA_MEM_DONATE_32, 0, 0) != 0 || call(FFA_FEATURES, FFA_MEM_FRAG_RX, 0, 0) != FFA_NOT_SUPPORTED)
    payload_fail("FFA_FEATURES", 0);
  if (call(FFA_RXTX_MAP_64, (uint64_t)tx + 8, (uint64_t)rx, 1) != FFA_INVALID_PARAMETERS)
    payload_fail("misaligned buffers taken", 0);
  int64_t s = call(FFA_RXTX_MAP_64, (uint64_t)tx, (uint64_t)rx, 1);
  if (s != 0 || call(FFA_RXTX_MAP_64, (uint64_t)tx, (uint64_t)rx, 1) != FFA_DENIED)
    payload_fail("FFA_RXTX_MAP", (uint64_t)s);
}

bool ffa_knows(uint16_t id) {
  uint64_t x[8] = {FFA_PARTITION_INFO_GET};
  bool found = false;
  ffa_invoke(x);
  if (status(x, FFA_SUCCESS_32) != 0 || x[3] != sizeof(struct ffa_partition_info))
    payload_fail("FFA_PARTITION_INFO_GET", x[2]);
  for (uint64_t i = 0; i < x[2]; i++) {
    struct ffa_partition_info p;
    __builtin_memcpy(&p, rx + i * sizeof(p), sizeof(p));
    found |= p.id == id;
  }
  if (call(FFA_RX_RELEASE, 0, 0, 0) != 0)
    payload_fail("RX_RELEASE", 0);
  return found;
}

/* Header, one access and composite; where the constituents go. */
static uint32_t write_fixed(struct ffa_transaction t, uint16_t endpoint, uint8_t permissions, uint32_t pages, uint32_t ranges) {
  struct ffa_access a = {endpoint, permissions, 0, 64, 0};
  struct ffa_composite c = {pages, ranges, 0};
  t.access_bytes = sizeof(a);
  t.access_count = 1;
  t.access_offset = sizeof(t);
  __builtin_memcpy(tx, &t, sizeof(t));
  __builtin_memcpy(tx + 48, &a, sizeof(a));
  __builtin_memcpy(tx + 64, &c, sizeof(c));
  return 80;
}

static uint32_t write_ranges(uint32_t at, const struct ffa_constituent *ranges, uint32_t *sent, uint32_t count) {
  for (; *sent < count && at + sizeof(*ranges) <= sizeof(tx); at += (uint32_t)sizeof(*ranges))
    __builtin_memcpy(tx + at, &ranges[(*sent)++], sizeof(*ranges));
  return at;
}

int64_t ffa_give(uint32_t fid, const struct ffa_constituent *ranges, uint32_t count, uint8_t permissions, uint32_t flags,
                 uint64_t *handle) {
  uint32_t pages = 0, sent = 0;
  for (uint32_t i = 0; i < count; i++)
    pages += ranges[i].pages;
  struct ffa_transaction t = {.sender = self.id, .attributes = fid == FFA_MEM_SHARE_32 ? FFA_ATTR_NORMAL_WB_INNER : 0, .flags = flags};
  uint32_t at = write_fixed(t, self.peer, permissions, pages, count), total = at + count * (uint32_t)sizeof(*ranges);
  at = write_ranges(at, ranges, &sent, count);
  uint64_t x[8] = {fid, total, at};
  ticks = 0;
  ffa_invoke(x);
  while ((uint32_t)x[0] == FFA_MEM_FRAG_RX) {
    at = write_ranges(0, ranges, &sent, count);
    x[0] = FFA_MEM_FRAG_TX;
    x[3] = at;
    ffa_invoke(x);
  }
  int64_t s = status(x, FFA_SUCCESS_32);
  if (s == 0)
    *handle = (uint32_t)x[2] | x[3] << 32;
  return s;
}

/* Without a place: the access says of no composite, and there is none. */
static uint32_t leave_place_open(void) {
  struct ffa_access a;
  __builtin_memcpy(&a, tx + 48, sizeof(a));
  a.composite_offset = 0;
  __builtin_memcpy(tx + 48, &a, sizeof(a));
  return 64;
}

int64_t ffa_retrieve(uint64_t handle, uint64_t *address, uint32_t pages, uint8_t permissions) {
  struct ffa_transaction t = {.sender = (uint16_t)(handle >> 32), .attributes = FFA_ATTR_NORMAL_WB_INNER, .handle = handle};
  struct ffa_constituent range = {*address, pages, 0};
  uint32_t sent = 0, at = write_ranges(write_fixed(t, self.id, permissions, pages, 1), &range, &sent, 1);
  if (*address == FFA_ANYWHERE)
    at = leave_place_open();
  uint64_t x[8] = {FFA_MEM_RETRIEVE_REQ_32, at, at};
  ticks = 0;
  ffa_invoke(x);
  uint64_t spent = ticks;
  int64_t s = status(x, FFA_MEM_RETRIEVE_RESP);
  if (s == 0) {
    struct ffa_constituent got;
    __builtin_memcpy(&got, rx + 80, sizeof(got));
    if (x[1] != 96 || (*address != FFA_ANYWHERE && got.address != *address) || got.pages != pages)
      payload_fail("RETRIEVE_RESP says", got.address);
    *address = got.address;
    if (call(FFA_RX_RELEASE, 0, 0, 0) != 0)
      payload_fail("RX_RELEASE", 0);
  }
  ticks = spent;
  return s;
}

int64_t ffa_relinquish(uint64_t handle, uint32_t flags) {
  struct ffa_relinquish r = {handle, flags, 1};
  __builtin_memcpy(tx, &r, sizeof(r));
  __builtin_memcpy(tx + sizeof(r), &self.id, sizeof(self.id));
  return call(FFA_MEM_RELINQUISH, 0, 0, 0);
}

int64_t ffa_reclaim(uint64_t handle, uint32_t flags) {
  return call(FFA_MEM_RECLAIM, (uint32_t)handle, handle >> 32, flags);
}
