/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hand-over between two guests. The giver shares a page as a mailbox; the taker, who can work out that first region's handle, asks for it
 * until it is there. Then the giver shares, lends and donates pages, blocks and scattered pages, with checksums over what arrives, and both
 * try what they must not.
 *
 * `role=` 1 gives, 2 takes; `conduits=2` makes calls by HVC and SMC in turn; `peer=` is the other's VM id; `bench=` 1 measures with pages,
 * 2 with blocks, 3 with both, once all RAM is there.
 */
#include "handover.h"

const char payload_complaint[] = "handover: FAIL: ";

static uint64_t word(uint64_t at, uint64_t seed) {
  uint64_t x = (at + 1) * 0x9e3779b97f4a7c15ull ^ seed << 40;
  return x ^ x >> 29;
}

/* One word in each 512 bytes, so that a block takes no longer than it must. */
#define STRIDE 64u

void fill(uint64_t address, uint64_t pages, uint64_t at_page, uint64_t seed) {
  volatile uint64_t *words = (volatile uint64_t *)address;
  for (uint64_t i = 0; i < pages * 512; i += STRIDE)
    words[i] = word(at_page * 512 + i, seed);
}

static uint64_t mix(uint64_t total, uint64_t value) {
  return (total << 1 | total >> 63) ^ value;
}

uint64_t sum(uint64_t address, uint64_t pages) {
  volatile uint64_t *words = (volatile uint64_t *)address;
  uint64_t total = 0;
  for (uint64_t i = 0; i < pages * 512; i += STRIDE)
    total = mix(total, words[i]);
  return total;
}

uint64_t sum_filled(uint64_t pages, uint64_t seed) {
  uint64_t total = 0;
  for (uint64_t i = 0; i < pages * 512; i += STRIDE)
    total = mix(total, word(i, seed));
  return total;
}

static void share_mailbox(void) {
  static uint8_t page[4096] ALIGNED(4096);
  struct ffa_constituent range = {(uint64_t)page, 1, 0};
  uint64_t handle;
  mailbox = (struct mailbox *)(void *)page;
  int64_t s = ffa_give(FFA_MEM_SHARE_32, &range, 1, FFA_DATA_RW, 0, &handle);
  if (s != 0 || handle != ((uint64_t)self.id << 32 | 1))
    payload_fail("sharing the mailbox", (uint64_t)s);
}

static void take_mailbox(void) {
  int64_t s;
  uint64_t at = self.ram_end;
  mailbox = (struct mailbox *)at;
  while ((s = ffa_retrieve((uint64_t)self.peer << 32 | 1, &at, 1, FFA_DATA_RW)) == FFA_INVALID_PARAMETERS)
    let_other_run();
  if (s != 0)
    payload_fail("taking the mailbox", (uint64_t)s);
}

void payload_main(const void *dtb) {
  struct payload_fdt fdt = payload_fdt_read(dtb);
  uint64_t measure = payload_number(fdt.bootargs, "bench", 0);
  self.ram_end = PAYLOAD_RAM_BASE + fdt.ram_bytes;
  self.peer = (uint16_t)payload_number(fdt.bootargs, "peer", 0);
  self.both_conduits = payload_number(fdt.bootargs, "conduits", 1) == 2;
  ffa_begin();
  if (payload_number(fdt.bootargs, "role", 1) == 2) {
    take_mailbox();
    obey();
  } else {
    share_mailbox();
    if (measure)
      bench(measure);
    else
      give_all_ways();
    (void)order((struct order){.op = ORDER_END});
  }
  put_str("handover: done\n");
  payload_verdict(0, 0);
  payload_off();
}
