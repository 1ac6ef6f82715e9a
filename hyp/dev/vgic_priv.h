/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VGIC_PRIV_H
#define HYP_DEV_VGIC_PRIV_H

/* What the files of the virtual GIC share. Everything here is called with vm->vgic.lock held, unless said otherwise. */

#include "core/bits.h"
#include "core/compiler.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/trace.h"
#include "hyp/dev/vgic.h"
#include "hyp/dev/vgic_hw.h"

#define VGIC_PRIORITY_MASK 0xf8u /* five bits, as ICH_VTR_EL2.PRIbits is at least */
#define VGIC_TIMER PPI_CNTV
#define VGIC_LR_STATE (ICH_LR_PENDING | ICH_LR_ACTIVE)

extern unsigned vgic_lr_count;  /* list registers of every CPU */
extern uint32_t vgic_lr_mask;   /* a bit for each */
extern unsigned vgic_apr_count; /* active-priority registers of each group */

/* A set of vCPUs (bit per id) to be told, once the lock is dropped. */
typedef uint32_t vgic_kick_t;

static inline struct vgic_bank *vgic_bank_of(struct vcpu *v, unsigned intid, unsigned *index) {
  if (intid < GIC_SPI_BASE) {
    *index = intid;
    return &v->vgic.priv;
  }
  *index = intid - GIC_SPI_BASE;
  return &v->vm->vgic.spi;
}

static inline bool vgic_is_spi(const struct vcpu *v, const struct vgic_bank *b) {
  return b == &v->vm->vgic.spi;
}

/* Pending outside list registers. */
static inline uint64_t vgic_pending(const struct vgic_bank *b) {
  return b->latch | (b->line & ~b->edge);
}

/* Waiting for a list register, if the group is enabled. */
static inline uint64_t vgic_ready(const struct vgic_bank *b) {
  return vgic_pending(b) & b->enabled & ~b->active & ~b->resident;
}

/* Is anything pending outside list registers, of this vCPU or another? Most often nothing is at all. */
static inline bool vgic_has_outside(const struct vcpu *v) {
  const struct vgic_bank *b = &v->vgic.priv, *spi = &v->vm->vgic.spi;
  if (likely((b->latch | b->line | spi->latch | spi->line) == 0))
    return false;
  return vgic_ready(b) || (b->latch & b->resident) || vgic_ready(spi);
}

/* Are the list registers of `v` in this CPU's hardware? */
static inline bool vgic_is_here(const struct vcpu *v) {
  return v->vgic.loaded_on == vgic_hw_cpu();
}

/* Can this CPU read and change the list registers of `v`, in hardware or in memory? */
static inline bool vgic_is_reachable(const struct vcpu *v) {
  return v->vgic.loaded_on == NULL || vgic_is_here(v);
}

static inline unsigned vgic_lr_priority(uint64_t lr) {
  return (unsigned)bits_get(lr, 55, 48);
}

/* List register `n` of `v`, by the best knowledge this CPU has. */
static inline uint64_t vgic_lr_get(struct vcpu *v, unsigned n) {
  if (vgic_is_here(v))
    v->vgic.lr[n] = (v->vgic.lr[n] & ~VGIC_LR_STATE) | (vgic_hw_read_lr(n) & VGIC_LR_STATE);
  return v->vgic.lr[n];
}

static inline void vgic_lr_set(struct vcpu *v, unsigned n, uint64_t lr) {
  v->vgic.lr[n] = lr;
  if (vgic_is_here(v))
    vgic_hw_write_lr(n, lr);
}

static inline unsigned vgic_lr_intid(uint64_t lr) {
  return (unsigned)(lr & ICH_LR_VINTID_MASK);
}

/* May this interrupt be signalled to `v` at all? */
static inline bool vgic_is_wanted(const struct vcpu *v, const struct vgic_bank *b, uint64_t bit) {
  return v->vm->vgic.enabled && (b->enabled & bit) && (!vgic_is_spi(v, b) || (v->vm->vgic.routed[v->id] & bit));
}

