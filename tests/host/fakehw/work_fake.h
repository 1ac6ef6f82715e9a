/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FAKEHW_WORK_FAKE_H
#define FAKEHW_WORK_FAKE_H

/*
 * Hardware for the host test of EL2's work queue, in the place of arch/barrier.h, arch/sysreg.h, hyp/core/cpu.h, hyp/core/cost.h and
 * hyp/arch/gic.h (by their include guards: the test passes this file with -include): a clock that the test sets, and CPUs of which the test
 * says which one runs.
 */

#include <stdbool.h>
#include <stdint.h>

#define ARCH_BARRIER_H
static inline void isb(void) {
}
static inline void cpu_relax(void) {
}

#define ARCH_SYSREG_H
#define CNT_CTL_ENABLE 1ull
uint64_t fake_sysreg(const char *name);
void fake_sysreg_write(const char *name, uint64_t value);
#define sysreg_read(reg_) fake_sysreg(#reg_)
#define sysreg_write(reg_, value_) fake_sysreg_write(#reg_, value_)

#define HYP_CORE_CPU_H
#define CPUS_MAX 16u
struct cpu {
  unsigned id;
  bool online;
};
extern struct cpu cpus[CPUS_MAX];
struct cpu *this_cpu(void);

#define HYP_CORE_COST_H
static inline void cost_pause(struct cpu *c) {
  (void)c;
}
static inline void cost_resume(struct cpu *c) {
  (void)c;
}

#define HYP_ARCH_GIC_H
#define GIC_SGI_KICK 0u
void gic_send_sgi(const struct cpu *to, unsigned intid);

#endif
