/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving a vCPU's whole state: EL1's registers, virtual CPU interface, timer, FP/SIMD, stage 2.
 *
 * c->current says whose state is in the registers of `c`. Only `c` writes it: with release once the state that was there is saved, so that
 * a thief that finds another vCPU in it (acquire) sees the saved registers; it still names the old one while the new one's are being
 * loaded.
 *
 * Order: EL1's timer is stopped before its interrupt is unlinked, and runs before it is linked again (vgic.h). EL1's walks are off while
 * the registers they depend on are of two vCPUs (Arm ARM D8.2.4; Cortex-A72 erratum 1319367), so that none can leave a wrong entry in the
 * TLB. No lock.
 */
#include "hyp/core/load.h"
#include "hyp/arch/fp.h"
#include "hyp/arch/switch.h"
#include "hyp/arch/vttbr.h"
#include "hyp/core/alarm.h"
#include "hyp/core/cost.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/trace.h"

static inline void unload(struct cpu *c, struct vcpu *v) {
  el1_save(&v->el1);
  vgic_save(v);
  vtimer_save(v);
  fp_switch_out(v);
  alarm_by(c, vtimer_next(&v->vtimer)); /* its timer is not the hardware's any more */
  if (unlikely(v->serror_pending))
    v->serror_pending = el2_take_serror();
}

static NOINLINE void begin_life(struct vcpu *v, uint64_t now) {
  vcpu_reset(v);
  if (v->vm->entered_at == 0)
    v->vm->entered_at = now;
}

static inline void load(struct cpu *c, struct vcpu *v, const struct vcpu *from) {
  uint64_t now = timer_now();
  if (unlikely(v->reset_pending))
    begin_life(v, now);
  v->el2_stack = (uint64_t)c->stack_top;
  if (unlikely(vtimer_next(&v->vtimer) <= now))
    vtimer_expire(v, now);
  if (unlikely(v->serror_pending))
    el2_give_serror();
  el1_walks_off();
  if (from && from->vm == v->vm && !v->views)
    vttbr_share(v);
  else
    vttbr_load(v);
  el2_load_identity(v->id, v->vm->counter_offset);
  el1_load(&v->el1);
  if (atomic_load_relaxed(&v->requests) & VCPU_REQ_VGIC)
    atomic_fetch_and(&v->requests, ~VCPU_REQ_VGIC); /* the load looks at everything that is pending */
  vgic_load(v);
  vtimer_load(&v->vtimer);
  fp_switch_in(v);
}

static uint64_t trace_name(const struct vcpu *v) {
  return v ? (uint64_t)v->vm->id << 16 | v->id : ~(uint64_t)0;
}

static NOINLINE void watched_switch(struct cpu *c, const struct vcpu *from, const struct vcpu *to) {
  trace(TRACE_GROUP_SCHED, TRACE_SWITCH, 0, trace_name(from), trace_name(to), 0, 0, 0);
  cost_pause(c);
}

void load_switch(struct cpu *c, struct vcpu *v) {
  struct vcpu *from = c->current;
  if (unlikely(trace_mask & (BIT(TRACE_GROUP_SCHED) | TRACE_WATCH_COST)))
    watched_switch(c, from, v);
  if (from)
    unload(c, from);
  load(c, v, from);
  atomic_store_release(&c->current, v);
}

void load_nothing(struct cpu *c) {
  cost_pause(c);
  if (c->current)
    unload(c, c->current);
  vttbr_park();
  atomic_store_release(&c->current, NULL);
}