/* The candidates of a bank for `v`. */
static inline uint64_t vgic_ready_for(const struct vcpu *v, const struct vgic_bank *b) {
  if (!v->vm->vgic.enabled)
    return 0;
  return vgic_ready(b) & (vgic_is_spi(v, b) ? v->vm->vgic.routed[v->id] : ~(uint64_t)0);
}

/* vgic_lr.c */

/* Take over what the guest did with list register `n` of `v` (reachable), and what software wants of it. */
void vgic_lr_reconcile(struct vcpu *v, unsigned n);
/* All of them. */
void vgic_lr_sync(struct vcpu *v);
/* Its interrupt, active or pending, goes back to the bank; the list register is free. `v` is reachable. */
void vgic_lr_evict(struct vcpu *v, unsigned n);
/* An SPI that was routed elsewhere while `v` had it, pending again, is owed to the other vCPU. */
void vgic_hand_over(struct vcpu *v, unsigned index);

/* vgic_fill.c */

/* Move candidates into list registers, the most urgent first; `v` is here. Sets maintenance interrupts as what stays behind needs. */
void vgic_lr_fill(struct vcpu *v);
/* What a request asks for: all of the above as far as needed; `v` is here. */
void vgic_lr_flush(struct vcpu *v);
/*
 * Interrupt `index` of bank `b` changed for `v`. Makes it right at once where the list registers are in reach. True if `v` must be told by
 * vcpu_request().
 */
bool vgic_lr_update(struct vcpu *v, struct vgic_bank *b, unsigned index);
/* The bank and index of the most urgent candidate for `v`; NULL if there is none. */
struct vgic_bank *vgic_lr_pick(struct vcpu *v, unsigned *index);

/* vgic_bank.c */

/* Something changed about `bits` of a bank (private: of `v`; SPIs: of v->vm): bring list registers in line. */
vgic_kick_t vgic_bank_settle(struct vcpu *v, struct vgic_bank *b, uint64_t bits);

static inline vgic_kick_t vgic_bank_changed(struct vcpu *v, struct vgic_bank *b, uint64_t bits) {
  if (likely(!(bits & (b->resident | vgic_pending(b) | BIT(VGIC_TIMER)))))
    return 0;
  return vgic_bank_settle(v, b, bits);
}

/* Resident ones are deactivated where they are, the others here. */
static inline void vgic_bank_deactivate(struct vgic_bank *b, uint64_t bits) {
  b->ordered |= bits & b->resident;
  b->ordered_active &= ~bits;
  b->active &= ~bits;
}

/* Read and write of the 32-bit registers that are laid out one bit, two bits or a byte per interrupt. `offset` is that of GICD_*. */
uint32_t vgic_bank_read(struct vcpu *v, struct vgic_bank *b, unsigned first, uint64_t offset, vgic_kick_t *kick);
vgic_kick_t vgic_bank_write(struct vcpu *v, struct vgic_bank *b, unsigned first, uint64_t offset, uint32_t value, uint32_t mask);

/* vgic.c */

/* vcpu_request() each vCPU in `kick`; the lock is not held. */
void vgic_kick(struct vm *vm, vgic_kick_t kick);
/* PPI 27, in no list register: does the virtual timer still ask? */
void vgic_timer_resample(struct vcpu *v);
/* The physical active state of PPI 27, held for `v` on this CPU, is not needed any more. */
void vgic_timer_release(struct vcpu *v);

/* vgic_timer.c */

/*
 * PPI 27 may be pending in a list register of `v`, which is here: if the timer does not ask any more, take it back. No lock is held; it
 * needs none, as vgic_relaunch().
 */
void vgic_timer_follow(struct vcpu *v);
void vgic_timer_watch_on(struct vcpu *v);

/*
 * PPI 27 is pending in a list register here. A guest that can take it does so at once. One that cannot (PSTATE.I, the priority mask, a
 * handler), or is given something else first, may turn its timer off before it can, so its looks at the CPU interface trap until it has.
 */
