/* SPDX-License-Identifier: BSD-2-Clause */
/* The giver's cases: every kind over pages, blocks and scattered pages, and what must be refused at each point. */
#include "handover.h"

#define PAGE 4096ull
#define BLOCK (512 * PAGE)
#define RW FFA_DATA_RW

struct region {
  const char *name;
  struct ffa_constituent *ranges;
  uint32_t count, pages;
  uint64_t at; /* in the taker's window */
};

static struct ffa_constituent scattered[600];
static uint64_t taker_window;

static void expect(const char *what, int64_t got, int64_t wanted) {
  if (got != wanted)
    payload_fail(what, (uint64_t)got);
}

static void fill_region(const struct region *r, uint64_t seed) {
  uint64_t page = 0;
  for (uint32_t i = 0; i < r->count; page += r->ranges[i++].pages)
    fill(r->ranges[i].address, r->ranges[i].pages, page, seed);
}

/* What is there is what the taker would have written with `seed`. */
static void check_region(const struct region *r, uint64_t seed) {
  static uint8_t kept[4096] ALIGNED(16);
  uint64_t page = 0;
  for (uint32_t i = 0; i < r->count; i++)
    for (uint32_t k = 0; k < r->ranges[i].pages; k++, page++) {
      fill((uint64_t)kept, 1, page, seed);
      if (sum((uint64_t)kept, 1) != sum(r->ranges[i].address + k * PAGE, 1))
        payload_fail("what came back differs in page", page);
    }
}

static int64_t taker_retrieves(const struct region *r, uint64_t handle, uint64_t permissions) {
  return order((struct order){ORDER_RETRIEVE, handle, r->at, r->pages, permissions});
}

static void taker_has(const struct region *r, uint64_t seed) {
  expect("the taker's sum", order((struct order){ORDER_SUM, 0, r->at, r->pages, 0}), (int64_t)sum_filled(r->pages, seed));
}

static void giver_is_aborted(const struct region *r, bool aborted) {
  for (uint32_t i = 0; i<r->count; i += r->count> 8 ? 97 : 1)
    if (touch(r->ranges[i].address) == aborted || touch(r->ranges[i].address + (r->ranges[i].pages - 1) * PAGE) == aborted)
      payload_fail("the giver's access to page", r->ranges[i].address);
}

static void taker_is_aborted(uint64_t address, bool write, bool aborted) {
  expect("the taker's access", order((struct order){ORDER_TOUCH, 0, address, 1, write}), aborted);
}

/* While somebody else has a region, or is about to. */
static void refuse_the_giver(const struct region *r, uint64_t handle) {
  uint64_t other;
  struct ffa_constituent last = {r->ranges[r->count - 1].address, 1, 0};
  expect("giving it twice", ffa_give(FFA_MEM_LEND_32, &last, 1, RW, 0, &other), FFA_DENIED);
  expect("donating what is under way", ffa_give(FFA_MEM_DONATE_32, r->ranges, r->count, 0, 0, &other), FFA_DENIED);
  expect("reclaiming what is borrowed", ffa_reclaim(handle, 0), FFA_DENIED);
}

static void refuse_the_taker(const struct region *r, uint64_t handle) {
  expect("retrieving twice", taker_retrieves(r, handle, RW), FFA_DENIED);
  expect("sharing what is borrowed", order((struct order){ORDER_GIVE, 0, r->at, 1, 0}), FFA_DENIED);
}

static void lend_or_share(const struct region *r, uint32_t fid, uint64_t seed) {
  uint64_t handle = 0;
  bool lent = fid == FFA_MEM_LEND_32;
  fill_region(r, seed);
  expect("giving", ffa_give(fid, r->ranges, r->count, RW, 0, &handle), 0);
  giver_is_aborted(r, lent);
  taker_is_aborted(r->at, false, true);
  expect("execution asked for by name", taker_retrieves(r, handle, RW | FFA_INSTRUCTION_X), lent ? 0 : FFA_DENIED);
  if (!lent)
    expect("retrieving", taker_retrieves(r, handle, RW), 0);
  taker_has(r, seed);
  refuse_the_giver(r, handle);
  refuse_the_taker(r, handle);
  expect("the taker writes", order((struct order){ORDER_FILL, seed + 1, r->at, r->pages, 0}), 0);
  if (!lent)
    check_region(r, seed + 1);
  expect("relinquishing", order((struct order){ORDER_RELINQUISH, handle, 0, 0, 0}), 0);
  expect("relinquishing twice", order((struct order){ORDER_RELINQUISH, handle, 0, 0, 0}), FFA_INVALID_PARAMETERS);
  taker_is_aborted(r->at, true, true);
  giver_is_aborted(r, lent);
  expect("reclaiming", ffa_reclaim(handle, 0), 0);
  expect("reclaiming twice", ffa_reclaim(handle, 0), FFA_INVALID_PARAMETERS);
  giver_is_aborted(r, false);
  check_region(r, seed + 1);
}

