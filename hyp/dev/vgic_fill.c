/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What enters the list registers of a vCPU, and what has to stay behind.
 *
 * Invariants: when candidates stay behind for want of room, none of them is more urgent than a pending one that got in, and NPIE brings us
 * back when the last of those was acknowledged; while an active interrupt is in none, its end is counted by hardware (EOIcount) or traps.
 *
 * Where the vCPU is loaded on another CPU its list registers are out of reach: the state asked for is left in the bank and that CPU
 * is told (vcpu_request), which reconciles before it enters the guest again.
 *
 * Lock: vm->vgic.lock, held by every caller.
 */
#include "hyp/core/vm.h"
#include "hyp/dev/vgic_priv.h"
#include "hyp/dev/vtimer.h"

/* Link the timer's interrupt to the physical one, which is made active unless it is already. */
static uint64_t link_timer(struct vcpu *v) {
  if (!v->vgic.hw_unlinked)
    vgic_hw_set_active(VGIC_TIMER, true);
  v->vgic.hw_unlinked = false;
  return ICH_LR_HW | (uint64_t)VGIC_TIMER << ICH_LR_PINTID_SHIFT;
}

/* vgic_relaunch() is for SGIs, which are always latched, and for the linked timer when only its line asks. */
static bool can_relaunch(const struct vgic_bank *b, unsigned index, uint64_t lr) {
  return (lr & ICH_LR_HW) ? !(b->soft & BIT(index)) : index < GIC_SGIS;
}

static void place(struct vcpu *v, struct vgic_bank *b, unsigned index, unsigned n) {
  uint64_t bit = BIT(index);
  bool spi = vgic_is_spi(v, b);
  unsigned intid = index + (spi ? GIC_SPI_BASE : 0);
  uint64_t lr = ICH_LR_PENDING | ICH_LR_GROUP1 | (uint64_t)b->priority[index] << ICH_LR_PRIORITY_SHIFT | intid;

  if (b->line & ~b->edge & bit)
    lr |= intid == VGIC_TIMER ? link_timer(v) : ICH_LR_EOI;
  b->soft = (b->soft & ~bit) | (b->latch & bit);
  b->latch &= ~bit;
  b->forced &= ~bit;
  b->resident |= bit;
  b->again |= can_relaunch(b, index, lr) ? bit : 0;
  b->lr[index] = (uint8_t)n;
  if (spi)
    v->vm->vgic.holder[index] = (uint8_t)v->id;
  v->vgic.lr_used |= (uint32_t)BIT(n);
  vgic_lr_set(v, n, lr);
  if (intid == VGIC_TIMER && !spi)
    vgic_timer_watch(v);
  trace(TRACE_GROUP_IRQ, TRACE_INJECT, vmid_value(&v->vm->s2.vmid), intid, v->id, 0, 0, 0);
}

/* A list register nobody uses, or -1. */
static int find_free(struct vcpu *v) {
  uint32_t unused = ~v->vgic.lr_used & vgic_lr_mask;
  if (unused == 0) {
    vgic_lr_sync(v);
    unused = ~v->vgic.lr_used & vgic_lr_mask;
  }
  return unused == 0 ? -1 : (int)bits_ffs(unused);
}

/*
 * All list registers are taken: make room for a pending interrupt of `priority`. The least urgent pending one goes if it is less urgent.
 * If none is pending, the least urgent active one goes, or nothing could ever preempt (or, with EOImode = 1, follow) them. -1: none goes.
 */
static int make_room(struct vcpu *v, unsigned priority) {
  int pending = -1, active = -1;
  unsigned pending_priority = 0, active_priority = 0;
  for (unsigned n = 0; n < vgic_lr_count; n++) {
    uint64_t lr = vgic_lr_get(v, n);
    unsigned p = vgic_lr_priority(lr);
    if (!(lr & ICH_LR_ACTIVE)) {
      if (pending < 0 || p >= pending_priority) {
        pending = (int)n;
        pending_priority = p;
      }
    } else if (active < 0 || p >= active_priority) {
      active = (int)n;
      active_priority = p;
    }
  }
  if (pending >= 0 && pending_priority <= priority)
    return -1;
  if (pending >= 0)
    vgic_lr_evict(v, (unsigned)pending);
  else if (active >= 0)
    vgic_lr_evict(v, (unsigned)active);
  return pending >= 0 ? pending : active;
}

