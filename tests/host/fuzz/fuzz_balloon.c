/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that writes whatever it likes into its RAM and the registers of its balloon: rings, page numbers, ranges, reports and statistics.
 * The device may end in DEVICE_NEEDS_RESET, and nothing else may come of it. Each line of the input is an operation of 8 bytes; see `op`.
 *
 * The release of memory is played (reclaim_pages, reclaim_ranges): it looks at what it is handed and takes as much of it as the input says.
 * After every operation the device's own count of what is inside must be what its map holds, no lock is held, and its work is bounded.
 */
// sources: hyp/dev/virtio/balloon.c hyp/dev/virtio/balloon_pages.c hyp/dev/virtio/virtqueue.c hyp/dev/virtio/device.c hyp/dev/virtio/mmio.c
// sources: tests/host/virtio_world.c tests/host/port/port_host.c
// cflags: -include tests/host/fakehw/ctl_fake.h
#include "abi/virtio.h"
#include "core/bits.h"
#include "core/check.h"
#include "hyp/dev/virtio/balloon.h"
#include "hyp/dev/virtio/balloon_priv.h"
#include "hyp/mem/balloon_target.h"
#include "mm/page_alloc.h"
#include "mm/port.h"
#include "virtio_world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned appetite; /* how much of what it is handed the release takes at once */

/* ---- around the device ---- */

static uint64_t now;

uint64_t time_now(void) {
  return now += 1000;
}
uint64_t time_from_ms(uint64_t ms) {
  return ms * 62500;
}
uint64_t time_to_us(uint64_t ticks) {
  return ticks * 2 / 125;
}

err_t page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out) {
  CHECK(order == 0 && flags & ALLOC_ZERO);
  *out = pfn(port_host_ram_base);
  memset(port_frame_ptr(*out), 0, PAGE_SIZE);
  return ERR_OK;
}

void page_free(pfn_t f, unsigned order) {
  CHECK(f.v == port_host_ram_base && order == 0);
}

void frame_set_state(pfn_t f, unsigned order, enum frame_state state, owner_t owner, uint64_t rmap) {
  CHECK(f.v == port_host_ram_base && order == 0 && state == FRAME_CORE && owner == world.vm.id && rmap == 0);
}

/* ---- the release ---- */

unsigned reclaim_pages(struct stage2 *s2, unsigned count, const uint64_t *ipas, struct reclaim_sum *sum) {
  CHECK(s2 == &world.vm.s2 && count > 0 && count <= RECLAIM_PAGES);
  unsigned taken = appetite == 0 || appetite > count ? count : appetite;
  for (unsigned i = 0; i < taken; i++)
    *(ipas[i] - WORLD_RAM_BASE < WORLD_RAM_BYTES ? &sum->released : &sum->outside) += 1;
  return taken;
}

bool reclaim_ranges(struct stage2 *s2, unsigned count, const struct reclaim_range *ranges, uint64_t *done, struct reclaim_sum *sum) {
  uint64_t all = 0;
  CHECK(s2 == &world.vm.s2 && count <= VQ_SEGMENTS_MAX);
  for (unsigned i = 0; i < count; i++)
    all += ranges[i].bytes;
  *done = appetite == 0 ? all : min_u64(all, *done + appetite * PAGE_SIZE);
  sum->released++;
  return *done >= all;
}

/* ---- the guest ---- */

struct op {
  uint8_t kind;
  uint8_t a;
  uint16_t b;
  uint32_t c;
};

static const unsigned queue_of[4] = {BALLOON_QUEUE_INFLATE, BALLOON_QUEUE_DEFLATE, BALLOON_QUEUE_STATS, BALLOON_QUEUE_REPORTING};