/* Read-only, and zeroed on the way; never retrieved at all. */
static void rarer_ways(const struct region *r) {
  uint64_t handle = 0;
  fill_region(r, 50);
  expect("giving to read", ffa_give(FFA_MEM_SHARE_32, r->ranges, r->count, FFA_DATA_RO, 0, &handle), 0);
  expect("more than was given", taker_retrieves(r, handle, RW), FFA_DENIED);
  expect("reading", taker_retrieves(r, handle, FFA_DATA_RO), 0);
  taker_is_aborted(r->at, true, true);
  taker_has(r, 50);
  expect("relinquishing", order((struct order){ORDER_RELINQUISH, handle, 0, 0, 0}), 0);
  expect("reclaiming", ffa_reclaim(handle, 0), 0);
  expect("zeroing what is shared", ffa_give(FFA_MEM_SHARE_32, r->ranges, r->count, RW, FFA_FLAG_ZERO, &handle), FFA_INVALID_PARAMETERS);
  expect("lending zeroed", ffa_give(FFA_MEM_LEND_32, r->ranges, r->count, RW, FFA_FLAG_ZERO, &handle), 0);
  expect("taking zeroes", taker_retrieves(r, handle, RW), 0);
  expect("zeroes", order((struct order){ORDER_SUM, 0, r->at, r->pages, 0}), 0);
  expect("the taker writes", order((struct order){ORDER_FILL, 51, r->at, r->pages, 0}), 0);
  expect("relinquishing", order((struct order){ORDER_RELINQUISH, handle, 0, 0, 0}), 0);
  expect("reclaiming zeroed", ffa_reclaim(handle, FFA_FLAG_ZERO), 0);
  expect("zeroes again", (int64_t)sum(r->ranges[0].address, r->ranges[0].pages), 0);
  expect("donating", ffa_give(FFA_MEM_DONATE_32, r->ranges, r->count, 0, 0, &handle), 0);
  giver_is_aborted(r, true);
  expect("changing one's mind", ffa_reclaim(handle, 0), 0);
  giver_is_aborted(r, false);
  expect("retrieving what is no more", taker_retrieves(r, handle, RW), FFA_INVALID_PARAMETERS);
}

/* To where the hypervisor finds room, as blocks if that can be; and zeroed when the taker lets go. */
static void left_to_the_hypervisor(const struct region *r) {
  uint64_t handle = 0, align = r->pages >= 512 ? BLOCK : PAGE;
  struct region there = *r;
  fill_region(r, 60);
  expect("lending", ffa_give(FFA_MEM_LEND_32, r->ranges, r->count, RW, 0, &handle), 0);
  expect("taking it anywhere", order((struct order){ORDER_RETRIEVE, handle, FFA_ANYWHERE, r->pages, RW}), 0);
  there.at = mailbox->place;
  if (there.at % align != 0 || there.at < taker_window + PAGE)
    payload_fail("it is at", there.at);
  taker_has(&there, 60);
  expect("relinquishing it zeroed", order((struct order){ORDER_RELINQUISH, handle, 0, 0, FFA_FLAG_ZERO}), 0);
  expect("reclaiming", ffa_reclaim(handle, 0), 0);
  for (uint32_t i = 0; i < r->count; i++)
    expect("zeroes that come back", (int64_t)sum(r->ranges[i].address, r->ranges[i].pages), 0);
  expect("sharing", ffa_give(FFA_MEM_SHARE_32, r->ranges, r->count, RW, 0, &handle), 0);
  expect("taking it anywhere", order((struct order){ORDER_RETRIEVE, handle, FFA_ANYWHERE, r->pages, RW}), 0);
  expect("zeroing what is shared", order((struct order){ORDER_RELINQUISH, handle, 0, 0, FFA_FLAG_ZERO}), FFA_DENIED);
  expect("relinquishing", order((struct order){ORDER_RELINQUISH, handle, 0, 0, 0}), 0);
  expect("reclaiming", ffa_reclaim(handle, 0), 0);
}