/* The most urgent of `bits`: least of `priority`, then least number. */
static unsigned most_urgent(const uint8_t priority[64], uint64_t bits) {
  unsigned best = bits_ffs(bits);
  for (bits &= bits - 1; bits != 0; bits &= bits - 1)
    if (priority[bits_ffs(bits)] < priority[best])
      best = bits_ffs(bits);
  return best;
}

struct vgic_bank *vgic_lr_pick(struct vcpu *v, unsigned *index) {
  struct vgic_bank *priv = &v->vgic.priv, *spi = &v->vm->vgic.spi;
  uint64_t from_priv = vgic_ready_for(v, priv), from_spi = vgic_ready_for(v, spi);
  if (from_spi == 0) {
    if (from_priv == 0)
      return NULL;
    *index = most_urgent(priv->priority, from_priv);
    return priv;
  }
  unsigned s = most_urgent(spi->priority, from_spi);
  if (from_priv != 0) {
    unsigned p = most_urgent(priv->priority, from_priv);
    if (priv->priority[p] <= spi->priority[s]) {
      *index = p;
      return priv;
    }
  }
  *index = s;
  return spi;
}

/* Active interrupts of `v` that are in no list register. */
static uint64_t evicted(const struct vcpu *v, const struct vgic_bank *b) {
  if (!vgic_is_spi(v, b))
    return b->active;
  uint64_t mine = 0;
  for (uint64_t bits = b->active; bits != 0; bits &= bits - 1)
    if (v->vm->vgic.holder[bits_ffs(bits)] == v->id)
      mine |= bits & -bits;
  return mine;
}

static void set_hcr(struct vcpu *v, bool left_behind) {
  uint64_t hcr = ICH_HCR_EN | (v->vgic.hcr & ICH_HCR_TALL1);
  if (left_behind) {
    hcr |= ICH_HCR_NPIE;
    v->vgic.priv.again = 0; /* what stays behind may be more urgent */
  }
  if (evicted(v, &v->vgic.priv) || evicted(v, &v->vm->vgic.spi))
    hcr |= ICH_HCR_LRENPIE | ICH_HCR_TDIR;
  if (hcr != v->vgic.hcr || (hcr & ICH_HCR_LRENPIE))
    vgic_hw_write_hcr(hcr); /* clears EOIcount, which the caller has taken */
  v->vgic.hcr = hcr;
}

static void end_evicted(struct vcpu *v) {
  struct vgic_bank *priv = &v->vgic.priv, *spi = &v->vm->vgic.spi;
  uint64_t from_priv = evicted(v, priv), from_spi = evicted(v, spi);
  if ((from_priv & ~priv->forced) || (from_spi & ~spi->forced)) { /* what nobody acknowledged comes last */
    from_priv &= ~priv->forced;
    from_spi &= ~spi->forced;
  }
  unsigned p = from_priv ? most_urgent(priv->lr, from_priv) : 0, s = from_spi ? most_urgent(spi->lr, from_spi) : 0;
  if (from_priv && (!from_spi || priv->lr[p] <= spi->lr[s])) {
    priv->active &= ~BIT(p);
  } else if (from_spi) {
    spi->active &= ~BIT(s);
    vgic_hand_over(v, s);
  }
  vgic_timer_resample(v);
}

/*
 * EOIs that met no list register (EOImode = 0), counted by hardware: interrupts nest, so they were for the most urgent of those that left.
 */
static void take_ends(struct vcpu *v) {
  if (!(v->vgic.hcr & ICH_HCR_LRENPIE))
    return;
  for (uint64_t ends = vgic_hw_read_hcr() >> ICH_HCR_EOICOUNT_SHIFT & 0x1f; ends != 0; ends--)
    end_evicted(v);
}

