/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list registers of a vCPU: what enters them, what comes back.
 *
 * Invariants: an interrupt is in at most one list register of one vCPU (`resident`); a list register that is not in `lr_used` is
 * empty (no state, and it asks for no EOI); what hardware has of an empty one does not count, its other fields are those in `lr`; when
 * candidates stay behind for want of room, none of them is more urgent than a pending one that got in, and NPIE brings us back when
 * the last of those was acknowledged. Registers that the guest has finished with are folded back only when somebody needs to know: at a
 * switch, at a maintenance interrupt, or for room.
 *
 * Where the vCPU is loaded on another CPU its list registers are out of reach: the state asked for is left in the bank and that CPU
 * is told (vcpu_request), which reconciles before it enters the guest again.
 *
 * Lock: vm->vgic.lock, held by every caller.
 */
#include "hyp/core/vm.h"
#include "hyp/dev/vgic_priv.h"
#include "hyp/dev/vtimer.h"

static uint64_t lr_get(struct vcpu *v, unsigned n) {
  if (vgic_is_here(v))
    v->vgic.lr[n] = (v->vgic.lr[n] & ~VGIC_LR_STATE) | (vgic_hw_read_lr(n) & VGIC_LR_STATE);
  return v->vgic.lr[n];
}

static void lr_set(struct vcpu *v, unsigned n, uint64_t lr) {
  v->vgic.lr[n] = lr;
  if (vgic_is_here(v))
    vgic_hw_write_lr(n, lr);
}

static unsigned lr_intid(uint64_t lr) {
  return (unsigned)(lr & ICH_LR_VINTID_MASK);
}

uint64_t vgic_lr_peek(struct vcpu *v, unsigned n) {
  return lr_get(v, n);
}

/* May this interrupt be signalled to `v` at all? */
static bool is_wanted(const struct vcpu *v, const struct vgic_bank *b, uint64_t bit) {
  return v->vm->vgic.enabled && (b->enabled & bit) && (!vgic_is_spi(v, b) || (v->vm->vgic.routed[v->id] & bit));
}

static uint64_t ready_for(const struct vcpu *v, const struct vgic_bank *b) {
  if (!v->vm->vgic.enabled)
    return 0;
  return vgic_ready(b) & (vgic_is_spi(v, b) ? v->vm->vgic.routed[v->id] : ~(uint64_t)0);
}

/* The pending state goes back to the bank; a linked timer stays physically active until it gets in again. */
static uint64_t retract(struct vcpu *v, struct vgic_bank *b, uint64_t bit, uint64_t lr) {
  b->latch |= b->soft & bit;
  if ((lr & ICH_LR_HW) && vgic_is_here(v))
    v->vgic.hw_unlinked = true;
  return lr & ~ICH_LR_PENDING;
}

/* The cause of the interrupt has gone before the guest acknowledged it. */
static uint64_t withdraw(struct vcpu *v, uint64_t lr) {
  if ((lr & ICH_LR_HW) && vgic_is_here(v))
    vgic_hw_set_active(VGIC_TIMER, false);
  return lr & ~ICH_LR_PENDING;
}

static uint64_t clear_active(struct vcpu *v, uint64_t lr) {
  if ((lr & ICH_LR_HW) && (lr & ICH_LR_ACTIVE) && vgic_is_here(v))
    vgic_hw_set_active(VGIC_TIMER, false);
  return lr & ~ICH_LR_ACTIVE;
}

/* By software, not by an acknowledge: if it was pending it still is, after that. The timer's is not linked, for nothing is active physically. */
static uint64_t set_active(struct vcpu *v, struct vgic_bank *b, uint64_t bit, uint64_t lr) {
  if (lr & ICH_LR_ACTIVE)
    return lr;
  if (lr & ICH_LR_PENDING)
    lr = retract(v, b, bit, lr);
  b->soft &= ~bit;
  b->again &= ~bit;
  b->forced |= bit;
  return (lr & ~(ICH_LR_HW | GENMASK(44, 32))) | ICH_LR_ACTIVE;
}

/* An SPI that was routed elsewhere while we had it is the other vCPU's from now on. */
static void hand_over(struct vcpu *v, unsigned index) {
  struct vgic *g = &v->vm->vgic;
  if ((vgic_ready(&g->spi) & BIT(index)) && g->target[index] != v->id && g->target[index] != VGIC_NO_VCPU)
    g->owed |= (vgic_kick_t)BIT(g->target[index]);
}

static uint64_t vacate(struct vcpu *v, struct vgic_bank *b, uint64_t bit, unsigned n) {
  b->resident &= ~bit;
  b->soft &= ~bit;
  b->again &= ~bit;
  b->forced &= ~bit;
  if (vgic_is_spi(v, b))
    hand_over(v, bits_ffs(bit));
  v->vgic.lr_used &= ~(uint32_t)BIT(n);
  return 0;
}

/* A linked list register cannot ask for its EOI: the timer's loses its link, and gets it anew when this one has ended. */
static uint64_t unlink_active(struct vcpu *v, struct vgic_bank *b, uint64_t bit, uint64_t lr) {
  b->line |= bit;
  b->again &= ~bit;
  v->vgic.hw_unlinked = vgic_is_here(v);
  return lr & ~(ICH_LR_HW | GENMASK(44, 32));
}

