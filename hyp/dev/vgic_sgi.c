/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Software-generated interrupts: ICC_SGI1R_EL1 traps while HCR_EL2.IMO routes interrupts to EL2 (IHI 0069, 12.2.19), and so does
 * ICC_DIR_EL1 under ICH_HCR_EL2.TDIR. A target that is this very vCPU gets its list register at once; others are told.
 *
 *    63    56 55  48 47  44  40 39  32 31  28 27   24 23  16 15          0
 *   +--------+------+------+---+------+------+-------+------+-------------+
 *   |        | Aff3 |  RS  |IRM| Aff2 |      | INTID | Aff1 | target list |
 *   +--------+------+------+---+------+------+-------+------+-------------+
 *
 * Our affinities are 0.0.0.id with id < 16, so only Aff3..1 = 0 and RS = 0 name anybody. Lock: vm->vgic.lock.
 */
#include "hyp/dev/vgic_priv.h"

#define SGI1R_ELSEWHERE (GENMASK(55, 48) | GENMASK(47, 44) | GENMASK(39, 32) | GENMASK(23, 16))

static uint32_t targets(const struct vcpu *v, uint64_t sgi1r) {
  uint32_t all = (1u << v->vm->vcpu_count) - 1;
  if (sgi1r & ICC_SGI1R_IRM)
    return all & ~(1u << v->id);
  return (sgi1r & SGI1R_ELSEWHERE) ? 0 : (uint32_t)sgi1r & 0xffff & all;
}

static NOINLINE void send_here(struct vcpu *v, unsigned intid) {
  if (vgic_relaunch(v, intid))
    return;
  spin_lock(&v->vm->vgic.lock);
  v->vgic.priv.latch |= BIT(intid);
  bool tell = (v->vgic.priv.enabled & BIT(intid)) && vgic_lr_update(v, &v->vgic.priv, intid);
  vgic_unlock(v->vm, tell ? (vgic_kick_t)BIT(v->id) : 0);
}

/* To one vCPU. One that is elsewhere has all it needs to know in `latch`: a plain request will do. */
static inline void send_one(struct vcpu *t, unsigned intid) {
  if (vgic_is_here(t)) { /* for itself: only this CPU could change that */
    send_here(t, intid);
    return;
  }
  spin_lock(&t->vm->vgic.lock);
  t->vgic.priv.latch |= BIT(intid);
  bool tell = t->vgic.priv.enabled & BIT(intid);
  spin_unlock(&t->vm->vgic.lock);
  if (tell)
    vcpu_request(t, VCPU_REQ_VGIC);
}

static NOINLINE void send(struct vcpu *v, uint64_t sgi1r) {
  for (uint32_t to = targets(v, sgi1r); to != 0; to &= to - 1)
    send_one(v->vm->vcpus[bits_ffs(to)], (unsigned)bits_get(sgi1r, 27, 24));
}

void vgic_send_sgi(struct vcpu *v, uint64_t sgi1r) {
  uint32_t list = (uint32_t)sgi1r & 0xffff;
  unsigned id = bits_ffs(list | BIT(31));
  if (likely((list & (list - 1)) == 0 && !(sgi1r & (SGI1R_ELSEWHERE | ICC_SGI1R_IRM)) && id < v->vm->vcpu_count))
    send_one(v->vm->vcpus[id], (unsigned)bits_get(sgi1r, 27, 24));
  else
    send(v, sgi1r);
}

void vgic_deactivate(struct vcpu *v, unsigned intid) {
  unsigned index;
  if (intid >= VGIC_INTIDS)
    return;
  struct vgic_bank *b = vgic_bank_of(v, intid, &index);
  spin_lock(&v->vm->vgic.lock);
  vgic_bank_deactivate(b, BIT(index));
  vgic_unlock(v->vm, vgic_bank_changed(v, b, BIT(index)));
}
