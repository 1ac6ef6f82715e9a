/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual timer in hardware, physical timer in software.
 *
 * CNTV: while a vCPU is loaded, hardware counts and fires PPI 27; the interrupt is linked through a list register (vgic.c), so that the
 * guest's own deactivation lets it fire again. A vCPU that is not loaded has `cntv_deadline`; when the scheduler finds it reached, the line
 * goes up in software and the link is made when the vCPU is next entered. CNTP: EL1 accesses trap (CNTHCTL_EL2 is zero), also on CPUs with
 * FEAT_ECV, which is hidden. It is a compare value and a deadline; expiry drives PPI 30.
 *
 * Lock: none. A vtimer is written by the CPU its vCPU is loaded on, or, when it is on none, by the CPU whose run queue it is in.
 */
#include "arch/esr.h"
#include "arch/gicv3.h"
#include "arch/sysreg.h"
#include "hyp/core/sched.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/dev/vgic_hw.h"

#define CTL_WRITABLE (CNT_CTL_ENABLE | CNT_CTL_IMASK)

#define ID_CNTPCT SYSREG_ID(3, 3, 14, 0, 1)
#define ID_CNTPCTSS SYSREG_ID(3, 3, 14, 0, 5)
#define ID_CNTP_TVAL SYSREG_ID(3, 3, 14, 2, 0)
#define ID_CNTP_CTL SYSREG_ID(3, 3, 14, 2, 1)
#define ID_CNTP_CVAL SYSREG_ID(3, 3, 14, 2, 2)

/* CNTPCT may be read early by speculation: the ISB keeps it after what came before (Arm ARM D11.2.1). */
static uint64_t physical_count(void) {
  isb();
  return sysreg_read(cntpct_el0);
}

static bool fires(uint64_t ctl) {
  return (ctl & CTL_WRITABLE) == CNT_CTL_ENABLE;
}

/* CNTPCT at which a compare value of the guest is reached: NEVER if it is off, or lies past the end of the physical count. */
static uint64_t deadline_of(const struct vcpu *v, uint64_t ctl, uint64_t cval) {
  uint64_t at = cval + v->vm->counter_offset;
  if (!fires(ctl) || at < cval)
    return VTIMER_NEVER;
  return at;
}

void vtimer_reset(struct vcpu *v) {
  v->vtimer = (struct vtimer){.cntp_deadline = VTIMER_NEVER, .cntv_deadline = VTIMER_NEVER};
  v->el1.cntv_ctl_el0 = 0;
  v->el1.cntv_cval_el0 = 0;
}

void vtimer_save(struct vcpu *v) {
  v->vtimer.cntv_deadline = deadline_of(v, v->el1.cntv_ctl_el0, v->el1.cntv_cval_el0);
}

bool vtimer_cntv_asserted(struct vcpu *v) {
  if (v->vgic.loaded_on == vgic_hw_cpu()) {
    uint64_t ctl = sysreg_read(cntv_ctl_el0);
    return fires(ctl) && (ctl & CNT_CTL_ISTATUS);
  }
  uint64_t at = deadline_of(v, v->el1.cntv_ctl_el0, v->el1.cntv_cval_el0);
  return at != VTIMER_NEVER && at <= physical_count();
}

/* A PPI that was on its way when its timer was stopped is not for this vCPU: end it. */
void vtimer_irq(struct vcpu *v) {
  uint64_t ctl = sysreg_read(cntv_ctl_el0);
  if (likely(ctl == (CNT_CTL_ENABLE | CNT_CTL_ISTATUS)))
    vgic_inject_timer(v);
  else
    sysreg_write_enc(ICC_DIR_EL1, PPI_CNTV);
}

void vtimer_expire(struct vcpu *v, uint64_t now) {
  struct vtimer *t = &v->vtimer;
  if (t->cntp_deadline <= now) {
    t->cntp_deadline = VTIMER_NEVER;
    vgic_set_ppi(v, PPI_CNTP, true);
  }
  if (t->cntv_deadline <= now) {
    t->cntv_deadline = VTIMER_NEVER;
    vgic_set_ppi(v, PPI_CNTV, true);
  }
}

static uint64_t guest_count(const struct vcpu *v) {
  return physical_count() - v->vm->counter_offset;
}

/* CNTP was written: its line and deadline follow. */
static void cntp_changed(struct vcpu *v) {
  struct vtimer *t = &v->vtimer;
  uint64_t at = deadline_of(v, t->cntp_ctl, t->cntp_cval);
  bool reached = at != VTIMER_NEVER && at <= physical_count();
  t->cntp_deadline = reached ? VTIMER_NEVER : at;
  vgic_set_ppi(v, PPI_CNTP, reached);
  sched_update_timer(v->cpu);
}

/* ISTATUS does not depend on IMASK, and is zero while the timer is off (UNKNOWN in the Arm ARM). */
static uint64_t cntp_ctl(const struct vcpu *v) {
  uint64_t ctl = v->vtimer.cntp_ctl;
  if ((ctl & CNT_CTL_ENABLE) && guest_count(v) >= v->vtimer.cntp_cval)
    ctl |= CNT_CTL_ISTATUS;
  return ctl;
}

static bool read_timer(struct vcpu *v, uint32_t id, unsigned rt) {
  switch (id) {
  case ID_CNTPCT:
  case ID_CNTPCTSS:
    vcpu_set_reg(v, rt, guest_count(v));
    return true;
  case ID_CNTP_CTL:
    vcpu_set_reg(v, rt, cntp_ctl(v));
    return true;
  case ID_CNTP_CVAL:
    vcpu_set_reg(v, rt, v->vtimer.cntp_cval);
    return true;
  case ID_CNTP_TVAL:
    vcpu_set_reg(v, rt, (uint32_t)(v->vtimer.cntp_cval - guest_count(v)));
    return true;
  }
  return false;
}

static bool write_timer(struct vcpu *v, uint32_t id, uint64_t value) {
  switch (id) {
  case ID_CNTP_CTL:
    v->vtimer.cntp_ctl = value & CTL_WRITABLE;
    break;
  case ID_CNTP_CVAL:
    v->vtimer.cntp_cval = value;
    break;
  case ID_CNTP_TVAL:
    v->vtimer.cntp_cval = guest_count(v) + (uint64_t)bits_sext(value, 32);
    break;
  default:
    return false;
  }
  cntp_changed(v);
  return true;
}

bool vtimer_sysreg(struct vcpu *v, uint32_t sysreg_id, bool is_read, unsigned rt) {
  return is_read ? read_timer(v, sysreg_id, rt) : write_timer(v, sysreg_id, vcpu_reg(v, rt));
}
