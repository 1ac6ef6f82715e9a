/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual GIC's life: set-up, reset, interrupt lines, save and load at a vCPU switch.
 *
 * PPI 27, the virtual timer's, is the one physical interrupt that belongs to guests. While the vCPU it fired for is loaded, its physical
 * active state is held until the guest deactivates the linked list register (or `hw_unlinked` says that it waits for one). A save clears
 * it, for the next vCPU needs the PPI; a load sets it again if the guest had acknowledged and not ended it.
 *
 * Lock: vm->vgic.lock (see vgic.h); vcpu_request() only after it is dropped.
 */
#include "arch/sysreg.h"
#include "core/check.h"
#include "core/string.h"
#include "hyp/dev/vgic_priv.h"
#include "hyp/dev/vtimer.h"

unsigned vgic_lr_count;
uint32_t vgic_lr_mask;
unsigned vgic_apr_count;

void vgic_cpu_setup(void) {
  static const uint64_t none[VGIC_APRS_MAX];
  vgic_hw_setup();
  uint64_t vtr = vgic_hw_read_vtr();
  vgic_lr_count = (unsigned)bits_get(vtr, 4, 0) + 1;
  CHECK(vgic_lr_count <= VGIC_LRS_MAX);
  vgic_lr_mask = (uint32_t)(BIT(vgic_lr_count) - 1);
  unsigned preemption_bits = (unsigned)bits_get(vtr, 28, 26) + 1;
  vgic_apr_count = preemption_bits <= 5 ? 1 : 1u << (preemption_bits - 5);
  for (unsigned n = 0; n < vgic_lr_count; n++)
    vgic_hw_write_lr(n, 0);
  vgic_hw_write_vmcr(0);
  vgic_hw_write_apr(vgic_apr_count, none, none);
  vgic_hw_write_hcr(0);
}

err_t vgic_init(struct vm *vm) {
  struct vgic *g = &vm->vgic;
  if (vm->vcpu_count > VGIC_VCPUS_MAX)
    return ERR_INVAL;
  memset(g, 0, sizeof(*g));
  memset(g->holder, VGIC_NO_VCPU, sizeof(g->holder));
  g->routed[0] = ~(uint64_t)0;
  return ERR_OK;
}

/* SPIs in list registers of a vCPU that starts anew: what was pending is pending again, what was active is not. */
static vgic_kick_t drop_residents(struct vcpu *v) {
  struct vgic_bank *spi = &v->vm->vgic.spi;
  uint64_t dropped = 0;
  for (uint64_t bits = spi->resident; bits != 0; bits &= bits - 1) {
    uint64_t bit = bits & -bits;
    if (v->vm->vgic.holder[bits_ffs(bits)] != v->id)
      continue;
    if (v->vgic.lr[spi->lr[bits_ffs(bits)]] & ICH_LR_PENDING)
      spi->latch |= spi->soft & bit;
    dropped |= bit;
  }
  spi->resident &= ~dropped;
  spi->ordered &= ~dropped;
  spi->soft &= ~dropped;
  return dropped != 0 ? vgic_bank_changed(v, spi, dropped) : 0;
}

/* All masked and disabled, no priority active. */
static void reset_interface(struct vgic_cpu *c) {
  c->vmcr = 0;
  for (unsigned i = 0; i < vgic_apr_count; i++)
    c->ap0r[i] = c->ap1r[i] = 0;
}

/* Field by field: PSCI CPU_ON waits for this, and what `resident` and `lr_used` do not mark needs no clearing. */
void vgic_vcpu_reset(struct vcpu *v) {
  struct vgic_cpu *c = &v->vgic;
  spin_lock(&v->vm->vgic.lock);
  CHECK(c->loaded_on == NULL);
  vgic_kick_t kick = v->vm->vgic.spi.resident != 0 ? drop_residents(v) : 0;
  memset(&c->priv, 0, offsetof(struct vgic_bank, priority) + 32);
  c->priv.edge = GENMASK(15, 0); /* SGIs; all PPIs are level-sensitive */
  c->lr_used = 0;
  c->hw_unlinked = false;
  c->sync_due = true;
  c->asleep = true;
  c->hcr = ICH_HCR_EN;
  reset_interface(c);
  vgic_unlock(v->vm, kick);
}

void vgic_power_down(struct vcpu *v) {
  spin_lock(&v->vm->vgic.lock);
  CHECK(v->vgic.loaded_on == NULL);
  reset_interface(&v->vgic);
  spin_unlock(&v->vm->vgic.lock);
}

