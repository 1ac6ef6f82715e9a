/* SPDX-License-Identifier: BSD-2-Clause */
#include "virtio_world.h"

#include "abi/virtio.h"
#include "core/bits.h"
#include "hyp/core/exit.h"
#include "hyp/ctl/console.h"
#include "hyp/dev/vgic.h"
#include "hyp/dev/virtio/devices.h"
#include "hyp/mem/stage2.h"
#include "mm/slab.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct world world;
struct cpu cpus[CPUS_MAX];
unsigned cpu_count = 1;
static unsigned allocated;

/* --- what the devices call -------------------------------------------------------------------------------------------------- */

struct cpu *this_cpu(void) {
  return &cpus[0];
}

void irq_poll(struct cpu *c) {
  (void)c;
}

void vcpu_request(struct vcpu *v, uint32_t requests) {
  v->requests |= requests;
}

void *mem_alloc(size_t bytes) {
  allocated++;
  return calloc(1, bytes);
}

void mem_free(void *p) {
  allocated -= p != NULL;
  free(p);
}

void vgic_set_spi(struct vm *vm, unsigned intid, bool level) {
  uint32_t bit = 1u << (intid - 48);
  if (vm != &world.vm || intid < 48 || intid >= 48 + VIRTIO_SLOTS || level == ((world.lines & bit) != 0))
    abort(); /* told of changes only, and of its own lines */
  world.lines ^= bit;
}

void console_guest_byte(struct vm *vm, uint8_t byte) {
  if (vm != &world.vm)
    abort();
  if (world.sent_bytes < WORLD_SENT_MAX)
    world.sent[world.sent_bytes] = byte;
  world.sent_bytes++;
}

void hyp_printf(const char *fmt, ...) {
  (void)fmt;
  world.reports++;
}

void exhaust_device_waits(struct vm *vm) {
  if (vm != &world.vm)
    abort();
  world.device_waits++;
}

static uint8_t *ram_at(ipa_t a, uint64_t bytes) {
  if (a.v < WORLD_RAM_BASE || bytes > WORLD_RAM_BYTES || a.v - WORLD_RAM_BASE > WORLD_RAM_BYTES - bytes)
    return NULL;
  return world.ram + (a.v - WORLD_RAM_BASE);
}

static err_t may_write(const uint8_t *at) {
  if (at == NULL)
    return ERR_RANGE;
  if (world.writes_left == 0)
    return world.lack;
  world.writes_left--;
  if (world.on_populate)
    world.on_populate();
  return ERR_OK;
}

err_t stage2_read(struct stage2 *s2, void *to, ipa_t from, uint64_t bytes) {
  const uint8_t *at = ram_at(from, bytes);
  if (s2 != &world.vm.s2)
    abort();
  if (at == NULL)
    return ERR_RANGE;
  memcpy(to, at, bytes);
  return ERR_OK;
}

err_t stage2_write(struct stage2 *s2, ipa_t to, const void *from, uint64_t bytes) {
  uint8_t *at = ram_at(to, bytes);
  err_t err = may_write(at);
  if (s2 != &world.vm.s2)
    abort();
  if (err == ERR_OK)
    memcpy(at, from, bytes);
  return err;
}

err_t stage2_load16(struct stage2 *s2, ipa_t from, uint16_t *out) {
  return from.v % 2 ? ERR_INVAL : stage2_read(s2, out, from, sizeof(*out));
}

err_t stage2_store16(struct stage2 *s2, ipa_t to, uint16_t value) {
  return to.v % 2 ? ERR_INVAL : stage2_write(s2, to, &value, sizeof(value));
}

/* --- the VM ----------------------------------------------------------------------------------------------------------------- */

void world_reset(void) {
  world_fini();
  memset(&world, 0, sizeof(world));
  world.vm.id = 1;
  world.vm.vcpu_count = ARRAY_SIZE(world.vcpus);
  world.vm.s2.ram_base = ipa(WORLD_RAM_BASE);
  world.vm.s2.ram_bytes = WORLD_RAM_BYTES;
  world.writes_left = UINT64_MAX;
  world.lack = ERR_NOMEM;
  for (unsigned i = 0; i < ARRAY_SIZE(world.vcpus); i++) {
    world.vm.vcpus[i] = &world.vcpus[i];
    world.vcpus[i].vm = &world.vm;
    world.vcpus[i].powered = true;
  }
}

