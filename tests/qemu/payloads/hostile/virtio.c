/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtio devices with a driver that means ill: rings that break the rules one by one, each of which must end in DEVICE_NEEDS_RESET and be
 * over after a reset; then rings, indices and registers full of anything. Only under Sluice, and only for slots that have a device.
 */
#include "abi/virtio.h"
#include "arch/mmio.h"
#include "hostile.h"

#define SLOTS 8u
#define NUM 16u
#define RANDOM_TRIES 300u

struct rings {
  struct virtq_desc desc[NUM];
  uint16_t avail[4 + NUM];
  uint32_t used[4 + 2 * NUM];
};

static struct rings *rings(void) {
  return (struct rings *)machine.scratch;
}

static volatile void *window(unsigned slot) {
  return (volatile void *)(0x0a000000ull + slot * 0x200);
}

static void put(unsigned slot, uint64_t reg, uint32_t value) {
  mmio_write32(window(slot), reg, value);
}

static uint32_t status(unsigned slot) {
  return mmio_read32(window(slot), VIRTIO_MMIO_STATUS);
}

static void put_address(unsigned slot, uint64_t reg, uint64_t address) {
  put(slot, reg, (uint32_t)address);
  put(slot, reg + 4, (uint32_t)(address >> 32));
}

static void begin(unsigned slot) {
  put(slot, VIRTIO_MMIO_STATUS, 0);
  put(slot, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
  put(slot, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
  put(slot, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)BIT(VIRTIO_F_INDIRECT_DESC));
  put(slot, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
  put(slot, VIRTIO_MMIO_DRIVER_FEATURES, 1);
  put(slot, VIRTIO_MMIO_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
}

static void set_queue(unsigned slot, unsigned queue, uint64_t desc, uint64_t avail, uint64_t used) {
  put(slot, VIRTIO_MMIO_QUEUE_SEL, queue);
  put(slot, VIRTIO_MMIO_QUEUE_NUM, NUM);
  put_address(slot, VIRTIO_MMIO_QUEUE_DESC_LOW, desc);
  put_address(slot, VIRTIO_MMIO_QUEUE_DRIVER_LOW, avail);
  put_address(slot, VIRTIO_MMIO_QUEUE_DEVICE_LOW, used);
  put(slot, VIRTIO_MMIO_QUEUE_READY, 1);
}

static void go(unsigned slot) {
  put(slot, VIRTIO_MMIO_STATUS, status(slot) | VIRTIO_STATUS_DRIVER_OK);
  dsb(sy);
}

/* --- one rule at a time ----------------------------------------------------------------------------------------------------- */

static const struct {
  const char *what;
  struct virtq_desc desc;
  uint16_t head, idx;
} bad[] = {
    {"a loop", {PAYLOAD_RAM_BASE, 16, VIRTQ_DESC_F_NEXT, 0}, 0, 1},
    {"a buffer at address 0", {0, 16, 0, 0}, 0, 1},
    {"a buffer over the end of the address space", {~(uint64_t)15, 32, 0, 0}, 0, 1},
    {"a wild length", {PAYLOAD_RAM_BASE, ~0u, VIRTQ_DESC_F_WRITE, 0}, 0, 1},
    {"an empty buffer", {PAYLOAD_RAM_BASE, 0, 0, 0}, 0, 1},
    {"a table in the interrupt controller", {0x08000000, 64, VIRTQ_DESC_F_INDIRECT, 0}, 0, 1},
    {"half an entry", {PAYLOAD_RAM_BASE, 24, VIRTQ_DESC_F_INDIRECT, 0}, 0, 1},
    {"a head that is none", {PAYLOAD_RAM_BASE, 16, 0, 0}, NUM, 1},
    {"an index that jumps", {PAYLOAD_RAM_BASE, 16, 0, 0}, 0, NUM + 1},
};

/* Queue 0 of rng, queue 1 of the console (what goes out): the ones that look at their ring at once. */
static unsigned eager_queue(unsigned slot) {
  return mmio_read32(window(slot), VIRTIO_MMIO_DEVICE_ID) == VIRTIO_ID_CONSOLE ? VIRTIO_CONSOLE_QUEUE_TX : 0;
}

static void clear_rings(void) {
  for (unsigned i = 0; i < sizeof(struct rings) / 8; i++)
    ((volatile uint64_t *)rings())[i] = 0;
}

static bool is_refused(unsigned slot, unsigned which) {
  struct rings *r = rings();
  clear_rings();
  begin(slot);
  set_queue(slot, eager_queue(slot), (uint64_t)r->desc, (uint64_t)r->avail, (uint64_t)r->used);
  r->desc[0] = bad[which].desc;
  r->avail[2] = bad[which].head;
  r->avail[1] = bad[which].idx;
  go(slot);
  put(slot, VIRTIO_MMIO_QUEUE_NOTIFY, eager_queue(slot));
  bool asks =
      (status(slot) & VIRTIO_STATUS_NEEDS_RESET) && (mmio_read32(window(slot), VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_INTERRUPT_CONFIG);
  put(slot, VIRTIO_MMIO_STATUS, 0);
  return asks && status(slot) == 0;
}

static void must_be_refused(unsigned slot) {
  unsigned refused = 0;
  for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    if (is_refused(slot, i)) {
      refused++;
      continue;
    }
    put_str("hostile:   virtio: not refused: ");
    put_str(bad[i].what);
    put_char('\n');
    payload_verdict(1, i);
    payload_off();
  }
  say_count("broken rings refused with DEVICE_NEEDS_RESET:", refused);
}

/* --- anything --------------------------------------------------------------------------------------------------------------- */

static uint64_t some_ram(void) {
  return machine.scratch + random_below(SZ_2M - SZ_4K);
}

static void random_rings(void) {
  struct rings *r = rings();
  for (unsigned i = 0; i < sizeof(*r) / 8; i++)
    ((volatile uint64_t *)r)[i] = random_below(4) ? random64() & 0xffff001f : wild_value();
  for (unsigned i = 0; i < NUM; i++)
    if (random_below(2))
      r->desc[i] =
          (struct virtq_desc){some_ram(), (uint32_t)random_below(5000), (uint16_t)random_below(8), (uint16_t)random_below(NUM + 1)};
  for (unsigned i = 2; i < 2 + NUM; i++)
    if (random_below(4))
      r->avail[i] = (uint16_t)random_below(NUM);
  r->avail[1] = (uint16_t)random_below(NUM + 2);
}

/* The console's output is only noise to whoever reads along: it gets rings less often, and registers as often. */
static unsigned one_try(unsigned slot) {
  struct rings *r = rings();
  uint64_t where = random_below(8) ? (uint64_t)r->used : wild_value();
  begin(slot);
  random_rings();
  set_queue(slot, (unsigned)random_below(2), (uint64_t)r->desc, (uint64_t)r->avail, where);
  go(slot);
  for (unsigned i = 0; i < 4; i++) {
    put(slot, VIRTIO_MMIO_QUEUE_NOTIFY, (uint32_t)random_below(3));
    r->avail[1] = (uint16_t)(r->avail[1] + random_below(3));
    if (random_below(4) == 0)
      put(slot, random_below(0x200 / 4) * 4, (uint32_t)wild_value());
  }
  return (status(slot) & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

static void attack(unsigned slot) {
  unsigned broken = 0, tries = eager_queue(slot) ? RANDOM_TRIES / 10 : RANDOM_TRIES;
  must_be_refused(slot);
  for (unsigned i = 0; i < tries; i++)
    broken += one_try(slot);
  put(slot, VIRTIO_MMIO_STATUS, 0);
  say_count("random rings that ended in DEVICE_NEEDS_RESET:", broken);
}

static bool is_ours(uint32_t device_id) {
  return device_id == VIRTIO_ID_CONSOLE || device_id == VIRTIO_ID_RNG;
}

void stage_virtio(void) {
  for (unsigned slot = 0; machine.sluice && slot < SLOTS; slot++)
    if (is_ours(mmio_read32(window(slot), VIRTIO_MMIO_DEVICE_ID)))
      attack(slot);
}