void vgic_lr_fill(struct vcpu *v) {
  struct vgic_bank *b;
  unsigned index;
  bool left_behind = false;
  take_ends(v);
  while (!left_behind && (b = vgic_lr_pick(v, &index)) != NULL) {
    int n = find_free(v);
    if (n < 0)
      n = make_room(v, b->priority[index]);
    if (n >= 0)
      place(v, b, index, (unsigned)n);
    left_behind = n < 0;
  }
  set_hcr(v, left_behind);
}

/* Where `v` is not here, its list registers are crowded, or one holds the interrupt already. */
static NOINLINE bool update_rare(struct vcpu *v, struct vgic_bank *b, unsigned index) {
  uint64_t bit = BIT(index);
  if (!vgic_is_reachable(v))
    return true;
  if (b->resident & bit)
    vgic_lr_reconcile(v, b->lr[index]);
  if (!(vgic_ready_for(v, b) & bit))
    return false;
  if (!vgic_is_here(v))
    return true;
  vgic_lr_fill(v);
  return false;
}

/* A list register that interrupt `index` can have at once: the one that it had, finished, or an unused one. Else -1. */
static int take_free(struct vcpu *v, const struct vgic_bank *b, unsigned index) {
  if (unlikely(v->vgic.hcr & ICH_HCR_NPIE))
    return -1;
  if (b->resident & BIT(index)) {
    unsigned n = b->lr[index];
    return (vgic_hw_read_lr(n) & VGIC_LR_STATE) || (b->ordered & BIT(index)) ? -1 : (int)n;
  }
  uint32_t unused = ~v->vgic.lr_used & vgic_lr_mask;
  return unused == 0 ? -1 : (int)bits_ffs(unused);
}

bool vgic_lr_update(struct vcpu *v, struct vgic_bank *b, unsigned index) {
  uint64_t bit = BIT(index);
  if (likely(vgic_is_here(v) && (vgic_pending(b) & ~b->active & bit) && vgic_is_wanted(v, b, bit))) {
    int n = take_free(v, b, index);
    if (likely(n >= 0)) {
      place(v, b, index, (unsigned)n);
      return false;
    }
  }
  return update_rare(v, b, index);
}

/* SGIs and PPIs that were latched while they were resident. */
static void take_latches(struct vcpu *v) {
  struct vgic_bank *b = &v->vgic.priv;
  for (uint64_t bits = b->latch & b->resident; bits != 0; bits &= bits - 1) {
    unsigned index = bits_ffs(bits);
    if (index < GIC_SGIS && vgic_relaunch(v, index))
      b->latch &= ~BIT(index);
    else
      vgic_lr_reconcile(v, b->lr[index]);
  }
}

static void look_at_all(struct vcpu *v) {
  vgic_lr_sync(v);
  vgic_timer_resample(v);
  vgic_lr_fill(v); /* also where nothing waits: EOIs to take, maintenance interrupts to turn off */
}

/* `sync_due` is set before the request that goes with it, so a change that comes after it was read here has a request of its own. */
void vgic_lr_flush(struct vcpu *v) {
  if (atomic_load_relaxed(&v->vgic.sync_due)) {
    atomic_store_relaxed(&v->vgic.sync_due, false);
    look_at_all(v);
  } else {
    take_latches(v);
  }
  if (vgic_ready(&v->vgic.priv) | vgic_ready(&v->vm->vgic.spi))
    vgic_lr_fill(v);
}

void vgic_flush(struct vcpu *v) {
  spin_lock(&v->vm->vgic.lock);
  vgic_lr_flush(v);
  if (unlikely(vgic_timer_is_waiting(v)))
    vgic_timer_watch(v); /* something else may come first now */
  vgic_unlock(v->vm, 0);
}

void vgic_maintenance(struct vcpu *v) {
  atomic_store_relaxed(&v->vgic.sync_due, true);
  vgic_flush(v);
}