void vgic_kick(struct vm *vm, vgic_kick_t kick) {
  for (; kick != 0; kick &= kick - 1) {
    struct vcpu *v = vm->vcpus[bits_ffs(kick)];
    atomic_store_relaxed(&v->vgic.sync_due, true);
    vcpu_request(v, VCPU_REQ_VGIC);
  }
}

void vgic_timer_release(struct vcpu *v) {
  if (v->vgic.hw_unlinked && vgic_is_here(v))
    vgic_hw_set_active(VGIC_TIMER, false);
  v->vgic.hw_unlinked = false;
}

void vgic_timer_resample(struct vcpu *v) {
  struct vgic_bank *b = &v->vgic.priv;
  if (!vgic_is_reachable(v))
    return;
  if (b->resident & BIT(VGIC_TIMER))
    vgic_lr_reconcile(v, b->lr[VGIC_TIMER]);
  if ((b->resident & BIT(VGIC_TIMER)) || !((b->line & BIT(VGIC_TIMER)) || v->vgic.hw_unlinked))
    return;
  if (vtimer_cntv_asserted(v)) {
    b->line |= BIT(VGIC_TIMER);
    return;
  }
  b->line &= ~BIT(VGIC_TIMER);
  vgic_timer_release(v);
}

/* A level went up or down, or an edge came. What changes nothing costs no more than the look. */
static void drive(struct vgic_bank *b, uint64_t bit, bool level) {
  if (level)
    b->latch |= b->edge & bit;
  b->line = level ? b->line | bit : b->line & ~bit;
}

void vgic_set_spi(struct vm *vm, unsigned intid, bool level) {
  CHECK(intid >= GIC_SPI_BASE && intid < VGIC_INTIDS);
  uint64_t bit = BIT(intid - GIC_SPI_BASE);
  spin_lock(&vm->vgic.lock);
  drive(&vm->vgic.spi, bit, level);
  vgic_unlock(vm, vgic_bank_changed(vm->vcpus[0], &vm->vgic.spi, bit));
}

void vgic_set_ppi(struct vcpu *v, unsigned intid, bool level) {
  CHECK(intid >= GIC_PPI_BASE && intid < GIC_SPI_BASE);
  spin_lock(&v->vm->vgic.lock);
  drive(&v->vgic.priv, BIT(intid), level);
  vgic_unlock(v->vm, vgic_bank_changed(v, &v->vgic.priv, BIT(intid)));
}

static NOINLINE void inject_timer(struct vcpu *v) {
  spin_lock(&v->vm->vgic.lock);
  v->vgic.priv.line |= BIT(VGIC_TIMER);
  v->vgic.hw_unlinked = true;
  vgic_unlock(v->vm, vgic_lr_update(v, &v->vgic.priv, VGIC_TIMER) ? (vgic_kick_t)BIT(v->id) : 0);
}

void vgic_inject_timer(struct vcpu *v) {
  if (likely(vgic_relaunch(v, VGIC_TIMER)))
    vgic_timer_watch(v);
  else
    inject_timer(v);
}

/* The timer's list register, or -1. */
static int timer_lr(const struct vcpu *v) {
  const struct vgic_bank *b = &v->vgic.priv;
  return (b->resident & BIT(VGIC_TIMER)) ? b->lr[VGIC_TIMER] : -1;
}

/*
 * `v` has left this CPU, and its timer is stopped (el1_save). Pending: back to the bank, to be linked anew. Active: the list
 * register keeps the link, and the load makes it true again.
 */
static NOINLINE void unlink_timer(struct vcpu *v) {
  struct vgic_cpu *c = &v->vgic;
  int n = timer_lr(v);
  bool held = c->hw_unlinked;
  c->hw_unlinked = false;
  if (n >= 0 && (c->lr[n] & ICH_LR_HW)) {
    uint64_t state = c->lr[n] & VGIC_LR_STATE;
    held |= state != 0;
    c->lr[n] &= ~ICH_LR_PENDING;
    if (state == ICH_LR_PENDING)
      c->priv.latch |= c->priv.soft & BIT(VGIC_TIMER);
    if (state != ICH_LR_ACTIVE)
      vgic_lr_reconcile(v, (unsigned)n); /* vacates it, and takes the timer for ended */
    if (state == ICH_LR_PENDING)
      c->priv.line |= BIT(VGIC_TIMER);
  }
  if (held)
    vgic_hw_set_active(VGIC_TIMER, false);
  c->hcr &= ~ICH_HCR_TALL1;
  vgic_timer_resample(v);
}

