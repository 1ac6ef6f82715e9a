/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Life of a vCPU as its guest sees it: power on and off by PSCI, waiting, yielding. Where and when it runs is sched.c's business.
 */
#include "hyp/core/vcpu.h"
#include "core/compiler.h"
#include "core/string.h"
#include "hyp/arch/fp.h"
#include "hyp/arch/switch.h"
#include "hyp/core/cpu.h"
#include "hyp/core/masked.h"
#include "hyp/core/sched.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/exhaust.h"

void vcpu_block(struct vcpu *v) {
  atomic_fetch_or(&v->requests, VCPU_REQ_BLOCK);
  trace(TRACE_GROUP_SCHED, TRACE_WFI, 0, v->id, 0, 0, 0, 0);
}

void vcpu_yield(struct vcpu *v) {
  atomic_fetch_or(&v->requests, VCPU_REQ_RESCHED);
}

void vcpu_power_off(struct vcpu *v) {
  atomic_store_release(&v->powered, false);
  atomic_fetch_or(&v->requests, VCPU_REQ_OFF);
}

void vcpu_wipe(struct vcpu *v) {
  memset(v->x, 0, sizeof(v->x));
  el1_reset(&v->el1, 0);
  fp_reset(v);
  vgic_vcpu_reset(v);
  vtimer_reset(v);
  v->wiped = true;
}

void vcpu_suspend(struct vcpu *v, ipa_t entry, uint64_t context) {
  v->boot_entry = entry;
  v->boot_context = context;
  atomic_fetch_or(&v->requests, VCPU_REQ_SUSPEND);
  trace(TRACE_GROUP_SCHED, TRACE_WFI, 0, v->id, 0, 0, 0, 0);
}

/* What a power-down takes: the virtual CPU interface too, but not the interrupt that ends it, nor the timer that will raise it. */
static void forget_registers(struct vcpu *v) {
  uint64_t cval = v->el1.cntv_cval_el0, ctl = v->el1.cntv_ctl_el0;
  memset(v->x, 0, sizeof(v->x));
  el1_reset(&v->el1, 0);
  v->el1.cntv_cval_el0 = cval;
  v->el1.cntv_ctl_el0 = ctl;
  fp_reset(v);
  vgic_power_down(v);
}

/* It is loaded so that it can be seen whether a wake-up event has come. If not, it powers down again before it has executed anything. */
static void prepare_resume(struct vcpu *v) {
  forget_registers(v);
  atomic_fetch_or(&v->requests, VCPU_REQ_SUSPEND);
}

/*
 * What CPU_ON and CPU_SUSPEND promise of a core's initial state (PSCI 1.1). On the CPU that is about to run it, so that the caller need not
 * wait.
 */
void vcpu_reset(struct vcpu *v) {
  if (v->resume)
    prepare_resume(v);
  else if (unlikely(!v->wiped))
    vcpu_wipe(v);
  v->resume = false;
  v->x[0] = v->boot_context;
  v->el1.elr_el2 = v->boot_entry.v;
  v->wiped = false;
  v->wait_reason = WAIT_NONE;
  v->wait_goes_on = false;
  v->reset_pending = false;
}

/* Only one caller may bring a vCPU up: `powered` decides. It may still be on its way off: then its state is not OFF yet. */
err_t vcpu_power_on(struct vcpu *v, ipa_t entry, uint64_t context) {
  if (atomic_exchange(&v->powered, true))
    return ERR_EXIST;
  if (atomic_load_acquire(&v->state) != VCPU_OFF || v->cpu->current == v) {
    atomic_store_release(&v->powered, false);
    return ERR_BUSY;
  }
  v->boot_entry = entry;
  v->boot_context = context;
  v->reset_pending = true;
  v->resume = false;
  atomic_store_relaxed(&v->device_work, 0);
  trace(TRACE_GROUP_VM, TRACE_CPU_ON, 0, v->id, entry.v, 0, 0, 0);
  atomic_store_relaxed(&v->requests, v->views || masked_is_measured() ? VCPU_REQ_ALWAYS : 0);
  if (sched_start_vcpu(v))
    return ERR_OK;
  atomic_store_release(&v->powered, false);
  return ERR_BUSY;
}
