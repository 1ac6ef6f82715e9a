/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PPI 27 as the level that it is. The guest owns its virtual timer and turns it off without a trap, and a pending list register does not
 * follow: so the level is looked at again when the guest could next learn of the interrupt.
 *
 * Made pending under a guest that can take it, the interrupt is taken at once, and acknowledged. Under one that cannot, accesses to the CPU
 * interface's Group 1 registers trap (ICH_HCR_EL2.TALL1) until it is acknowledged: if the timer has stopped asking by then, the list
 * register is emptied first, and the guest reads 1023 (IHI 0069, 4.8: an interrupt that is withdrawn before it is acknowledged). All else
 * that may come before is emulated, so that the trap stays; but for the binary point and the active priorities, which nobody writes in a
 * handler. A wait that EL2 sees (CPU_SUSPEND, a WFI that traps) looks too.
 *
 * What no Armv8.0 machine can know is the moment at which the guest opens PSTATE.I: it then takes an exception, and finds 1023. Nor does a
 * WFI trap that has a virtual interrupt to end it: until the guest looks once, WFI goes through. No lock where the vCPU is loaded here: see
 * vgic_relaunch().
 */
#include "arch/esr.h"
#include "hyp/dev/vgic_priv.h"
#include "hyp/dev/vtimer.h"

#define ID_IAR1 SYSREG_ID(3, 0, 12, 12, 0)
#define ID_EOIR1 SYSREG_ID(3, 0, 12, 12, 1)
#define ID_HPPIR1 SYSREG_ID(3, 0, 12, 12, 2)
#define ID_BPR1 SYSREG_ID(3, 0, 12, 12, 3)
#define ID_IGRPEN1 SYSREG_ID(3, 0, 12, 12, 7)
#define ID_AP1R0 SYSREG_ID(3, 0, 12, 9, 0)
#define ID_AP1R3 SYSREG_ID(3, 0, 12, 9, 3)

/* The count of EOIs that met no list register is hardware's: a write of what it says keeps it. */
static void set_watch(struct vcpu *v, bool on) {
  uint64_t hcr = (v->vgic.hcr & ICH_HCR_LRENPIE) ? vgic_hw_read_hcr() : v->vgic.hcr;
  v->vgic.hcr = on ? v->vgic.hcr | ICH_HCR_TALL1 : v->vgic.hcr & ~ICH_HCR_TALL1;
  vgic_hw_write_hcr(on ? hcr | ICH_HCR_TALL1 : hcr & ~ICH_HCR_TALL1);
}

void vgic_timer_watch_on(struct vcpu *v) {
  set_watch(v, true);
}

/* The list register is left as one that the guest has finished with: the timer's next interrupt finds it so (vgic_relaunch). */
void vgic_timer_follow(struct vcpu *v) {
  const struct vgic_bank *b = &v->vgic.priv;
  if (!(b->resident & BIT(VGIC_TIMER)) || (b->soft & BIT(VGIC_TIMER)))
    return;
  unsigned n = b->lr[VGIC_TIMER];
  uint64_t lr = v->vgic.lr[n];
  if (!(lr & ICH_LR_HW) || (vgic_hw_read_lr(n) & VGIC_LR_STATE) != ICH_LR_PENDING || vtimer_cntv_asserted(v))
    return;
  v->vgic.lr[n] = lr & ~VGIC_LR_STATE;
  vgic_hw_write_lr(n, lr & ~VGIC_LR_STATE);
  vgic_hw_set_active(VGIC_TIMER, false);
  if (v->vgic.hcr & ICH_HCR_NPIE)
    vgic_maintenance(v); /* what stayed behind for want of room */
}

static void add_active(struct vcpu *v, unsigned group_priority) {
  struct vgic_cpu *c = &v->vgic;
  unsigned bit = group_priority >> (vgic_apr_count == 1 ? 3 : vgic_apr_count == 2 ? 2 : 1);
  vgic_hw_read_apr(vgic_apr_count, c->ap0r, c->ap1r);
  c->ap1r[bit / 32] |= BIT(bit % 32);
  vgic_hw_write_apr(vgic_apr_count, c->ap0r, c->ap1r);
}

static void drop_active(struct vcpu *v) {
  struct vgic_cpu *c = &v->vgic;
  unsigned i = 0;
  vgic_hw_read_apr(vgic_apr_count, c->ap0r, c->ap1r);
  while (i < vgic_apr_count - 1 && c->ap1r[i] == 0)
    i++;
  c->ap1r[i] &= c->ap1r[i] - 1;
  vgic_hw_write_apr(vgic_apr_count, c->ap0r, c->ap1r);
}

