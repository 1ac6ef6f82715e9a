/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which device an address belongs to. A handful of ranges, tested in order of how often guests use them: no table, no loop.
 *
 * An access must be naturally aligned and so lies wholly in one register's word; others are read as zero and ignored (a guest that maps a
 * device as Normal memory gets here with them). No lock; devices take their own.
 */
#include "core/bits.h"
#include "core/compiler.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/dev/dev.h"

static void uart(struct vcpu *v, struct mmio_access *a, uint64_t offset) {
  if (a->write)
    vuart_write(v, offset, a->bytes, a->value);
  else
    a->value = vuart_read(v, offset, a->bytes);
}

static void dist(struct vcpu *v, struct mmio_access *a, uint64_t offset) {
  if (a->write)
    vgicd_write(v, offset, a->bytes, a->value);
  else
    a->value = vgicd_read(v, offset, a->bytes);
}

static void redist(struct vcpu *v, struct mmio_access *a, uint64_t offset) {
  if (a->write)
    vgicr_write(v, offset, a->bytes, a->value);
  else
    a->value = vgicr_read(v, offset, a->bytes);
}

static bool is_device(const struct vcpu *v, uint64_t addr) {
  return addr - GUEST_UART_BASE < GUEST_UART_BYTES || addr - GUEST_GICD_BASE < GUEST_GICD_BYTES ||
         addr - GUEST_GICR_BASE < v->vm->vcpu_count * GUEST_GICR_STRIDE;
}

static NOINLINE bool unaligned(struct vcpu *v, struct mmio_access *a) {
  a->value = 0;
  return is_device(v, a->addr.v);
}

bool dev_mmio(struct vcpu *v, struct mmio_access *access) {
  uint64_t addr = access->addr.v;
  if (unlikely(addr & (access->bytes - 1)))
    return unaligned(v, access);
  if (addr - GUEST_UART_BASE < GUEST_UART_BYTES)
    uart(v, access, addr - GUEST_UART_BASE);
  else if (addr - GUEST_GICD_BASE < GUEST_GICD_BYTES)
    dist(v, access, addr - GUEST_GICD_BASE);
  else if (addr - GUEST_GICR_BASE < v->vm->vcpu_count * GUEST_GICR_STRIDE)
    redist(v, access, addr - GUEST_GICR_BASE);
  else
    return false;
  return true;
}
