/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One list register: what the guest did with it, what software wants of it, and how its interrupt leaves it.
 *
 * Invariants: an interrupt is in at most one list register of one vCPU (`resident`); a list register that is not in `lr_used` is
 * empty (no state, and it asks for no EOI); what hardware has of an empty one does not count, its other fields are those in `lr`.
 * Registers that the guest has finished with are folded back only when somebody needs to know: at a switch, at a maintenance interrupt,
 * or for room. What enters them: vgic_fill.c.
 *
 * Lock: vm->vgic.lock, held by every caller.
 */
#include "hyp/core/vm.h"
#include "hyp/dev/vgic_priv.h"
#include "hyp/dev/vtimer.h"

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

/*
 * By software, not by an acknowledge: if it was pending it still is, after that. The timer's is not linked, for nothing is active
 * physically.
 */
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
void vgic_hand_over(struct vcpu *v, unsigned index) {
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
    vgic_hand_over(v, bits_ffs(bit));
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
 * More came while it was resident. Still pending: it is one with that. Active: it waits for the end of that, when the list register asks
 * for its EOI. (Pending and active at once would save that exit, but could leave behind something more urgent without NPIE to tell.)
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
 * The timer's line, which nobody tells us of when it falls. Once the guest has deactivated a linked one, the physical interrupt is inactive
 * too, and fires again if the timer still asks.
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
  const uint64_t was = vgic_lr_get(v, n);
  unsigned index;
  struct vgic_bank *b = vgic_bank_of(v, vgic_lr_intid(was), &index);
  uint64_t bit = BIT(index), lr = was;

  if (vgic_lr_intid(was) == VGIC_TIMER)
    sample_timer(v, b, was);
  if (b->ordered & bit)
    lr = (b->ordered_active & bit) ? set_active(v, b, bit, lr) : clear_active(v, lr);
  b->ordered &= ~bit;
  bool due = (b->soft | vgic_pending(b)) & bit, fits = vgic_is_wanted(v, b, bit) && vgic_lr_priority(lr) == b->priority[index];
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
    vgic_lr_set(v, n, lr);
}

void vgic_lr_sync(struct vcpu *v) {
  for (uint32_t used = v->vgic.lr_used; used != 0; used &= used - 1)
    vgic_lr_reconcile(v, bits_ffs(used));
}

/*
 * An active interrupt leaves for the bank: its end shows by EOIcount, or by a trapped ICC_DIR_EL1. The timer stays physically active till
 * then. A pending one waits there again.
 */
void vgic_lr_evict(struct vcpu *v, unsigned n) {
  unsigned index;
  uint64_t lr = vgic_lr_get(v, n);
  struct vgic_bank *b = vgic_bank_of(v, vgic_lr_intid(lr), &index);
  uint64_t forced = 0;
  if (lr & ICH_LR_ACTIVE) {
    v->vgic.hw_unlinked |= (lr & ICH_LR_HW) != 0;
    forced = b->forced & BIT(index);
    b->active |= BIT(index);
    b->lr[index] = (uint8_t)vgic_lr_priority(lr);
  } else {
    (void)retract(v, b, BIT(index), lr);
  }
  vgic_lr_set(v, n, vacate(v, b, BIT(index), n));
  b->forced |= forced;
}