static NOINLINE void save_full_lrs(struct vgic_cpu *c, uint32_t full) {
  for (; full != 0; full &= full - 1) {
    unsigned n = bits_ffs(full);
    c->lr[n] = vgic_hw_read_lr(n);
    vgic_hw_write_lr(n, 0);
  }
}

/* Empty ones need no reading, and are left as they are. */
static inline void save_lrs(struct vgic_cpu *c) {
  uint32_t empty = c->lr_used & vgic_hw_read_elrsr(), full = c->lr_used & ~empty;
  for (; empty != 0; empty &= empty - 1)
    c->lr[bits_ffs(empty)] &= ~VGIC_LR_STATE;
  if (unlikely(full != 0))
    save_full_lrs(c, full);
}

/* Does the timer's interrupt have a state that depends on the CPU? */
static inline bool has_timer(const struct vgic_cpu *c) {
  return c->hw_unlinked || ((c->priv.resident | c->priv.line) & BIT(VGIC_TIMER));
}

void vgic_save(struct vcpu *v) {
  struct vgic_cpu *c = &v->vgic;
  spin_lock(&v->vm->vgic.lock);
  save_lrs(c);
  c->vmcr = vgic_hw_read_vmcr();
  vgic_hw_read_apr(vgic_apr_count, c->ap0r, c->ap1r);
  if (c->hcr & ICH_HCR_LRENPIE)
    c->hcr = vgic_hw_read_hcr(); /* with EOIcount */
  c->loaded_on = NULL;
  if (has_timer(c))
    unlink_timer(v);
  vgic_unlock(v->vm, 0);
}

/*
 * The guest had acknowledged it and not ended it: make the link true again. Otherwise, a timer that fired meanwhile goes straight into a
 * list register and saves the physical interrupt.
 */
static void relink_timer(struct vcpu *v) {
  int n = timer_lr(v);
  if (n < 0)
    v->vgic.priv.line |= (v->el1.cntv_ctl_el0 & CNT_CTL_ENABLE) && vtimer_cntv_asserted(v) ? BIT(VGIC_TIMER) : 0;
  else if ((v->vgic.lr[n] & ICH_LR_HW) && (v->vgic.lr[n] & VGIC_LR_STATE))
    vgic_hw_set_active(VGIC_TIMER, true);
}

/* SGIs latched meanwhile whose list registers are finished go straight into those (as by vgic_relaunch), before hardware has them. */
static inline void relaunch_saved(struct vcpu *v) {
  struct vgic_cpu *c = &v->vgic;
  for (uint64_t bits = c->priv.latch & c->priv.again & GENMASK(15, 0); bits != 0; bits &= bits - 1) {
    unsigned intid = bits_ffs(bits);
    uint64_t *lr = &c->lr[c->priv.lr[intid]];
    if (*lr & VGIC_LR_STATE)
      continue;
    *lr |= ICH_LR_PENDING;
    c->priv.latch &= ~BIT(intid);
    trace(TRACE_GROUP_IRQ, TRACE_INJECT, vmid_value(&v->vm->s2.vmid), intid, v->id, 0, 0, 0);
  }
}

static inline void load_lrs(const struct vgic_cpu *c) {
  for (uint32_t used = c->lr_used; used != 0; used &= used - 1) {
    uint64_t lr = c->lr[bits_ffs(used)];
    if (lr & (VGIC_LR_STATE | ICH_LR_EOI))
      vgic_hw_write_lr(bits_ffs(used), lr);
  }
}

void vgic_load(struct vcpu *v) {
  struct vgic_cpu *c = &v->vgic;
  spin_lock(&v->vm->vgic.lock);
  c->loaded_on = vgic_hw_cpu();
  relink_timer(v);
  if (likely(!atomic_load_relaxed(&c->sync_due)))
    relaunch_saved(v);
  load_lrs(c);
  vgic_hw_write_vmcr(c->vmcr);
  vgic_hw_write_apr(vgic_apr_count, c->ap0r, c->ap1r);
  vgic_hw_write_hcr(c->hcr);
  if (unlikely(atomic_load_relaxed(&c->sync_due)) || vgic_has_outside(v))
    vgic_lr_flush(v);
  vgic_unlock(v->vm, 0);
}
