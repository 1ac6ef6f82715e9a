/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits: every exception from a guest ends here and gets a defined answer. Handled on the spot with EL1's registers live; only when the
 * vCPU has requests (an interrupt to fill in, a slice that ended, WFI) does the way out go through the scheduler.
 *
 * Refuses to trust anything in the guest: a syndrome that makes no sense becomes UNDEFINED or an abort in the guest, with a rate-limited
 * line.
 */
#include "hyp/core/exit.h"
#include "arch/esr.h"
#include "arch/smccc.h"
#include "arch/sysreg.h"
#include "hyp/arch/fp.h"
#include "hyp/arch/gic.h"
#include "hyp/arch/switch.h"
#include "hyp/core/masked.h"
#include "hyp/core/sched.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/ctl.h"
#include "hyp/ctl/trace.h"
#include "hyp/dev/dev.h"
#include "hyp/mem/fault.h"

#define POLL_MAX 4u

static unsigned console_intid = GIC_INTID_SPURIOUS;

void irq_set_console(unsigned intid) {
  console_intid = intid;
}

static void skip_instruction(void) {
  sysreg_write(elr_el2, sysreg_read(elr_el2) + 4);
}

/* Somebody watches exits: the trace, or the clock of masked time. */
static void observe(struct vcpu *v, uint64_t esr) {
  masked_begin(v->cpu);
  trace(TRACE_GROUP_EXIT, TRACE_EXIT, 0, esr, vcpu_pc(), sysreg_read(far_el2), sysreg_read(hpfar_el2), 0);
}

static inline bool is_watched(void) {
  return unlikely(trace_mask & (BIT(TRACE_GROUP_EXIT) | TRACE_WATCH_MASKED));
}

static void wfx(struct vcpu *v, uint64_t esr) {
  skip_instruction();
  if (esr & 1)
    vcpu_yield(v); /* WFE */
  else
    vcpu_block(v);
}

static void smc(struct vcpu *v, uint64_t esr) {
  if (esr & 0xffff) {
    inject_undefined(v); /* only SMC #0 is SMCCC's; EL3 is not there */
    return;
  }
  skip_instruction(); /* the preferred return address of a trapped SMC is the SMC itself */
  dev_smccc(v);
}

static inline void answer_hvc(struct vcpu *v, uint64_t esr) {
  if (likely((esr & 0xffff) == 0))
    dev_smccc(v);
  else
    v->x[0] = (uint64_t)SMCCC_RET_NOT_SUPPORTED;
}

static NOINLINE void watched_hvc(struct vcpu *v, uint64_t esr) {
  observe(v, esr);
  answer_hvc(v, esr);
}

void exit_hvc(struct vcpu *v, uint64_t esr) {
  v->exits++;
  if (is_watched())
    watched_hvc(v, esr);
  else
    answer_hvc(v, esr);
}

static NOINLINE void rare(struct vcpu *v, uint64_t esr) {
  switch (esr_ec(esr)) {
  case ESR_EC_FP:
    fp_trap(v);
    break;
  case ESR_EC_SMC64:
    smc(v, esr);
    break;
  default:
    report_guest_trap(v, "trapped instruction that is not offered", esr, sysreg_read(far_el2), 0);
    inject_undefined(v);
  }
}

static inline void answer_sync(struct vcpu *v, uint64_t esr) {
  unsigned ec = esr_ec(esr);
  if (ec == ESR_EC_DABT_LOWER)
    fault_data_abort(v, esr);
  else if (ec == ESR_EC_SYSREG)
    dev_sysreg(v, esr);
  else if (ec == ESR_EC_IABT_LOWER)
    fault_instruction_abort(v, esr);
  else if (ec == ESR_EC_WFX)
    wfx(v, esr);
  else
    rare(v, esr);
}

static NOINLINE void watched_sync(struct vcpu *v, uint64_t esr) {
  observe(v, esr);
  answer_sync(v, esr);
}

void exit_sync(struct vcpu *v, uint64_t esr) {
  v->exits++;
  if (is_watched())
    watched_sync(v, esr);
  else
    answer_sync(v, esr);
}

/* One interrupt that was acknowledged. */
static void dispatch(struct cpu *c, unsigned intid) {
  struct vcpu *v = c->current;
  if (intid == PPI_CNTV) {
    gic_drop(intid);
    if (v)
      vtimer_irq(v);
    else
      sysreg_write_enc(ICC_DIR_EL1, intid);
  } else if (intid == GIC_SGI_KICK) {
    gic_end(intid);
    sched_kicked(c);
  } else if (intid == PPI_CNTHP) {
    timer_disarm();
    gic_end(intid);
    sched_tick(c);
  } else if (intid == PPI_MAINTENANCE) {
    if (v)
      vgic_maintenance(v);
    gic_end(intid);
  } else if (intid == GIC_SGI_STOP) {
    for (;;)
      wfi();
  } else {
    if (intid == console_intid)
      console_irq();
    gic_end(intid);
  }
}

void exit_irq(struct vcpu *v) {
  struct cpu *c = v->cpu;
  masked_begin(c);
  unsigned intid = gic_acknowledge();
  if (likely(intid < GIC_INTID_SPECIAL))
    dispatch(c, intid);
}

void irq_poll(struct cpu *c) {
  masked_end(c);
  masked_begin(c);
  /* The alarm for work that is due fires again until the caller has run it: so not until nothing is pending, only a few. */
  for (unsigned i = 0; i < POLL_MAX; i++) {
    unsigned intid = gic_acknowledge();
    if (intid >= GIC_INTID_SPECIAL)
      return;
    dispatch(c, intid);
  }
}

/* An SError is asynchronous: whoever caused it, the guest on this CPU is told (HCR_EL2.VSE needs AMO, which is set). */
void exit_serror(struct vcpu *v, uint64_t esr) {
  v->exits++;
  observe(v, esr);
  report_guest_trap(v, "SError", esr, 0, 0);
  v->serror_pending = true;
  el2_give_serror();
}

/* HCR_EL2.RW makes EL1 AArch64; a guest that finds its way to AArch32 EL0 is sent to its own EL1 as an illegal state. */
void exit_aarch32(struct vcpu *v, uint64_t esr) {
  v->exits++;
  observe(v, esr);
  if (esr_ec(esr) == ESR_EC_DABT_LOWER)
    fault_data_abort(v, esr);
  else if (esr_ec(esr) == ESR_EC_IABT_LOWER)
    fault_instruction_abort(v, esr);
  else
    inject_undefined(v);
}