/*
 * More came while it was resident. Still pending: it is one with that. Active: it waits for the end of that, when the list register asks for its
 * EOI. (Pending and active at once would save that exit, but could leave behind something more urgent without NPIE to tell.)
 */
static uint64_t take_latch(struct vcpu *v, struct vgic_bank *b, uint64_t bit, uint64_t lr) {
  if (lr & ICH_LR_PENDING) {
    b->latch &= ~bit;
    b->soft |= bit;
    b->again &= (lr & ICH_LR_HW) ? ~bit : ~(uint64_t)0;
  } else if (lr & ICH_LR_HW) {
    lr = unlink_active(v, b, bit, lr);
  }
  return lr;
}

/* If it is pending again when it ends, its EOI must bring us back. */
static uint64_t ask_for_eoi(const struct vgic_bank *b, uint64_t bit, uint64_t lr) {
  return (vgic_pending(b) & bit) ? lr | ICH_LR_EOI : lr & ~ICH_LR_EOI;
}

/*
 * The timer's line, which nobody tells us of when it falls. Once the guest has deactivated a linked one, the physical interrupt is inactive too, and
 * fires again if the timer still asks.
 */
static void sample_timer(struct vcpu *v, struct vgic_bank *b, uint64_t lr) {
  bool linked = lr & ICH_LR_HW, asks = v->vgic.hw_unlinked || (linked ? (lr & VGIC_LR_STATE) : (b->line & BIT(VGIC_TIMER)));
  if (asks && vtimer_cntv_asserted(v)) {
    b->line |= BIT(VGIC_TIMER);
    return;
  }
  b->line &= ~BIT(VGIC_TIMER);
  if (!linked)
    vgic_timer_release(v);
}

void vgic_lr_reconcile(struct vcpu *v, unsigned n) {
  const uint64_t was = lr_get(v, n);
  unsigned index;
  struct vgic_bank *b = vgic_bank_of(v, lr_intid(was), &index);
  uint64_t bit = BIT(index), lr = was;

  if (lr_intid(was) == VGIC_TIMER)
    sample_timer(v, b, was);
  if (b->ordered & bit)
    lr = (b->ordered_active & bit) ? set_active(v, b, bit, lr) : clear_active(v, lr);
  b->ordered &= ~bit;
  bool due = (b->soft | vgic_pending(b)) & bit, fits = is_wanted(v, b, bit) && vgic_lr_priority(lr) == b->priority[index];
  if (!due || !fits)
    b->again &= ~bit;
  if (lr & ICH_LR_PENDING)
    lr = !due ? withdraw(v, lr) : !fits ? retract(v, b, bit, lr) : lr;
  if ((b->latch & bit) && (lr & VGIC_LR_STATE))
    lr = take_latch(v, b, bit, lr);
  if (!(lr & VGIC_LR_STATE))
    lr = vacate(v, b, bit, n);
  else if (!(lr & ICH_LR_HW))
    lr = ask_for_eoi(b, bit, lr);
  if (lr != was)
    lr_set(v, n, lr);
}

void vgic_lr_sync(struct vcpu *v) {
  for (uint32_t used = v->vgic.lr_used; used != 0; used &= used - 1)
    vgic_lr_reconcile(v, bits_ffs(used));
}

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
  lr_set(v, n, lr);
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

/* An active interrupt leaves for the bank: its end shows by EOIcount, or by a trapped ICC_DIR_EL1. The timer stays physically active till then. */
static void evict_active(struct vcpu *v, unsigned n) {
  unsigned index;
  uint64_t lr = lr_get(v, n);
  struct vgic_bank *b = vgic_bank_of(v, lr_intid(lr), &index);
  if (lr & ICH_LR_HW)
    v->vgic.hw_unlinked = true;
  uint64_t forced = b->forced & BIT(index);
  b->active |= BIT(index);
  b->lr[index] = (uint8_t)vgic_lr_priority(lr);
  lr_set(v, n, vacate(v, b, BIT(index), n));
  b->forced |= forced;
}

static void evict_pending(struct vcpu *v, unsigned n) {
  unsigned index;
  uint64_t lr = lr_get(v, n);
  struct vgic_bank *b = vgic_bank_of(v, lr_intid(lr), &index);
  (void)retract(v, b, BIT(index), lr);
  lr_set(v, n, vacate(v, b, BIT(index), n));
}

/*
 * All list registers are taken: make room for a pending interrupt of `priority`. The least urgent pending one goes if it is less urgent.
 * If none is pending, the least urgent active one goes, or nothing could ever preempt (or, with EOImode = 1, follow) them. -1: none goes.
 */
static int make_room(struct vcpu *v, unsigned priority) {
  int pending = -1, active = -1;
  unsigned pending_priority = 0, active_priority = 0;
  for (unsigned n = 0; n < vgic_lr_count; n++) {
    uint64_t lr = lr_get(v, n);
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
    evict_pending(v, (unsigned)pending);
  else if (active >= 0)
    evict_active(v, (unsigned)active);
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
  uint64_t from_priv = ready_for(v, priv), from_spi = ready_for(v, spi);
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
    hand_over(v, s);
  }
  vgic_timer_resample(v);
}

/* EOIs that met no list register (EOImode = 0), counted by hardware: interrupts nest, so they were for the most urgent of those that left. */
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
  if (!(ready_for(v, b) & bit))
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
  if (likely(vgic_is_here(v) && (vgic_pending(b) & ~b->active & bit) && is_wanted(v, b, bit))) {
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
