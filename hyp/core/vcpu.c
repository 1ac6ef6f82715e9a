/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Life of a vCPU as its guest sees it: power on and off by PSCI, waiting, yielding. Where and when it runs is sched.c's business.
 */
#include "hyp/core/vcpu.h"
#include "core/string.h"
#include "hyp/arch/fp.h"
#include "hyp/arch/switch.h"
#include "hyp/core/cpu.h"
#include "hyp/core/masked.h"
#include "hyp/core/sched.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/trace.h"

static void ask_self(struct vcpu *v, uint32_t request) {
  atomic_fetch_or(&v->requests, request);
}

void vcpu_block(struct vcpu *v) {
  trace(TRACE_GROUP_SCHED, TRACE_WFI, 0, v->id, 0, 0, 0, 0);
  ask_self(v, VCPU_REQ_BLOCK);
}

void vcpu_yield(struct vcpu *v) {
  ask_self(v, VCPU_REQ_RESCHED);
}

void vcpu_power_off(struct vcpu *v) {
  atomic_store_release(&v->powered, false);
  ask_self(v, VCPU_REQ_OFF);
}

/* What a CPU_ON promises of the registers (PSCI 1.1, 6.4). On the CPU that is about to run it, so that the caller need not wait. */
void vcpu_reset(struct vcpu *v) {
  memset(v->x, 0, sizeof(v->x));
  v->x[0] = v->boot_context;
  el1_reset(&v->el1, v->boot_entry.v);
  fp_reset(v);
  vgic_vcpu_reset(v);
  vtimer_reset(v);
  v->reset_pending = false;
}

/* Only one caller may bring a vCPU up: `powered` decides. It may still be on its way off: then its state is not OFF yet. */
err_t vcpu_power_on(struct vcpu *v, ipa_t entry, uint64_t context) {
  bool off = false;
  if (!atomic_cas(&v->powered, &off, true))
    return ERR_EXIST;
  if (atomic_load_acquire(&v->state) != VCPU_OFF || v->cpu->current == v) {
    atomic_store_release(&v->powered, false);
    return ERR_BUSY;
  }
  v->boot_entry = entry;
  v->boot_context = context;
  v->reset_pending = true;
  atomic_store_relaxed(&v->requests, v->views || masked_is_measured() ? VCPU_REQ_ALWAYS : 0);
  trace(TRACE_GROUP_VM, TRACE_CPU_ON, 0, v->id, entry.v, 0, 0, 0);
  if (sched_start_vcpu(v))
    return ERR_OK;
  atomic_store_release(&v->powered, false);
  return ERR_BUSY;
}
