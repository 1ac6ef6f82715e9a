/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which device an address belongs to. A handful of ranges, tested one after the other: no table, no loop. Reads of
 * distributor and UART are found inline (dev.h).
 *
 * An access must be naturally aligned and so lies wholly in one register's word; others are read as zero and ignored (a guest that maps a
 * device as Normal memory gets here with them). No lock; devices take their own.
 */
#include "core/bits.h"
#include "core/compiler.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/dev/dev.h"
#include "hyp/dev/virtio/virtio.h"

static bool is_gicr(const struct vcpu *v, uint64_t addr) {
  return addr - GUEST_GICR_BASE < v->vm->vcpu_count * GUEST_GICR_STRIDE;
}

static bool is_virtio(uint64_t addr) {
  return addr - GUEST_VIRTIO_BASE < VIRTIO_SLOTS * GUEST_VIRTIO_STRIDE;
}

static bool is_device(const struct vcpu *v, uint64_t addr) {
  return is_virtio(addr) || addr - GUEST_UART_BASE < GUEST_UART_BYTES || addr - GUEST_GICD_BASE < GUEST_GICD_BYTES || is_gicr(v, addr);
}

struct mmio_result dev_mmio_read_rare(struct vcpu *v, uint64_t addr, unsigned bytes) {
  if (addr & (bytes - 1))
    return (struct mmio_result){0, is_device(v, addr)};
  if (is_gicr(v, addr))
    return (struct mmio_result){vgicr_read(v, addr - GUEST_GICR_BASE, bytes), true};
  if (is_virtio(addr))
    return (struct mmio_result){virtio_mmio_read(v, addr - GUEST_VIRTIO_BASE, bytes), true};
  return (struct mmio_result){0, false};
}

bool dev_mmio_write(struct vcpu *v, uint64_t addr, unsigned bytes, uint64_t value) {
  if (unlikely(addr & (bytes - 1)))
    return is_device(v, addr);
  if (bytes < 8)
    value &= BIT(8 * bytes) - 1;
  if (addr - GUEST_UART_BASE < GUEST_UART_BYTES)
    vuart_write(v, addr - GUEST_UART_BASE, bytes, value);
  else if (addr - GUEST_GICD_BASE < GUEST_GICD_BYTES)
    vgicd_write(v, addr - GUEST_GICD_BASE, bytes, value);
  else if (is_gicr(v, addr))
    vgicr_write(v, addr - GUEST_GICR_BASE, bytes, value);
  else if (is_virtio(addr))
    virtio_mmio_write(v, addr - GUEST_VIRTIO_BASE, bytes, value);
  else
    return false;
  return true;
}