static inline void vgic_timer_watch(struct vcpu *v) {
  const struct vgic_bank *b = &v->vgic.priv;
  uint64_t vmcr = vgic_hw_read_vmcr();
  bool open = (vmcr & ICH_VMCR_VENG1) && b->priority[VGIC_TIMER] < bits_get(vmcr, 31, 24);
  bool alone = !(v->vgic.lr_used & ~vgic_hw_read_elrsr() & ~(uint32_t)BIT(b->lr[VGIC_TIMER]));
  if (unlikely(vgic_hw_irq_masked() || !open || !alone || vgic_hw_is_running(vgic_apr_count)))
    vgic_timer_watch_on(v);
}

/* Does PPI 27 wait in a list register of `v`, which is here? */
static inline bool vgic_timer_is_waiting(const struct vcpu *v) {
  const struct vgic_bank *b = &v->vgic.priv;
  return (b->resident & BIT(VGIC_TIMER)) && !(vgic_hw_read_elrsr() >> b->lr[VGIC_TIMER] & 1);
}

/*
 * The commonest injection: the list register that SGI or PPI `intid` of `v` had is finished and not folded yet, so it only needs its
 * pending bit again. False: go the long way. `v` is here. Needs no lock: while it is, only this CPU changes what is resident, where and
 * `again`; a change by another CPU comes with a request to reconcile, obeyed before the guest is entered.
 */
static inline bool vgic_relaunch(struct vcpu *v, unsigned intid) {
  const struct vgic_bank *b = &v->vgic.priv;
  if (unlikely(!(b->again & BIT(intid))))
    return false;
  unsigned n = b->lr[intid];
  if (unlikely(vgic_hw_read_lr(n) & VGIC_LR_STATE))
    return false;
  uint64_t lr = (v->vgic.lr[n] & ~VGIC_LR_STATE) | ICH_LR_PENDING;
  v->vgic.lr[n] = lr;
  vgic_hw_write_lr(n, lr);
  trace(TRACE_GROUP_IRQ, TRACE_INJECT, vmid_value(&v->vm->s2.vmid), intid, v->id, 0, 0, 0);
  return true;
}

/* vgic_pending.c */

/* Would the CPU interface signal an interrupt of `priority`? */
bool vgic_is_signalled(struct vcpu *v, unsigned priority);
/* The bits that priorities of one group have in common (ICC_BPR1_EL1; ICC_BPR0_EL1 where ICC_CTLR_EL1.CBPR says so). */
unsigned vgic_group_mask(uint64_t vmcr);

/* Drop the lock, then tell the vCPUs in `kick` and those that are owed it. */
static inline void vgic_unlock(struct vm *vm, vgic_kick_t kick) {
  kick |= vm->vgic.owed;
  vm->vgic.owed = 0;
  spin_unlock(&vm->vgic.lock);
  if (unlikely(kick != 0))
    vgic_kick(vm, kick);
}

#define VGIC_IIDR 0x5300043bu /* ProductID 'S', implementer Arm, as architected models use it */

/*
 * First INTID of a register that is laid out by interrupt, by its offset from GICD_* (or SGI_base): one bit each below IPRIORITYR, then
 * a byte each, then two bits each. Past all INTIDs for other registers.
 */
static inline unsigned vgic_register_intid(uint64_t offset) {
  if (offset - GICD_IGROUPR < GICD_IPRIORITYR - GICD_IGROUPR)
    return (unsigned)(offset & 0x7c) * 8;
  if (offset - GICD_IPRIORITYR < GICD_ITARGETSR - GICD_IPRIORITYR)
    return (unsigned)(offset - GICD_IPRIORITYR);
  if (offset - GICD_ICFGR < GICD_IGRPMODR - GICD_ICFGR)
    return (unsigned)(offset - GICD_ICFGR) * 4;
  return ~0u;
}

/* The bits of a 32-bit word that an access of `bytes` covers, before it is shifted to its place. */
static inline uint32_t vgic_access_mask(unsigned bytes) {
  return bytes >= 4 ? ~0u : (1u << 8 * bytes) - 1;
}

#endif
