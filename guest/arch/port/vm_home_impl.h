/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_HOME_IMPL_H
#define GUEST_VM_HOME_IMPL_H

/*
 * guest/vm/home.h at EL1: TLB maintenance by ASID. The operand of the by-address forms is ASID[63:48] | VA[55:12] in [43:0] (Arm ARM
 * C5.5). The order is always: DSB so that table walkers see the new descriptors, TLBI, DSB so that it is complete, ISB (Arm ARM D8.14).
 */

#include "arch/barrier.h"

#define VM_TLBI_PAGES_MAX 64u /* beyond it one ASIDE1IS costs less than the loop and what it spares */

static inline uint64_t vm_home_asid_operand(const struct mm_context *ctx) {
  return (uint64_t)mm_context_asid(ctx) << 48;
}

static inline void vm_home_tlb_flush_mm(const struct mm_context *ctx) {
  dsb(ishst);
  __asm__ volatile("tlbi aside1is, %0" ::"r"(vm_home_asid_operand(ctx)) : "memory");
  dsb(ish);
  isb();
}

static inline void vm_home_tlb_flush(const struct mm_context *ctx, uint64_t start, uint64_t size, bool tables) {
  if (size > VM_TLBI_PAGES_MAX << PAGE_SHIFT) {
    vm_home_tlb_flush_mm(ctx);
    return;
  }
  dsb(ishst);
  uint64_t operand = vm_home_asid_operand(ctx) | start >> PAGE_SHIFT;
  for (uint64_t pages = size >> PAGE_SHIFT; pages > 0; pages--, operand++) {
    if (tables)
      __asm__ volatile("tlbi vae1is, %0" ::"r"(operand) : "memory");
    else
      __asm__ volatile("tlbi vale1is, %0" ::"r"(operand) : "memory");
  }
  dsb(ish);
  isb();
}

static inline void vm_home_tlb_flush_local_page(const struct mm_context *ctx, uint64_t addr) {
  dsb(nshst);
  __asm__ volatile("tlbi vale1, %0" ::"r"(vm_home_asid_operand(ctx) | addr >> PAGE_SHIFT) : "memory");
  dsb(nsh);
  isb();
}

static inline void vm_home_tlb_flush_local_all(void) {
  __asm__ volatile("tlbi vmalle1" ::: "memory");
  dsb(nsh);
  isb();
}

static inline bool vm_home_trylock(struct port_lock *l) {
  return vlock_try(&l->lock);
}

void vm_home_sync_icache(pfn_t frame);

#endif