/* Of the pending list registers the most urgent, whatever masks it; -1: none. */
static int highest_pending(struct vcpu *v) {
  int best = -1;
  uint64_t found = 0;
  for (uint32_t used = v->vgic.lr_used & ~vgic_hw_read_elrsr(); used != 0; used &= used - 1) {
    uint64_t lr = vgic_hw_read_lr(bits_ffs(used));
    if ((lr & VGIC_LR_STATE) != ICH_LR_PENDING || (best >= 0 && vgic_lr_priority(lr) >= vgic_lr_priority(found)))
      continue;
    best = (int)bits_ffs(used);
    found = lr;
  }
  return best;
}

/*
 * ICC_IAR1_EL1. The timer's interrupt, if it is its turn, is acknowledged by hardware, and the watch is over. Another one that comes first
 * is acknowledged here, as hardware would.
 */
static enum vgic_icc acknowledge(struct vcpu *v, unsigned rt) {
  int n = highest_pending(v);
  uint64_t lr = n < 0 ? 0 : vgic_hw_read_lr((unsigned)n);
  if (n < 0 || !vgic_is_signalled(v, vgic_lr_priority(lr))) {
    vcpu_set_reg(v, rt, GIC_INTID_SPURIOUS);
    return VGIC_ICC_DONE;
  }
  unsigned intid = (unsigned)(lr & ICH_LR_VINTID_MASK);
  if (intid == VGIC_TIMER) {
    set_watch(v, false);
    return VGIC_ICC_AGAIN;
  }
  vgic_hw_write_lr((unsigned)n, (lr & ~VGIC_LR_STATE) | ICH_LR_ACTIVE);
  add_active(v, vgic_lr_priority(lr) & vgic_group_mask(vgic_hw_read_vmcr()));
  vcpu_set_reg(v, rt, intid);
  return VGIC_ICC_DONE;
}

/* ICC_HPPIR1_EL1 */
static uint64_t look_at_highest(struct vcpu *v) {
  int n = highest_pending(v);
  if (n < 0 || !(vgic_hw_read_vmcr() & ICH_VMCR_VENG1))
    return GIC_INTID_SPURIOUS;
  return vgic_hw_read_lr((unsigned)n) & ICH_LR_VINTID_MASK;
}

/* ICC_EOIR1_EL1: the highest active priority is dropped; with EOImode = 0 the interrupt is deactivated too. Special INTIDs are ignored. */
static void end_of_interrupt(struct vcpu *v, uint64_t intid) {
  if (intid >= GIC_INTID_SPECIAL && intid < GIC_INTID_SPECIAL + 4)
    return;
  drop_active(v);
  if (!(vgic_hw_read_vmcr() & ICH_VMCR_VEOIM))
    vgic_deactivate(v, (unsigned)intid);
}

static void enable_group(bool enable) {
  uint64_t vmcr = vgic_hw_read_vmcr();
  vgic_hw_write_vmcr(enable ? vmcr | ICH_VMCR_VENG1 : vmcr & ~ICH_VMCR_VENG1);
}

static enum vgic_icc read_icc(struct vcpu *v, uint32_t id, unsigned rt) {
  vgic_timer_follow(v);
  switch (id) {
  case ID_IAR1:
    return acknowledge(v, rt);
  case ID_HPPIR1:
    vcpu_set_reg(v, rt, look_at_highest(v));
    return VGIC_ICC_DONE;
  case ID_IGRPEN1:
    vcpu_set_reg(v, rt, (vgic_hw_read_vmcr() & ICH_VMCR_VENG1) != 0);
    return VGIC_ICC_DONE;
  }
  set_watch(v, false);
  return VGIC_ICC_AGAIN;
}

static enum vgic_icc write_icc(struct vcpu *v, uint32_t id, uint64_t value) {
  switch (id) {
  case ID_EOIR1:
    end_of_interrupt(v, value & 0xffffff);
    return VGIC_ICC_DONE;
  case ID_IGRPEN1:
    enable_group(value & 1);
    return VGIC_ICC_DONE;
  }
  set_watch(v, false);
  return VGIC_ICC_AGAIN;
}

static bool is_of_group1(uint32_t id) {
  return id == ID_IAR1 || id == ID_EOIR1 || id == ID_HPPIR1 || id == ID_BPR1 || id == ID_IGRPEN1 || (id >= ID_AP1R0 && id <= ID_AP1R3);
}

enum vgic_icc vgic_icc_access(struct vcpu *v, uint32_t id, bool is_read, unsigned rt) {
  if (!(v->vgic.hcr & ICH_HCR_TALL1) || !is_of_group1(id))
    return VGIC_ICC_FOREIGN;
  return is_read ? read_icc(v, id, rt) : write_icc(v, id, vcpu_reg(v, rt));
}
