/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registers that distributor and redistributors have in common: enable, pending, active, priority, configuration, one bit, two bits or
 * a byte for each interrupt. `first` is the index in the bank that the register's lowest field stands for.
 *
 * Group 1 only: IGROUPR is RAO/WI, IGRPMODR and NSACR RAZ/WI. Configuration of SGIs and PPIs is fixed (IHI 0069 leaves PPIs to the
 * implementation). Narrow writes touch only the fields under `mask`.
 *
 * Lock: vm->vgic.lock, held by every caller.
 */
#include "hyp/dev/vgic_priv.h"

/*
 * What a list register out of reach holds is known as of its last look: tell its CPU to look again, so that a guest that polls sees the
 * truth.
 */
static void look_again(struct vcpu *holder, vgic_kick_t *kick) {
  if (!vgic_is_reachable(holder))
    *kick |= (vgic_kick_t)BIT(holder->id);
}

static struct vcpu *holder_of(struct vcpu *v, const struct vgic_bank *b, unsigned index) {
  return vgic_is_spi(v, b) ? v->vm->vcpus[v->vm->vgic.holder[index]] : v;
}

/* Resident interrupts among `among` whose list register has any of `state`; of `far_state`, if it is out of reach. */
static uint64_t resident_in_state(struct vcpu *v, struct vgic_bank *b, uint64_t among, uint64_t state, uint64_t far_state,
                                  vgic_kick_t *kick) {
  uint64_t found = 0;
  for (uint64_t bits = b->resident & among; bits != 0; bits &= bits - 1) {
    unsigned index = bits_ffs(bits);
    struct vcpu *holder = holder_of(v, b, index);
    if (vgic_lr_get(holder, b->lr[index]) & (vgic_is_reachable(holder) ? state : far_state))
      found |= BIT(index);
    look_again(holder, kick);
  }
  return found;
}

static uint64_t read_pending(struct vcpu *v, struct vgic_bank *b, uint64_t among, vgic_kick_t *kick) {
  if (b == &v->vgic.priv && (v->vgic.hw_unlinked || ((b->line | b->resident) & BIT(VGIC_TIMER)))) {
    vgic_timer_resample(v);
    look_again(v, kick);
  }
  return vgic_pending(b) | resident_in_state(v, b, among, ICH_LR_PENDING, ICH_LR_PENDING, kick);
}

/*
 * An interrupt that was pending on another CPU at the last look may have been acknowledged since: say active, which is what a guest that
 * waits for the end of a handler must assume, until that CPU has looked.
 */
static uint64_t read_active(struct vcpu *v, struct vgic_bank *b, uint64_t among, vgic_kick_t *kick) {
  uint64_t found = resident_in_state(v, b, among, ICH_LR_ACTIVE, VGIC_LR_STATE, kick);
  return b->active | (found & ~b->ordered) | (b->ordered & b->ordered_active);
}

static uint32_t read_priorities(const struct vgic_bank *b, unsigned first) {
  uint32_t value = 0;
  for (unsigned i = 0; i < 4; i++)
    value |= (uint32_t)b->priority[first + i] << 8 * i;
  return value;
}

/* Two bits each; only the upper one, edge-triggered, means anything. */
static uint32_t read_config(const struct vgic_bank *b, unsigned first) {
  uint32_t value = 0;
  for (unsigned i = 0; i < 16; i++)
    if (b->edge & BIT(first + i))
      value |= 2u << 2 * i;
  return value;
}

uint32_t vgic_bank_read(struct vcpu *v, struct vgic_bank *b, unsigned first, uint64_t offset, vgic_kick_t *kick) {
  uint64_t among = (uint64_t)0xffffffff << first;
  if (offset >= GICD_ICFGR)
    return read_config(b, first);
  if (offset >= GICD_IPRIORITYR)
    return read_priorities(b, first);
  switch (offset & ~0x7ful) {
  case GICD_IGROUPR & ~0x7fu:
    return ~0u;
  case GICD_ISENABLER:
  case GICD_ICENABLER:
    return (uint32_t)(b->enabled >> first);
  case GICD_ISPENDR:
  case GICD_ICPENDR:
    return (uint32_t)(read_pending(v, b, among, kick) >> first);
  default:
    return (uint32_t)(read_active(v, b, among, kick) >> first);
  }
}