static void donate(const struct region *r, uint64_t seed) {
  uint64_t handle = 0, gone;
  fill_region(r, seed);
  expect("donating", ffa_give(FFA_MEM_DONATE_32, r->ranges, r->count, 0, 0, &handle), 0);
  expect("outside the window", order((struct order){ORDER_RETRIEVE, handle, PAYLOAD_RAM_BASE, r->pages, RW}), FFA_INVALID_PARAMETERS);
  expect("onto the mailbox", order((struct order){ORDER_RETRIEVE, handle, taker_window, r->pages, RW}), FFA_DENIED);
  expect("more than it is", order((struct order){ORDER_RETRIEVE, handle, r->at, r->pages + 1, RW}), FFA_INVALID_PARAMETERS);
  expect("taking", taker_retrieves(r, handle, RW | FFA_INSTRUCTION_X), 0);
  giver_is_aborted(r, true);
  taker_has(r, seed);
  expect("reclaiming a donation", ffa_reclaim(handle, 0), FFA_INVALID_PARAMETERS);
  expect("relinquishing a donation", order((struct order){ORDER_RELINQUISH, handle, 0, 0, 0}), FFA_INVALID_PARAMETERS);
  expect("giving it again", ffa_give(FFA_MEM_SHARE_32, r->ranges, 1, RW, 0, &gone), FFA_DENIED);
  expect("the taker gives it on", order((struct order){ORDER_GIVE, 0, r->at, 1, 0}), 0);
}

static void refuse_nonsense(void) {
  uint64_t handle;
  struct ffa_constituent wild[] = {
      {0x09000000, 1, 0}, {self.ram_end, 1, 0}, {self.ram_end - PAGE, 2, 0}, {~0xfffull, 1, 0}, {PAYLOAD_RAM_BASE + 8, 1, 0}};
  for (unsigned i = 0; i < ARRAY_SIZE(wild); i++) {
    int64_t s = ffa_give(FFA_MEM_LEND_32, &wild[i], 1, RW, 0, &handle);
    if (s != FFA_INVALID_PARAMETERS && s != FFA_DENIED)
      payload_fail("wild memory was taken", wild[i].address);
  }
  struct ffa_constituent twice[] = {{PAYLOAD_RAM_BASE + 20 * BLOCK, 4, 0}, {PAYLOAD_RAM_BASE + 20 * BLOCK + 3 * PAGE, 1, 0}};
  expect("one page twice in a region", ffa_give(FFA_MEM_SHARE_32, twice, 2, RW, 0, &handle), FFA_DENIED);
  expect("it is as before", ffa_give(FFA_MEM_SHARE_32, twice, 1, RW, 0, &handle), 0);
  expect("and comes back", ffa_reclaim(handle, 0), 0);
  expect("a handle of nobody's", ffa_reclaim(0x7777, 0), FFA_INVALID_PARAMETERS);
}

static void all_ways(const struct region *r) {
  put_str("handover: ");
  put_str(r->name);
  put_char('\n');
  lend_or_share(r, FFA_MEM_SHARE_32, 10);
  lend_or_share(r, FFA_MEM_LEND_32, 20);
  rarer_ways(r);
  left_to_the_hypervisor(r);
  donate(r, 30);
  if (sum(self.ram_end - BLOCK, 1) != sum_filled(1, 99))
    payload_fail("the giver's own memory", 0);
}

void give_all_ways(void) {
  uint64_t from = PAYLOAD_RAM_BASE + 8 * BLOCK;
  struct ffa_constituent block[] = {{from, 1024, 0}}, odd[] = {{from + 2 * BLOCK + 5 * PAGE, 700, 0}}, page[] = {{from + 4 * BLOCK, 1, 0}};
  taker_window = self.ram_end; /* both have as much RAM */
  fill(self.ram_end - BLOCK, 1, 0, 99);
  for (unsigned i = 0; i < ARRAY_SIZE(scattered); i++)
    scattered[i] = (struct ffa_constituent){from + 6 * BLOCK + 2 * i * PAGE, 1, 0};
  if (!ffa_knows(self.id) || !ffa_knows(self.peer) || ffa_knows(31))
    payload_fail("partitions", self.peer);
  refuse_nonsense();
  all_ways(&(struct region){"two blocks as blocks", block, 1, 1024, taker_window + BLOCK});
  all_ways(&(struct region){"pages cut out of blocks", odd, 1, 700, taker_window + 4 * BLOCK + PAGE});
  all_ways(&(struct region){"one page", page, 1, 1, taker_window + 6 * BLOCK});
  all_ways(&(struct region){"600 pages here and there, in fragments", scattered, 600, 600, taker_window + 7 * BLOCK});
  block[0].address = from + 16 * BLOCK;
  all_ways(&(struct region){"blocks to where no block can be", block, 1, 1024, taker_window + 10 * BLOCK + 3 * PAGE});
}
