/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What must become of a page, whatever is said of it: what was given or reported reads as zero, and not as before nor as anybody else's
 * data; what lies beside it, what was only taken back, and what is two parties' (shared or lent by FF-A, in whatever way it is named)
 * keeps its contents.
 */
#include "arch/smccc.h"
#include "hostile_balloon.h"
#include "hostile_ffa.h"

#define MARK 0x0123456789abcdefull /* neither a page nor a range of ours, if a message is read there */
#define PAGES_PER_BLOCK (SZ_2M / SZ_4K)

static uint64_t block; /* the first of the playground: what is judged lies there */

static volatile uint64_t *word_of(uint64_t page) {
  return (volatile uint64_t *)(block + page * SZ_4K + 8);
}

static void mark_block(void) {
  for (uint64_t i = 0; i < PAGES_PER_BLOCK; i++)
    *word_of(i) = MARK + i;
}

/* Pages [from, to) are gone, all others are there. */
static void expect_gone(const char *what, uint64_t from, uint64_t to) {
  for (uint64_t i = 0; i < PAGES_PER_BLOCK; i++)
    if (*word_of(i) != (from <= i && i < to ? 0 : MARK + i))
      payload_fail(what, i);
}

static void offer_page(unsigned q, uint64_t at) {
  for (unsigned i = 0; i < 2; i++)
    ((volatile uint32_t *)BALLOON_MESSAGES)[i] = (uint32_t)(at >> 12);
  balloon_offer(q, BALLOON_MESSAGES, 8, false);
}

/* Given twice in one message, touched while it is inside, taken back twice. */
static void pages(void) {
  uint64_t n = random_below(PAGES_PER_BLOCK);
  balloon_begin(BALLOON_ALL);
  mark_block();
  for (unsigned round = 0; round < 2; round++) {
    offer_page(BALLOON_QUEUE_INFLATE, block + n * SZ_4K);
    expect_gone("a page that was given", n, n + 1);
    *word_of(n) = MARK + n;
    for (unsigned i = 0; i < 2; i++)
      offer_page(BALLOON_QUEUE_DEFLATE, block + n * SZ_4K);
    expect_gone("a page that was taken back", 0, 0);
  }
  offer_page(BALLOON_QUEUE_DEFLATE, block + (n ^ 1) * SZ_4K);
  expect_gone("a page that was taken back and never given", 0, 0);
}

