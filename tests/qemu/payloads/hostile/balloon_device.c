/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The balloon's rings, as a driver of one descriptor at a time would have them; and each rule of the rings broken in each of the
 * balloon's queues, which must end in DEVICE_NEEDS_RESET with a configuration interrupt, and be over after a reset.
 */
#include "hostile_balloon.h"

#define SLOTS 8u

static unsigned slot;

volatile void *balloon_window(void) {
  return (volatile void *)(0x0a000000ull + slot * 0x200);
}

bool balloon_find(void) {
  for (slot = 0; slot < SLOTS; slot++)
    if (mmio_read32(balloon_window(), VIRTIO_MMIO_DEVICE_ID) == VIRTIO_ID_BALLOON)
      return true;
  return false;
}

void balloon_put(uint64_t reg, uint32_t value) {
  mmio_write32(balloon_window(), reg, value);
}

static void put_address(uint64_t reg, uint64_t address) {
  balloon_put(reg, (uint32_t)address);
  balloon_put(reg + 4, (uint32_t)(address >> 32));
}

bool balloon_needs_reset(void) {
  return mmio_read32(balloon_window(), VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET;
}

bool balloon_is_live(void) {
  return (mmio_read32(balloon_window(), VIRTIO_MMIO_STATUS) & (VIRTIO_STATUS_NEEDS_RESET | VIRTIO_STATUS_DRIVER_OK)) ==
         VIRTIO_STATUS_DRIVER_OK;
}

struct balloon_rings *balloon_rings_of(unsigned q) {
  return (struct balloon_rings *)(machine.scratch + q * BALLOON_RING_BYTES);
}

static void set_queue(unsigned q) {
  struct balloon_rings *r = balloon_rings_of(q);
  for (unsigned i = 0; i < sizeof(*r) / 8; i++)
    ((volatile uint64_t *)r)[i] = 0;
  balloon_put(VIRTIO_MMIO_QUEUE_SEL, q);
  balloon_put(VIRTIO_MMIO_QUEUE_NUM, BALLOON_NUM);
  put_address(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint64_t)r->desc);
  put_address(VIRTIO_MMIO_QUEUE_DRIVER_LOW, (uint64_t)r->avail);
  put_address(VIRTIO_MMIO_QUEUE_DEVICE_LOW, (uint64_t)r->used);
  balloon_put(VIRTIO_MMIO_QUEUE_READY, 1);
}

void balloon_begin(uint64_t features) {
  uint32_t status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
  features |= BIT(VIRTIO_F_VERSION_1);
  balloon_put(VIRTIO_MMIO_STATUS, 0);
  balloon_put(VIRTIO_MMIO_STATUS, status);
  for (unsigned i = 0; i < 2; i++) {
    balloon_put(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
    balloon_put(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * i));
  }
  balloon_put(VIRTIO_MMIO_STATUS, status |= VIRTIO_STATUS_FEATURES_OK);
  for (unsigned q = 0; q < BALLOON_QUEUES; q++)
    set_queue(q);
  balloon_put(VIRTIO_MMIO_STATUS, status | VIRTIO_STATUS_DRIVER_OK);
  dsb(sy);
}

void balloon_offer(unsigned q, uint64_t at, uint32_t bytes, bool writable) {
  struct balloon_rings *r = balloon_rings_of(q);
  r->desc[0] = (struct virtq_desc){at, bytes, writable ? VIRTQ_DESC_F_WRITE : 0, 0};
  r->avail[2 + r->avail[1] % BALLOON_NUM] = 0;
  dsb(sy);
  r->avail[1]++;
  dsb(sy);
  balloon_put(VIRTIO_MMIO_QUEUE_NOTIFY, q);
}

void balloon_offer_range(unsigned q, uint64_t at, uint64_t bytes) {
  *(volatile struct balloon_range *)BALLOON_MESSAGES = (struct balloon_range){at, bytes};
  balloon_offer(q, BALLOON_MESSAGES, sizeof(struct balloon_range), false);
}

/* --- one rule at a time ------------------------------------------------------------------------------------------------------- */

