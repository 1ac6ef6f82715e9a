/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VIRTIO_WORLD_H
#define VIRTIO_WORLD_H

/*
 * Where host tests of the virtio devices live: a VM's RAM as a flat array behind the calls of hyp/mem/stage2.h, an interrupt line, a
 * console, and a driver that knows the rings from the standard alone (byte offsets and little-endian stores, none of the structs that the
 * device reads them with).
 *
 * Tests are built with -include tests/host/fakehw/ctl_fake.h.
 */

#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/dev/virtio/virtio.h"

#define WORLD_RAM_BASE 0x40000000ull
#define WORLD_RAM_BYTES 0x40000ull
#define WORLD_SENT_MAX 65536u

struct world {
  struct vm vm;
  struct vcpu vcpus[2];
  uint8_t ram[WORLD_RAM_BYTES];
  uint32_t lines;      /* interrupt lines that are up, bit per slot */
  unsigned reports;    /* lines EL2 printed */
  uint64_t sent_bytes; /* what came out at the console; the first WORLD_SENT_MAX of it in sent[] */
  uint8_t sent[WORLD_SENT_MAX];
  uint64_t writes_left;      /* of stage2_write() and stage2_store16() until memory runs out */
  err_t lack;                /* what they say then */
  unsigned device_waits;     /* exhaust_device_waits() */
  void (*on_populate)(void); /* called in the middle of every write to RAM, as an interrupt would; NULL: nothing */
};
extern struct world world;

/* A VM of two vCPUs that are on, without devices; memory 0. And its end: nothing is left allocated. */
void world_reset(void);
void world_fini(void);

/* The guest's accesses to the registers of slot `slot`, by vCPU 0. */
uint32_t world_read(unsigned slot, uint64_t reg);
void world_write(unsigned slot, uint64_t reg, uint32_t value);
/* What the way out of an exit does while vCPU `v` has VCPU_REQ_DEVICE: until it has not. Returns how often. */
unsigned world_exits(struct vcpu *v);

/* Little-endian words of RAM at an IPA. */
uint64_t ram_get(uint64_t at, unsigned bytes);
void ram_put(uint64_t at, unsigned bytes, uint64_t value);

/* A queue as the driver sees it: where its parts lie, and how far it is. */
struct ring {
  unsigned slot, index, num;
  uint64_t desc, avail, used;
  uint16_t avail_idx, used_idx;
};

/* 3.1.1: reset, status bits, `features` accepted. Returns the status read back at the end (without DRIVER_OK). */
uint32_t driver_begin(unsigned slot, uint64_t features);
void driver_ok(unsigned slot);
/* Register a queue at r->desc, r->avail, r->used. */
void ring_register(const struct ring *r);
/* The usual place for queue `index` of slot `slot`: registered, empty. */
struct ring ring_make(unsigned slot, unsigned index, unsigned num);
void ring_desc(const struct ring *r, unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next);
/* Make `head` available; tell the device. */
void ring_offer(struct ring *r, unsigned head);
void ring_notify(const struct ring *r);
/* The next used element; false if there is none. */
bool ring_used(struct ring *r, uint32_t *id, uint32_t *len);

bool needs_reset(unsigned slot);

#endif
