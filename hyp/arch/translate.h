/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_TRANSLATE_H
#define HYP_ARCH_TRANSLATE_H

/* Stage 1 of the guest that is current on this CPU, by its own hardware walk (AT, Arm ARM C6.2.23). PAR_EL1 is the guest's and is kept. */

#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "core/types.h"

/* True and `*out` the IPA if the address translated; stage 2 may still say no. */
static inline bool translate_result(uint64_t address, uint64_t kept_par, uint64_t *out) {
  isb();
  uint64_t par = sysreg_read(par_el1);
  sysreg_write(par_el1, kept_par);
  if (par & PAR_F)
    return false;
  *out = (par & GENMASK(47, 12)) | (address & ~PAGE_MASK);
  return true;
}

static inline bool translate_el1_read(uint64_t address, uint64_t *out) {
  uint64_t kept = sysreg_read(par_el1);
  __asm__ volatile("at s1e1r, %0" ::"r"(address) : "memory");
  return translate_result(address, kept, out);
}

static inline bool translate_el0_read(uint64_t address, uint64_t *out) {
  uint64_t kept = sysreg_read(par_el1);
  __asm__ volatile("at s1e0r, %0" ::"r"(address) : "memory");
  return translate_result(address, kept, out);
}

#endif