/* `idx` chains are said to be there, all with this head. Descriptor 1 is an indirect table of one entry that refers to itself. */
static const struct {
  const char *what;
  struct virtq_desc desc;
  uint16_t head, idx;
} bad[] = {
    {"a loop", {PAYLOAD_RAM_BASE, 16, VIRTQ_DESC_F_NEXT, 0}, 0, 1},
    {"a chain that leaves the table", {PAYLOAD_RAM_BASE, 16, VIRTQ_DESC_F_NEXT, BALLOON_NUM}, 0, 1},
    {"a buffer at address 0", {0, 16, 0, 0}, 0, 1},
    {"a buffer over the end of the address space", {~(uint64_t)15, 32, 0, 0}, 0, 1},
    {"a wild length", {PAYLOAD_RAM_BASE, ~0u, VIRTQ_DESC_F_WRITE, 0}, 0, 1},
    {"an empty buffer", {PAYLOAD_RAM_BASE, 0, 0, 0}, 0, 1},
    {"a table in the interrupt controller", {0x08000000, 64, VIRTQ_DESC_F_INDIRECT, 0}, 0, 1},
    {"half an entry", {PAYLOAD_RAM_BASE, 24, VIRTQ_DESC_F_INDIRECT, 0}, 0, 1},
    {"a table that loops", {0, 0, 0, 0}, 1, 1},
    {"a head that is none", {PAYLOAD_RAM_BASE, 16, 0, 0}, BALLOON_NUM, 1},
    {"an index that jumps", {PAYLOAD_RAM_BASE, 16, 0, 0}, 0, BALLOON_NUM + 1},
};
#define BAD (sizeof(bad) / sizeof(bad[0]))

static bool is_refused(void) {
  uint32_t cause = mmio_read32(balloon_window(), VIRTIO_MMIO_INTERRUPT_STATUS);
  bool asks = balloon_needs_reset() && (cause & VIRTIO_INTERRUPT_CONFIG);
  balloon_put(VIRTIO_MMIO_STATUS, 0);
  return asks && mmio_read32(balloon_window(), VIRTIO_MMIO_STATUS) == 0;
}

static void break_rule(unsigned q, unsigned which) {
  balloon_begin(BALLOON_ALL);
  struct balloon_rings *r = balloon_rings_of(q);
  struct virtq_desc *table = (struct virtq_desc *)BALLOON_MESSAGES;
  *table = (struct virtq_desc){BALLOON_PLAYGROUND, 16, VIRTQ_DESC_F_NEXT, 0};
  r->desc[0] = bad[which].desc;
  r->desc[1] = (struct virtq_desc){(uint64_t)table, sizeof(*table), VIRTQ_DESC_F_INDIRECT, 0};
  r->avail[2] = bad[which].head;
  r->avail[1] = bad[which].idx;
  dsb(sy);
  balloon_put(VIRTIO_MMIO_QUEUE_NOTIFY, q);
  if (!is_refused())
    payload_fail(bad[which].what, q);
}

/*
 * The device keeps a buffer of statistics until it has a question, so its descriptor cannot come again; and an index that runs back is
 * one that jumps.
 */
static void reuse(void) {
  struct balloon_rings *r = balloon_rings_of(BALLOON_QUEUE_STATS);
  balloon_begin(BALLOON_ALL);
  r->avail[1]++;
  balloon_offer(BALLOON_QUEUE_STATS, BALLOON_STATS_AREA, 10, false);
  if (!is_refused())
    payload_fail("a descriptor that is in use", 0);
  balloon_begin(BALLOON_ALL);
  balloon_offer(BALLOON_QUEUE_INFLATE, BALLOON_PLAYGROUND, 4, false);
  if (balloon_needs_reset())
    payload_fail("a page that is none is passed over", 0);
  balloon_rings_of(BALLOON_QUEUE_INFLATE)->avail[1] = 0;
  dsb(sy);
  balloon_put(VIRTIO_MMIO_QUEUE_NOTIFY, BALLOON_QUEUE_INFLATE);
  if (!is_refused())
    payload_fail("an index that runs back", 0);
}

void balloon_break_rules(void) {
  for (unsigned q = 0; q < BALLOON_QUEUES; q++)
    for (unsigned i = 0; i < BAD; i++)
      break_rule(q, i);
  reuse();
  say_count("broken rings refused with DEVICE_NEEDS_RESET:", BALLOON_QUEUES * BAD + 2);
}
