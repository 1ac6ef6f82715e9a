/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the victim gives to the hostile guest, if it is told to: one page shared, one lent, its first two regions. They are the hostile
 * guest's to spoil, and nothing else is.
 */
#include "abi/ffa.h"
#include "arch/smccc.h"
#include "core/compiler.h"
#include "tests/qemu/payloads/victim/victim.h"

#define DESCRIPTOR_BYTES 96u

static uint8_t rx[4096] ALIGNED(4096), page[2][4096] ALIGNED(4096);

static struct {
  struct ffa_transaction t;
  struct ffa_access a;
  struct ffa_composite c;
  struct ffa_constituent range;
  uint8_t rest[4096 - DESCRIPTOR_BYTES];
} tx ALIGNED(4096) = {
    .t = {.attributes = FFA_ATTR_NORMAL_WB_INNER, .access_bytes = 16, .access_count = 1, .access_offset = 48},
    .a = {.permissions = FFA_DATA_RW, .composite_offset = 64},
    .c = {1, 1, 0},
    .range = {0, 1, 0},
};

static uint64_t call(uint64_t fid, uint64_t a1, uint64_t a2, uint64_t a3) {
  uint64_t x[8] = {fid, a1, a2, a3};
  smccc_hvc8(x);
  return x[0];
}

uint32_t victim_give(uint16_t to) {
  static const uint32_t kinds[] = {FFA_MEM_SHARE_32, FFA_MEM_LEND_32};
  uint32_t answer = (uint32_t)call(FFA_RXTX_MAP_64, (uint64_t)&tx, (uint64_t)rx, 1);
  tx.t.sender = (uint16_t)smccc_hvc(FFA_ID_GET, 0, 0, 0).x2;
  tx.a.endpoint = to;
  for (unsigned i = 0; i < 2 && answer == FFA_SUCCESS_32; i++) {
    tx.range.address = (uint64_t)page[i];
    answer = (uint32_t)call(kinds[i], DESCRIPTOR_BYTES, DESCRIPTOR_BYTES, 0);
  }
  return answer;
}
