/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What WFI waits for, and what ends a power-down. WFI: would the virtual CPU interface signal an interrupt now? It would if the most urgent
 * pending one is more urgent than the priority mask and, by its group priority, than what is running (IHI 0069, 4.8). PSTATE.I does not
 * matter: WFI ends all the same.
 *
 * Asked about the vCPU that is loaded here, on every WFI and every wake-up, so it looks without the lock first.
 */
#include "hyp/dev/vgic_priv.h"

/* The most urgent pending interrupt in the list registers `among` of `v`; 0x100: none. */
static NOINLINE unsigned most_urgent(struct vcpu *v, uint32_t among) {
  unsigned best = 0x100;
  for (; among != 0; among &= among - 1) {
    uint64_t lr = vgic_lr_get(v, bits_ffs(among));
    if ((lr & VGIC_LR_STATE) == ICH_LR_PENDING && vgic_lr_priority(lr) < best)
      best = vgic_lr_priority(lr);
  }
  return best;
}

/* Most often hardware says that none has anything. */
static inline unsigned best_resident(struct vcpu *v) {
  uint32_t among = v->vgic.lr_used;
  if (vgic_is_here(v))
    among &= ~vgic_hw_read_elrsr();
  return among != 0 ? most_urgent(v, among) : 0x100;
}

/* The most urgent SGI or PPI latched while it was resident, whose list register is finished since; 0x100: none. */
static unsigned best_latched(struct vcpu *v) {
  const struct vgic_bank *b = &v->vgic.priv;
  unsigned best = 0x100;
  for (uint64_t bits = b->latch & b->resident & b->enabled; bits != 0; bits &= bits - 1) {
    unsigned index = bits_ffs(bits);
    if (!(vgic_lr_get(v, b->lr[index]) & VGIC_LR_STATE) && b->priority[index] < best)
      best = b->priority[index];
  }
  return best;
}

/* The most urgent that only waits to be signalled: in a list register or about to enter one. */
static NOINLINE unsigned best_pending(struct vcpu *v) {
  unsigned index, best = 0x100;
  spin_lock(&v->vm->vgic.lock);
  if (v->vm->vgic.enabled) {
    struct vgic_bank *b = vgic_lr_pick(v, &index);
    if (b != NULL)
      best = b->priority[index];
    best = (unsigned)min_u64(best, min_u64(best_resident(v), best_latched(v)));
  }
  spin_unlock(&v->vm->vgic.lock);
  return best;
}

/* Running priority of the virtual CPU interface; 0x100 when idle. Active-priority bit i stands for priority i << (3, 2 or 1). */
static unsigned running_priority(struct vcpu *v) {
  unsigned shift = vgic_apr_count == 1 ? 3 : vgic_apr_count == 2 ? 2 : 1;
  if (vgic_is_here(v))
    vgic_hw_read_apr(vgic_apr_count, v->vgic.ap0r, v->vgic.ap1r);
  for (unsigned i = 0; i < vgic_apr_count; i++) {
    uint64_t active = (v->vgic.ap0r[i] | v->vgic.ap1r[i]) & 0xffffffff;
    if (active != 0)
      return (32 * i + bits_ffs(active)) << shift;
  }
  return 0x100;
}

unsigned vgic_group_mask(uint64_t vmcr) {
  unsigned point = (vmcr & ICH_VMCR_VCBPR) ? (unsigned)bits_get(vmcr, 23, 21) + 1 : (unsigned)bits_get(vmcr, 20, 18);
  return ~0u << point;
}

bool vgic_is_signalled(struct vcpu *v, unsigned priority) {
  uint64_t vmcr = vgic_is_here(v) ? vgic_hw_read_vmcr() : v->vgic.vmcr;
  if (!(vmcr & ICH_VMCR_VENG1) || priority >= bits_get(vmcr, 31, 24))
    return false;
  unsigned running = running_priority(v);
  return running == 0x100 || (priority & vgic_group_mask(vmcr)) < running;
}

/* PPI 27 waits, in a list register or outside. The timer may have stopped asking since. */
static inline bool has_timer_waiting(const struct vcpu *v) {
  const struct vgic_bank *b = &v->vgic.priv;
  return (b->resident & BIT(VGIC_TIMER)) ? vgic_is_here(v) && vgic_timer_is_waiting(v) : b->line & BIT(VGIC_TIMER);
}

static NOINLINE void follow_timer(struct vcpu *v) {
  if (v->vgic.priv.resident & BIT(VGIC_TIMER)) {
    vgic_timer_follow(v);
    return;
  }
  spin_lock(&v->vm->vgic.lock);
  vgic_timer_resample(v);
  vgic_unlock(v->vm, 0);
}

/* Most often the list registers tell, and need no lock: whoever makes something pending elsewhere meanwhile also sends a request. */
bool vgic_has_pending(struct vcpu *v) {
  if (unlikely(has_timer_waiting(v)))
    follow_timer(v);
  unsigned best = vgic_has_outside(v) || !vgic_is_here(v) ? best_pending(v) : best_resident(v);
  return best < 0x100 && vgic_is_signalled(v, best);
}

bool vgic_has_wakeup(struct vcpu *v) {
  if (has_timer_waiting(v))
    follow_timer(v);
  return best_pending(v) < 0x100;
}

bool vgic_may_have_pending(const struct vcpu *v) {
  return (v->vgic.lr_used & ~vgic_hw_read_elrsr()) != 0 || vgic_has_outside(v);
}