/* One SPI: first whoever has it lets go of what changed, then whoever should have it gets it. */
static vgic_kick_t spi_changed(struct vm *vm, unsigned index) {
  struct vgic_bank *b = &vm->vgic.spi;
  vgic_kick_t kick = 0;
  unsigned holder = vm->vgic.holder[index], target = vm->vgic.target[index];
  if ((b->resident & BIT(index)) && vgic_lr_update(vm->vcpus[holder], b, index))
    kick |= (vgic_kick_t)BIT(holder);
  if ((vgic_ready(b) & BIT(index)) && target != VGIC_NO_VCPU && vgic_lr_update(vm->vcpus[target], b, index))
    kick |= (vgic_kick_t)BIT(target);
  return kick;
}

vgic_kick_t vgic_bank_settle(struct vcpu *v, struct vgic_bank *b, uint64_t bits) {
  vgic_kick_t kick = 0;
  bool spi = vgic_is_spi(v, b);
  if (!spi && (bits & BIT(VGIC_TIMER)))
    vgic_timer_resample(v);
  for (bits &= b->resident | vgic_ready(b); bits != 0; bits &= bits - 1) {
    unsigned index = bits_ffs(bits);
    if (spi)
      kick |= spi_changed(v->vm, index);
    else if (vgic_lr_update(v, b, index))
      kick |= (vgic_kick_t)BIT(v->id);
  }
  return kick;
}

/* Made active by software, in no list register: kept in the bank until software, or a trapped ICC_DIR_EL1, ends it. */
static vgic_kick_t activate_here(struct vcpu *v, struct vgic_bank *b, uint64_t bits) {
  b->active |= bits;
  b->forced |= bits;
  for (uint64_t left = bits; left != 0; left &= left - 1)
    b->lr[bits_ffs(left)] = b->priority[bits_ffs(left)];
  if (!vgic_is_spi(v, b))
    return bits != 0 ? (vgic_kick_t)BIT(v->id) : 0;
  vgic_kick_t kick = 0;
  for (; bits != 0; bits &= bits - 1) {
    unsigned index = bits_ffs(bits), target = v->vm->vgic.target[index];
    v->vm->vgic.holder[index] = (uint8_t)(target == VGIC_NO_VCPU ? 0 : target);
    kick |= (vgic_kick_t)BIT(v->vm->vgic.holder[index]);
  }
  return kick;
}

/* Resident ones become active where they are. */
static vgic_kick_t set_active(struct vcpu *v, struct vgic_bank *b, uint64_t bits) {
  uint64_t there = bits & b->resident;
  b->ordered |= there;
  b->ordered_active |= there;
  vgic_kick_t kick = activate_here(v, b, bits & ~(there | b->active));
  return kick | vgic_bank_changed(v, b, there);
}

static void write_priorities(struct vgic_bank *b, unsigned first, uint32_t value, uint32_t mask) {
  for (unsigned i = 0; i < 4; i++)
    if (mask >> 8 * i & 0xff)
      b->priority[first + i] = (uint8_t)(value >> 8 * i & VGIC_PRIORITY_MASK);
}

static void write_config(struct vgic_bank *b, unsigned first, uint32_t value, uint32_t mask) {
  for (unsigned i = 0; i < 16; i++)
    if (mask & 2u << 2 * i)
      b->edge = (value & 2u << 2 * i) ? b->edge | BIT(first + i) : b->edge & ~BIT(first + i);
}

/* Registers with one bit for each interrupt: the bits written as ones are set or cleared. */
static vgic_kick_t write_bits(struct vcpu *v, struct vgic_bank *b, uint64_t offset, uint64_t bits) {
  switch (offset & ~0x7ful) {
  case GICD_ISENABLER:
    b->enabled |= bits;
    break;
  case GICD_ICENABLER:
    b->enabled &= ~bits;
    break;
  case GICD_ISPENDR:
    b->latch |= bits;
    break;
  case GICD_ICPENDR:
    b->latch &= ~bits;
    b->soft &= ~bits;
    break;
  case GICD_ISACTIVER:
    return set_active(v, b, bits);
  case GICD_ICACTIVER:
    vgic_bank_deactivate(b, bits);
    break;
  default:
    return 0;
  }
  return vgic_bank_changed(v, b, bits);
}

vgic_kick_t vgic_bank_write(struct vcpu *v, struct vgic_bank *b, unsigned first, uint64_t offset, uint32_t value, uint32_t mask) {
  if (offset < GICD_IPRIORITYR)
    return write_bits(v, b, offset, (uint64_t)(value & mask) << first);
  if (offset < GICD_ICFGR) {
    write_priorities(b, first, value, mask);
    return vgic_bank_changed(v, b, (uint64_t)0xf << first);
  }
  if (offset >= GICD_ICFGR && vgic_is_spi(v, b)) {
    write_config(b, first, value, mask);
    return vgic_bank_changed(v, b, (uint64_t)0xffff << first);
  }
  return 0;
}
