/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual redistributors (IHI 0069, 12.11): one pair of 64 KiB frames for each vCPU, in the order of their ids, at 128 KiB steps.
 * RD_base holds identity and the wake handshake; SGI_base the registers of INTIDs 0..31, laid out as the distributor's.
 *
 * Any vCPU may access any frame. No LPIs: GICR_CTLR, PROPBASER and PENDBASER are RAZ/WI. Lock: vm->vgic.lock.
 */
#include "hyp/dev/vgic_priv.h"

/* Aff3.Aff2.Aff1.Aff0 [63:32], Processor_Number [23:8], Last [4]. */
static uint64_t read_typer(const struct vcpu *t) {
  uint64_t last = t->id + 1 == t->vm->vcpu_count ? GICR_TYPER_LAST : 0;
  return (uint64_t)t->id << 32 | (uint64_t)t->id << 8 | last;
}

/* Sleep is taken at its word: there is nothing to wait for. */
static uint32_t read_waker(const struct vcpu *t) {
  return t->vgic.asleep ? (uint32_t)(GICR_WAKER_PROCESSOR_SLEEP | GICR_WAKER_CHILDREN_ASLEEP) : 0;
}

static uint32_t read_rd(const struct vcpu *t, uint64_t offset) {
  switch (offset) {
  case GICR_TYPER:
    return (uint32_t)read_typer(t);
  case GICR_TYPER + 4:
    return (uint32_t)(read_typer(t) >> 32);
  case GICR_WAKER:
    return read_waker(t);
  case GICR_IIDR:
    return VGIC_IIDR;
  case GICR_PIDR2:
    return GIC_PIDR2_ARCH_V3;
  }
  return 0;
}

static uint32_t read_sgi(struct vcpu *t, uint64_t offset) {
  unsigned first = vgic_register_intid(offset);
  vgic_kick_t kick = 0;
  if (first >= GIC_SPI_BASE)
    return 0;
  spin_lock(&t->vm->vgic.lock);
  uint32_t value = vgic_bank_read(t, &t->vgic.priv, first, offset, &kick);
  vgic_unlock(t->vm, kick);
  return value;
}

static void write_sgi(struct vcpu *t, uint64_t offset, uint32_t value, uint32_t mask) {
  unsigned first = vgic_register_intid(offset);
  if (first >= GIC_SPI_BASE)
    return;
  spin_lock(&t->vm->vgic.lock);
  vgic_unlock(t->vm, vgic_bank_write(t, &t->vgic.priv, first, offset, value, mask));
}

static struct vcpu *frame_owner(struct vcpu *v, uint64_t offset) {
  uint64_t id = offset / GICR_STRIDE;
  return id < v->vm->vcpu_count ? v->vm->vcpus[id] : NULL;
}

uint64_t vgicr_read(struct vcpu *v, uint64_t offset, unsigned bytes) {
  struct vcpu *t = frame_owner(v, offset);
  uint64_t within = offset % GICR_STRIDE;
  if (t == NULL)
    return 0;
  if (bytes == 8)
    return within == GICR_TYPER ? read_typer(t) : 0;
  uint32_t word = within >= GICR_SGI_BASE ? read_sgi(t, (within & ~3ul) - GICR_SGI_BASE) : read_rd(t, within & ~3ul);
  return word >> 8 * (within & 3) & vgic_access_mask(bytes);
}

void vgicr_write(struct vcpu *v, uint64_t offset, unsigned bytes, uint64_t value) {
  struct vcpu *t = frame_owner(v, offset);
  uint64_t within = offset % GICR_STRIDE;
  unsigned shift = 8 * (offset & 3);
  if (t == NULL || bytes == 8)
    return;
  if (within >= GICR_SGI_BASE)
    write_sgi(t, (within & ~3ul) - GICR_SGI_BASE, (uint32_t)value << shift, vgic_access_mask(bytes) << shift);
  else if (within == GICR_WAKER)
    t->vgic.asleep = value & GICR_WAKER_PROCESSOR_SLEEP;
}
