/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lazy FP/SIMD. Invariant: cpu->fp_enabled means that the registers are newer than task->fp of the current task; otherwise task->fp is
 * right (all zeroes, whatever it holds, as long as task->fp_used is not set), and if moreover cpu->fp_owner is the task and task->fp_cpu is
 * this CPU, the registers still equal it.
 */
#include "guest/arch/fp.h"

#include "arch/sysreg.h"
#include "core/string.h"
#include "guest/arch/cpu.h"
#include "guest/kernel/task.h"

#define FPEN_TRAP_EL0 BIT(20)
#define FP_CPU_NONE (~0u)

void fp_trap_enable(void) {
  sysreg_write(cpacr_el1, FPEN_TRAP_EL0);
  this_cpu()->fp_enabled = false;
}

void fp_trapped(void) {
  struct cpu *cpu = this_cpu();
  struct task *t = current_task();
  sysreg_write(cpacr_el1, CPACR_EL1_FPEN); /* the ERET to EL0 synchronises */
  if (!t->fp_used)
    memset(&t->fp, 0, sizeof t->fp);
  if (cpu->fp_owner != t || t->fp_cpu != cpu->id)
    fp_load(&t->fp);
  cpu->fp_owner = t;
  cpu->fp_enabled = true;
  t->fp_cpu = cpu->id;
  t->fp_used = true;
}

void fp_sync(void) {
  if (this_cpu()->fp_enabled)
    fp_save(&current_task()->fp);
}

void fp_switch_out(void) {
  if (!this_cpu()->fp_enabled)
    return;
  fp_sync();
  fp_trap_enable();
}

void fp_reset(void) {
  struct task *t = current_task();
  fp_trap_enable();
  t->fp_used = false;
  t->fp_cpu = FP_CPU_NONE;
}

void fp_fork(struct task *child) {
  struct task *t = current_task();
  child->fp_cpu = FP_CPU_NONE;
  child->fp_used = t->fp_used;
  if (!t->fp_used)
    return;
  fp_sync();
  memcpy(&child->fp, &t->fp, sizeof child->fp);
}
