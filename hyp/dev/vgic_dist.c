/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual distributor (IHI 0069, 12.9): SPIs 32..95, routed by affinity, in one security state. Registers of INTIDs 0..31 are RAZ/WI
 * here, since affinity routing is always on; so is everything for interrupts that are not there. No message-based SPIs, no LPIs, no 1-of-N
 * routing (GICD_TYPER.No1N).
 *
 * 32-bit registers may be accessed in parts, 64-bit ones in halves. Lock: vm->vgic.lock.
 */
#include "arch/sysreg.h"
#include "hyp/dev/vgic_priv.h"

#define TYPER_IDBITS (9u << 19) /* ten bits */
#define TYPER_NO1N (1u << 25)

static uint32_t read_typer(const struct vm *vm) {
  return TYPER_NO1N | TYPER_IDBITS | (vm->vcpu_count - 1) << 5 | (VGIC_INTIDS / 32 - 1);
}

static uint32_t read_ctlr(const struct vm *vm) {
  return (uint32_t)(GICD_CTLR_DS | GICD_CTLR_ARE_NS) | (vm->vgic.enabled ? 2u : 0) | (vm->vgic.group0 ? 1u : 0);
}

/* EnableGrp1 changes what every vCPU may be given: each looks again before it next enters the guest, this one too. */
static void write_ctlr(struct vm *vm, uint32_t value) {
  bool enabled = value & 2;
  spin_lock(&vm->vgic.lock);
  vgic_kick_t kick = enabled != vm->vgic.enabled ? (vgic_kick_t)(BIT(vm->vcpu_count) - 1) : 0;
  vm->vgic.enabled = enabled;
  vm->vgic.group0 = value & 1;
  vgic_unlock(vm, kick);
}

static bool is_router(uint64_t offset) {
  return offset - (GICD_IROUTER + 8 * GIC_SPI_BASE) < 8 * VGIC_SPIS;
}

static unsigned router_index(uint64_t offset) {
  return (unsigned)(offset - GICD_IROUTER) / 8 - GIC_SPI_BASE;
}

static void route(struct vm *vm, unsigned index, uint64_t affinity) {
  struct vgic *g = &vm->vgic;
  unsigned target = affinity < vm->vcpu_count ? (unsigned)affinity : VGIC_NO_VCPU; /* Aff0 is the index, the rest zero */
  if (g->target[index] != VGIC_NO_VCPU)
    g->routed[g->target[index]] &= ~BIT(index);
  if (target != VGIC_NO_VCPU)
    g->routed[target] |= BIT(index);
  g->target[index] = (uint8_t)target;
  g->router[index] = affinity;
}

static void write_router(struct vm *vm, unsigned index, uint64_t value, uint64_t mask) {
  spin_lock(&vm->vgic.lock);
  value = (vm->vgic.router[index] & ~mask) | (value & mask);
  route(vm, index, value & MPIDR_AFF_MASK);
  vgic_unlock(vm, vgic_bank_changed(vm->vcpus[0], &vm->vgic.spi, BIT(index)));
}

/*
 * Index in the SPI bank of the register's first interrupt, if it is one of those laid out by interrupt and holds interrupts that are there.
 */
static bool find_bank(uint64_t offset, unsigned *first) {
  unsigned intid = vgic_register_intid(offset);
  *first = intid - GIC_SPI_BASE;
  return *first < VGIC_SPIS;
}

static uint32_t read_bank(struct vcpu *v, uint64_t offset) {
  unsigned first;
  vgic_kick_t kick = 0;
  if (!find_bank(offset, &first))
    return 0;
  spin_lock(&v->vm->vgic.lock);
  uint32_t value = vgic_bank_read(v, &v->vm->vgic.spi, first, offset, &kick);
  vgic_unlock(v->vm, kick);
  return value;
}

static void write_bank(struct vcpu *v, uint64_t offset, uint32_t value, uint32_t mask) {
  unsigned first;
  if (!find_bank(offset, &first))
    return;
  spin_lock(&v->vm->vgic.lock);
  vgic_unlock(v->vm, vgic_bank_write(v, &v->vm->vgic.spi, first, offset, value, mask));
}

static uint32_t read_word(struct vcpu *v, uint64_t offset) {
  switch (offset) {
  case GICD_TYPER:
    return read_typer(v->vm);
  case GICD_CTLR:
    return read_ctlr(v->vm);
  case GICD_IIDR:
    return VGIC_IIDR;
  case GICD_PIDR2:
    return GIC_PIDR2_ARCH_V3;
  }
  if (is_router(offset))
    return (uint32_t)(v->vm->vgic.router[router_index(offset)] >> 8 * (offset & 4));
  return read_bank(v, offset);
}

static NOINLINE uint64_t read_any(struct vcpu *v, uint64_t offset, unsigned bytes) {
  if (bytes == 8)
    return is_router(offset) ? v->vm->vgic.router[router_index(offset)] : 0;
  return read_word(v, offset & ~3ul) >> 8 * (offset & 3) & vgic_access_mask(bytes);
}

uint64_t vgicd_read(struct vcpu *v, uint64_t offset, unsigned bytes) {
  if (offset == GICD_TYPER && bytes == 4)
    return read_typer(v->vm);
  return read_any(v, offset, bytes);
}

void vgicd_write(struct vcpu *v, uint64_t offset, unsigned bytes, uint64_t value) {
  unsigned shift = 8 * (offset & 3);
  uint32_t mask = vgic_access_mask(bytes) << shift, word = (uint32_t)value << shift;
  if (is_router(offset)) {
    unsigned half = 8 * (offset & 4);
    uint64_t covered = bytes == 8 ? ~(uint64_t)0 : (uint64_t)mask << half;
    write_router(v->vm, router_index(offset), bytes == 8 ? value : (uint64_t)word << half, covered);
  } else if (bytes == 8) {
    return;
  } else if (offset == GICD_CTLR) {
    write_ctlr(v->vm, word);
  } else {
    write_bank(v, offset & ~3ul, word, mask);
  }
}
