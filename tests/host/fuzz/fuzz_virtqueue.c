/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that writes whatever it likes into its RAM and the registers of its virtio devices, in any order: the devices may end in
 * DEVICE_NEEDS_RESET, and nothing else may come of it. Each line of the input is an operation of 8 bytes; see `op`.
 *
 * After every operation: no lock is held, an interrupt line is up exactly if its device has a cause, nothing was written outside RAM (the
 * sanitizer sees to that), and a device that asked for a reset does not run.
 */
// sources: hyp/dev/virtio/console.c hyp/dev/virtio/rng.c hyp/dev/virtio/virtqueue.c hyp/dev/virtio/device.c hyp/dev/virtio/mmio.c
// sources: tests/host/virtio_world.c
// cflags: -include tests/host/fakehw/ctl_fake.h
#include "abi/virtio.h"
#include "core/check.h"
#include "hyp/dev/virtio/console.h"
#include "hyp/dev/virtio/rng.h"
#include "virtio_world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void check_failed(const char *expr, const char *file, int line) {
  fprintf(stderr, "CHECK(%s) at %s:%d\n", expr, file, line);
  abort();
}

struct op {
  uint8_t kind;
  uint8_t a;
  uint16_t b;
  uint32_t c;
};

/* A driver that does everything right up to here: what the fuzzer would need long to find. */
static void set_up(unsigned slot, unsigned num_shift, bool event_idx) {
  uint64_t features = 1ull << 32 | 1ull << 28 | (event_idx ? 1ull << 29 : 0);
  (void)driver_begin(slot, features);
  for (unsigned q = 0; q < 2; q++) {
    struct ring r = ring_make(slot, q, 1u << num_shift % 9);
    ring_desc(&r, 0, WORLD_RAM_BASE + 0x100 * q, 64, q == 0 ? 2 : 0, 0);
    ring_offer(&r, 0);
  }
  driver_ok(slot);
}

/* A word near the rings: desc, avail and used of queue 0 or 1 of ring_make(). */
static uint64_t near_rings(uint16_t b) {
  static const uint32_t part[4] = {0, 0x2000, 0x3000, 0x1000};
  return WORLD_RAM_BASE + 0x20000 + (b >> 15) * 0x4000u + part[b >> 13 & 3] + (b & 0xffcu);
}

static void act(struct op o) {
  unsigned slot = o.a & 1;
  switch (o.kind % 8) {
  case 0:
    set_up(slot, o.a >> 2, o.a & 2);
    break;
  case 1:
    ram_put(near_rings(o.b), 4, o.c);
    break;
  case 2:
    ram_put(near_rings(o.b) + 2, 2, o.c);
    break;
  case 3:
    ram_put(WORLD_RAM_BASE + o.b % (WORLD_RAM_BYTES - 4), 4, o.c);
    break;
  case 4:
    virtio_mmio_write(&world.vcpus[o.a >> 1 & 1], slot * GUEST_VIRTIO_STRIDE + (o.b & 0x1fcu), 4, o.c);
    break;
  case 5:
    world_write(slot, VIRTIO_MMIO_QUEUE_NOTIFY, o.a >> 1 & 1);
    break;
  case 6:
    (void)virtio_console_receive(&world.vm, o.a);
    break;
  default:
    (void)virtio_mmio_read(&world.vcpus[0], slot * GUEST_VIRTIO_STRIDE + (o.b & 0x1f8u), 1u << (o.a >> 1 & 3));
  }
}

/*
 * The work that is left is bounded by what the guest has offered: 65,536 chains of 64 KiB at 1 KiB an exit are far more than there is
 * here.
 */
static void finish_exits(void) {
  for (unsigned i = 0; i < 2; i++)
    CHECK(world_exits(&world.vcpus[i]) < 10000);
}

static void check_device(const struct virtio_device *d) {
  CHECK(!spin_is_locked(&d->lock));
  CHECK(((world.lines >> d->slot & 1) != 0) == (d->interrupt_status != 0));
  CHECK((d->status & VIRTIO_STATUS_FEATURES_OK) || !(d->status & VIRTIO_STATUS_DRIVER_OK));
  for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++) {
    const struct virtqueue *vq = &d->queue[q];
    CHECK(!vq->ready || (vq->num > 0 && vq->num <= VQ_NUM_MAX && q < d->ops->queues));
    CHECK((uint16_t)(vq->next_avail - vq->next_used) <= vq->num);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct op o;
  world_reset();
  CHECK(virtio_console_create(&world.vm, 0) == ERR_OK && virtio_rng_create(&world.vm, 1) == ERR_OK);
  for (; size >= sizeof(o); data += sizeof(o), size -= sizeof(o)) {
    memcpy(&o, data, sizeof(o));
    act(o);
    finish_exits();
    check_device(world.vm.virtio[0]);
    check_device(world.vm.virtio[1]);
  }
  world_fini();
  return 0;
}