/* A driver that does everything right up to here: what the fuzzer would need long to find. */
static void set_up(uint8_t a, uint16_t b) {
  uint64_t ranges = a & 1 ? BIT(VIRTIO_BALLOON_F_SLUICE_RANGES) : 0, poison = a & 2 ? BIT(VIRTIO_BALLOON_F_PAGE_POISON) : 0;
  uint64_t indirect = a & 4 ? BIT(VIRTIO_F_INDIRECT_DESC) : 0, event = a & 8 ? BIT(VIRTIO_F_EVENT_IDX) : 0;
  (void)driver_begin(0, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_REPORTING) | ranges | poison |
                            indirect | event);
  for (unsigned i = 0; i < ARRAY_SIZE(queue_of); i++) {
    struct ring r = ring_make(0, queue_of[i], 8);
    ring_desc(&r, 0, WORLD_RAM_BASE + 0x1000 * i + b % 64, 16u + (b >> 4), queue_of[i] == BALLOON_QUEUE_REPORTING ? 2 : 0, 0);
    ring_offer(&r, 0);
  }
  driver_ok(0);
}

static void act(struct op o) {
  switch (o.kind % 9) {
  case 0:
    set_up(o.a, o.b);
    break;
  case 1:
    ram_put(WORLD_RAM_BASE + 0x20000 + (o.a % 5) * 0x4000u + (o.b & 0x3ffcu), 4, o.c);
    break;
  case 2: /* page numbers and ranges, near RAM or anywhere */
    ram_put(WORLD_RAM_BASE + (o.b & 0x3ffcu), 4, o.a & 1 ? o.c : (WORLD_RAM_BASE >> 12) + o.c % 80);
    break;
  case 3:
    ram_put(WORLD_RAM_BASE + (o.b & 0x3ff8u), 8, o.a & 1 ? (uint64_t)o.c << (o.a & 31) : WORLD_RAM_BASE + (uint64_t)o.c % WORLD_RAM_BYTES);
    break;
  case 4:
    virtio_mmio_write(&world.vcpus[o.a >> 1 & 1], o.b & 0x1fcu, 4, o.c);
    break;
  case 5:
    world_write(0, VIRTIO_MMIO_QUEUE_NOTIFY, o.a % 6);
    break;
  case 6:
    (void)balloon_set_target(&world.vm, o.c);
    break;
  case 7:
    (void)balloon_ask_stats(&world.vm);
    break;
  default:
    appetite = o.a;
    (void)virtio_mmio_read(&world.vcpus[0], o.b & 0x1f8u, 4);
  }
}

/* ---- what must be so ---- */

static void check_balloon(void) {
  struct virtio_balloon *b = container_of(world.vm.virtio[0], struct virtio_balloon, device);
  struct balloon_state state;
  struct balloon_report report;
  uint64_t inside = 0;
  for (uint64_t page = 0; b->stale == 0 && page < b->frames; page++)
    inside += b->inside[page / 64] >> page % 64 & 1;
  CHECK(b->stale != 0 || b->actual == inside);
  CHECK(!spin_is_locked(&b->device.lock));
  CHECK(((world.lines & 1) != 0) == (b->device.interrupt_status != 0));
  balloon_read(&world.vm, &state);
  CHECK(state.present && state.actual <= b->frames && state.keep <= b->frames);
  CHECK(virtio_balloon_report(&world.vm, &report) && report.target <= b->frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct op o;
  world_reset();
  if (port_host_ram == NULL)
    port_host_ram_create(0x1000, 1);
  appetite = 0;
  world.vm.config.memory_bytes = WORLD_RAM_BYTES;
  world.vm.config.balloon = 0x3f;
  CHECK(virtio_balloon_create(&world.vm, 0) == ERR_OK);
  for (; size >= sizeof(o); data += sizeof(o), size -= sizeof(o)) {
    memcpy(&o, data, sizeof(o));
    act(o);
    for (unsigned i = 0; i < 2; i++)
      CHECK(world_exits(&world.vcpus[i]) < 100000);
    check_balloon();
  }
  world_fini();
  return 0;
}
