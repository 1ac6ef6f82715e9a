/* SPDX-License-Identifier: BSD-2-Clause */
#include "fakehw/vcpu_fake.h"
#include "hyp/arch/fp.h"
#include "hyp/arch/switch.h"
#include "hyp/core/vcpu.h"
#include <string.h>

unsigned fake_gic_resets, fake_gic_power_downs, fake_timer_resets, fake_fp_resets;

/* MMU and caches off; EL1h with DAIF masked. */
void el1_reset(struct el1_state *s, uint64_t entry) {
  memset(s, 0, sizeof(*s));
  s->elr_el2 = entry;
  s->spsr_el2 = 0x3c5;
  s->sctlr_el1 = 0x30d00800;
}

void fp_reset(struct vcpu *v) {
  (void)v;
  fake_fp_resets++;
}

void vgic_vcpu_reset(struct vcpu *v) {
  (void)v;
  fake_gic_resets++;
}

void vgic_power_down(struct vcpu *v) {
  (void)v;
  fake_gic_power_downs++;
}

void vtimer_reset(struct vcpu *v) {
  v->el1.cntv_cval_el0 = v->el1.cntv_ctl_el0 = 0;
  fake_timer_resets++;
}
