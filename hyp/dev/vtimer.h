/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VTIMER_H
#define HYP_DEV_VTIMER_H

/*
 * The guest's generic timer. The virtual timer is the hardware's own (CNTV, offset by the VM's CNTVOFF), its PPI 27 linked through a list
 * register while the vCPU is loaded; while it is not, a software deadline stands in. The physical timer is emulated: EL1 accesses
 * trap, its count is offset like the virtual one.
 */

#include "core/types.h"

struct vcpu;

#define VTIMER_NEVER (~(uint64_t)0)

struct vtimer {
  uint64_t cntp_cval;     /* guest's CNTP_CVAL, in guest count */
  uint64_t cntp_ctl;      /* ENABLE and IMASK */
  uint64_t cntp_deadline; /* CNTPCT at which CNTP fires; VTIMER_NEVER: not armed, or fired */
  uint64_t cntv_deadline; /* the same for CNTV while it is not in hardware */
};

/* Timers disabled; `v` is not loaded. */
void vtimer_reset(struct vcpu *v);
/*
 * Switch. CNTV_CTL_EL0, CNTV_CVAL_EL0 and CNTVOFF_EL2 are moved with the rest of EL1's state: el1_save() first, which stops the timer;
 * el1_load() before vtimer_load(). These keep the deadline that stands in for the hardware meanwhile.
 */
void vtimer_save(struct vcpu *v);
static inline void vtimer_load(struct vtimer *t) {
  t->cntv_deadline = VTIMER_NEVER;
}
/* Physical PPI 27 fired while `v` is loaded; its priority is dropped already, it is still active. */
void vtimer_irq(struct vcpu *v);
/* CNTPCT of the next moment a vCPU needs a timer interrupt that hardware will not give by itself; VTIMER_NEVER: none. */
static inline uint64_t vtimer_next(const struct vtimer *t) {
  return t->cntp_deadline < t->cntv_deadline ? t->cntp_deadline : t->cntv_deadline;
}
/* `now` may have reached vtimer_next(): raise what is due; wakes `v`. No run-queue lock held. */
void vtimer_expire(struct vcpu *v, uint64_t now);
/* Does the virtual timer ask for its interrupt: enabled, not masked, condition met? From the CPU that has it loaded, or when none has. */
bool vtimer_cntv_asserted(struct vcpu *v);
/* Trapped CNTP_*, CNTPCT: true if handled. */
bool vtimer_sysreg(struct vcpu *v, uint32_t sysreg_id, bool is_read, unsigned rt);

#endif