void world_fini(void) {
  for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
    mem_free(world.vm.virtio[i]); /* struct virtio_device comes first in each */
  memset(world.vm.virtio, 0, sizeof(world.vm.virtio));
  if (allocated != 0)
    abort();
}

uint32_t world_read(unsigned slot, uint64_t reg) {
  return (uint32_t)virtio_mmio_read(&world.vcpus[0], slot * GUEST_VIRTIO_STRIDE + reg, 4);
}

void world_write(unsigned slot, uint64_t reg, uint32_t value) {
  virtio_mmio_write(&world.vcpus[0], slot * GUEST_VIRTIO_STRIDE + reg, 4, value);
}

unsigned world_exits(struct vcpu *v) {
  unsigned n = 0;
  for (; v->requests & VCPU_REQ_DEVICE; n++) {
    v->requests &= ~VCPU_REQ_DEVICE;
    virtio_resume(v);
  }
  return n;
}

/* --- the driver ------------------------------------------------------------------------------------------------------------- */

uint64_t ram_get(uint64_t at, unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; i++)
    value |= (uint64_t)world.ram[at - WORLD_RAM_BASE + i] << 8 * i;
  return value;
}

void ram_put(uint64_t at, unsigned bytes, uint64_t value) {
  for (unsigned i = 0; i < bytes; i++)
    world.ram[at - WORLD_RAM_BASE + i] = (uint8_t)(value >> 8 * i);
}

uint32_t driver_begin(unsigned slot, uint64_t features) {
  world_write(slot, VIRTIO_MMIO_STATUS, 0);
  world_write(slot, VIRTIO_MMIO_STATUS, 1);
  world_write(slot, VIRTIO_MMIO_STATUS, 1 | 2);
  for (unsigned half = 0; half < 2; half++) {
    world_write(slot, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
    world_write(slot, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * half));
  }
  world_write(slot, VIRTIO_MMIO_STATUS, 1 | 2 | 8);
  return world_read(slot, VIRTIO_MMIO_STATUS);
}

void driver_ok(unsigned slot) {
  world_write(slot, VIRTIO_MMIO_STATUS, 1 | 2 | 8 | 4);
  world_exits(&world.vcpus[0]);
}

void ring_register(const struct ring *r) {
  world_write(r->slot, 0x030, r->index);
  world_write(r->slot, 0x038, r->num);
  world_write(r->slot, 0x080, (uint32_t)r->desc);
  world_write(r->slot, 0x084, (uint32_t)(r->desc >> 32));
  world_write(r->slot, 0x090, (uint32_t)r->avail);
  world_write(r->slot, 0x094, (uint32_t)(r->avail >> 32));
  world_write(r->slot, 0x0a0, (uint32_t)r->used);
  world_write(r->slot, 0x0a4, (uint32_t)(r->used >> 32));
  world_write(r->slot, 0x044, 1);
}

struct ring ring_make(unsigned slot, unsigned index, unsigned num) {
  uint64_t at = WORLD_RAM_BASE + 0x20000 + index * 0x4000u;
  struct ring r = {.slot = slot, .index = index, .num = num, .desc = at, .avail = at + 0x2000, .used = at + 0x3000};
  memset(world.ram + (at - WORLD_RAM_BASE), 0, 0x4000);
  ring_register(&r);
  return r;
}

void ring_desc(const struct ring *r, unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next) {
  ram_put(r->desc + 16ull * i, 8, addr);
  ram_put(r->desc + 16ull * i + 8, 4, len);
  ram_put(r->desc + 16ull * i + 12, 2, flags);
  ram_put(r->desc + 16ull * i + 14, 2, next);
}

void ring_offer(struct ring *r, unsigned head) {
  ram_put(r->avail + 4 + 2ull * (r->avail_idx % r->num), 2, head);
  r->avail_idx++;
  ram_put(r->avail + 2, 2, r->avail_idx);
}

void ring_notify(const struct ring *r) {
  world_write(r->slot, 0x050, r->index);
}

bool ring_used(struct ring *r, uint32_t *id, uint32_t *len) {
  if (ram_get(r->used + 2, 2) == r->used_idx)
    return false;
  uint64_t at = r->used + 4 + 8ull * (r->used_idx % r->num);
  *id = (uint32_t)ram_get(at, 4);
  *len = (uint32_t)ram_get(at + 4, 4);
  r->used_idx++;
  return true;
}

bool needs_reset(unsigned slot) {
  return world_read(slot, VIRTIO_MMIO_STATUS) & 0x40;
}
