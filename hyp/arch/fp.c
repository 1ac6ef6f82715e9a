/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lazy FP/SIMD: load at first use, save at switch-out only if used since. `cpu->fp_owner` says whose values the registers hold; a vCPU
 * whose values are still here when it comes back (and it ran FP nowhere else) needs no load.
 */
#include "hyp/arch/fp.h"
#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "core/string.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vcpu.h"

void fp_load_registers(const struct fp_state *fp);

static bool is_open(void) {
  return !(sysreg_read(cptr_el2) & CPTR_EL2_TFP);
}

static void open_access(void) {
  sysreg_write(cptr_el2, sysreg_read(cptr_el2) & ~CPTR_EL2_TFP);
  isb();
}

static void close_access(void) {
  sysreg_write(cptr_el2, sysreg_read(cptr_el2) | CPTR_EL2_TFP);
  isb();
}

void fp_trap(struct vcpu *v) {
  struct cpu *c = v->cpu;
  open_access();
  if (c->fp_owner != v || v->fp_cpu != c)
    fp_load_registers(&v->fp);
  c->fp_owner = v;
  v->fp_cpu = c;
}

void fp_switch_in(struct vcpu *v) {
  if (v->cpu->fp_owner == v && v->fp_cpu == v->cpu) {
    if (!is_open())
      open_access();
  } else if (is_open()) {
    close_access();
  }
}

void fp_reset(struct vcpu *v) {
  memset(&v->fp, 0, sizeof(v->fp));
  v->fp_cpu = NULL;
  for (unsigned i = 0; i < cpu_count; i++)
    if (cpus[i].fp_owner == v)
      cpus[i].fp_owner = NULL;
}

void fp_section_begin(void) {
  struct cpu *c = this_cpu();
  if (!is_open())
    open_access();
  else if (c->current)
    fp_save_registers(&c->current->fp);
  c->fp_owner = NULL;
}

void fp_section_end(void) {
  close_access();
}
