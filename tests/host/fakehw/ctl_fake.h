/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FAKEHW_CTL_FAKE_H
#define FAKEHW_CTL_FAKE_H

/*
 * Hardware for host tests of hyp/ctl, in the place of arch/barrier.h, arch/mmio.h, arch/sysreg.h and hyp/core/cpu.h (by their include
 * guards: tests pass this file with -include): a PL011 whose output goes to the test, a clock that the test sets, and CPUs that the test
 * chooses.
 */

#include <stdbool.h>
#include <stdint.h>

#define ARCH_BARRIER_H
#define dsb(option_) ((void)0)
#define dmb(option_) __atomic_thread_fence(__ATOMIC_SEQ_CST)
static inline void isb(void) {
}
static inline void wfi(void) {
}
static inline void cpu_relax(void) {
}

#define ARCH_MMIO_H
uint32_t mmio_read32(const volatile void *base, uint64_t offset);
void mmio_write32(volatile void *base, uint64_t offset, uint32_t value);

#define ARCH_SYSREG_H
#define SCTLR_M 1ull
#define TCR_EPD0 (1ull << 7)
#define TCR_A1 (1ull << 22)
#define TCR_EPD1 (1ull << 23)
uint64_t fake_sysreg(const char *name);
#define sysreg_read(reg_) fake_sysreg(#reg_)

#define HYP_CORE_CPU_H
#define CPUS_MAX 16u
struct vcpu;
struct cpu {
  unsigned id;
  struct vcpu *current;
  uint64_t masked_max;
};
extern struct cpu cpus[CPUS_MAX];
extern unsigned cpu_count;
struct cpu *this_cpu(void);

#endif
