/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_BARRIER_H
#define ARCH_BARRIER_H

/* Barriers and hints, spelled as in the Arm ARM (C6.2, B2.3). All are compiler barriers as well. */

#define dsb(option_) __asm__ volatile("dsb " #option_ ::: "memory")
#define dmb(option_) __asm__ volatile("dmb " #option_ ::: "memory")

static inline void isb(void) {
  __asm__ volatile("isb" ::: "memory");
}

static inline void wfi(void) {
  __asm__ volatile("wfi" ::: "memory");
}

/* Every spin loop executes this: under QEMU's icount a spin that never yields starves the CPU it waits for. */
static inline void cpu_relax(void) {
  __asm__ volatile("yield" ::: "memory");
}

#endif