/* A range within the block, then all of it; then what is no range. */
static void ranges(void) {
  static const uint64_t wild[] = {0, 1, SZ_4K - 1, SZ_2M + 8, ~(uint64_t)0, ~(uint64_t)0 << 12, BIT(63), SZ_1G};
  uint64_t from = random_below(PAGES_PER_BLOCK), to = from + 1 + random_below(PAGES_PER_BLOCK - from), at = block + from * SZ_4K;
  balloon_begin(BALLOON_ALL | BALLOON_RANGES);
  balloon_offer_range(BALLOON_QUEUE_INFLATE, block, SZ_2M);
  mark_block();
  for (unsigned i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
    balloon_offer_range(i % 2, at, wild[i]);
  balloon_offer_range(BALLOON_QUEUE_INFLATE, at, SZ_4K - at); /* round the end of the address space, to the first page */
  balloon_offer_range(BALLOON_QUEUE_INFLATE, at + 8, SZ_4K);
  balloon_offer_range(BALLOON_QUEUE_INFLATE, PAYLOAD_RAM_BASE - SZ_4K, block + SZ_2M - PAYLOAD_RAM_BASE + SZ_4K);
  expect_gone("what is no range", 0, 0);
  balloon_offer_range(BALLOON_QUEUE_INFLATE, at, (to - from) * SZ_4K);
  expect_gone("a range of pages", from, to);
  balloon_offer_range(BALLOON_QUEUE_DEFLATE, block, SZ_2M);
  expect_gone("a range that was taken back", from, to);
  if (balloon_needs_reset())
    payload_fail("ranges were refused", 0);
}

static uint32_t gone_after_report(uint64_t features, uint64_t poison) {
  balloon_begin(features);
  mmio_write32(balloon_window(), VIRTIO_MMIO_CONFIG + offsetof(struct virtio_balloon_config, poison_val), (uint32_t)poison);
  mark_block();
  balloon_offer(BALLOON_QUEUE_REPORTING, block + SZ_4K + 16, 3 * SZ_4K, true);
  return *word_of(2) == 0;
}

/*
 * Of pages that are named in part nothing is taken; nor of anything that the guest says it fills with a value other than zero, or does
 * not let the device write.
 */
static void reports(void) {
  if (!gone_after_report(BALLOON_ALL, 0))
    payload_fail("a page that was reported", 2);
  expect_gone("what lies around a report", 2, 4);
  if (!gone_after_report(BALLOON_ALL | BALLOON_POISON, 0) || gone_after_report(BALLOON_ALL | BALLOON_POISON, wild_value() | 1))
    payload_fail("a page that was reported with a poison", 2);
  mark_block();
  balloon_begin(BALLOON_ALL);
  balloon_offer(BALLOON_QUEUE_REPORTING, block, SZ_2M, false);
  expect_gone("a report that is read-only", 0, 0);
}

/* The rings and the message vanish under the device: the index is then behind what it has served, and a reset ends it. */
static void give_the_rings(void) {
  balloon_begin(BALLOON_ALL);
  for (unsigned q = 0; q < BALLOON_QUEUES; q++)
    ((volatile uint32_t *)BALLOON_MESSAGES)[q] = (uint32_t)((uint64_t)balloon_rings_of(q) >> 12);
  ((volatile uint32_t *)BALLOON_MESSAGES)[BALLOON_QUEUES] = (uint32_t)(BALLOON_MESSAGES >> 12);
  balloon_offer(BALLOON_QUEUE_INFLATE, BALLOON_MESSAGES, (BALLOON_QUEUES + 1) * 4, false);
  if (*(volatile uint32_t *)BALLOON_MESSAGES != 0)
    payload_fail("a message that was given", 0);
  balloon_put(VIRTIO_MMIO_QUEUE_NOTIFY, BALLOON_QUEUE_INFLATE);
  if (!balloon_needs_reset())
    payload_fail("rings that were given", 0);
}

/* --- what is two parties' ----------------------------------------------------------------------------------------------------- */

static void name_in_every_way(uint64_t page) {
  balloon_begin(BALLOON_ALL);
  offer_page(BALLOON_QUEUE_INFLATE, page);
  balloon_offer(BALLOON_QUEUE_REPORTING, page, SZ_4K, true);
  balloon_begin(BALLOON_ALL | BALLOON_RANGES);
  balloon_offer_range(BALLOON_QUEUE_INFLATE, page, SZ_4K);
  balloon_offer_range(BALLOON_QUEUE_INFLATE, block, SZ_2M);
  offer_page(BALLOON_QUEUE_DEFLATE, page);
}

/* It is given to the victim, who does not know. Whatever is done to it here, it comes back as it went. */
static void two_parties(uint32_t kind) {
  uint64_t n = 1 + random_below(PAGES_PER_BLOCK - 2), handle = 0;
  mark_block();
  if (ffa_give(kind, block + n * SZ_4K, hostile_victim, &handle) != 0)
    payload_fail("a page could not be given to the victim", kind);
  name_in_every_way(block + n * SZ_4K);
  if (ffa_reclaim(handle) != 0)
    payload_fail("a page could not be taken back from the victim", kind);
  if (*word_of(n) != MARK + n || *word_of(n - 1) != 0 || *word_of(n + 1) != 0)
    payload_fail("a page that is the victim's, too", n);
}

static void shared_pages(void) {
  static const uint32_t kinds[] = {FFA_MEM_SHARE_32, FFA_MEM_LEND_32, FFA_MEM_DONATE_32};
  uint64_t id[8] = {FFA_ID_GET};
  smccc_hvc8(id);
  self_id = (uint16_t)id[2];
  if (ffa_map_buffers() != 0)
    payload_fail("no FF-A", self_id);
  for (unsigned i = 0; i < 3; i++)
    two_parties(kinds[i]);
  (void)ffa_call(FFA_RXTX_UNMAP, 0, 0, 0);
}

void balloon_judge(void) {
  block = BALLOON_PLAYGROUND;
  pages();
  ranges();
  reports();
  give_the_rings();
  if (hostile_victim)
    shared_pages();
}
