/* SPDX-License-Identifier: BSD-2-Clause */
/* Instruction-side coherence of user pages: what was written as data becomes visible to fetches (Arm ARM B2.4.4). */
#include "guest/vm/home.h"

#include "core/bits.h"
#include "guest/arch/cpu.h"

void vm_home_sync_icache(pfn_t frame) {
  uint64_t start = (uint64_t)port_frame_ptr(frame), end = start + PAGE_SIZE;
  if (!cpu_features.idc)
    for (uint64_t a = start; a < end; a += cpu_features.dline)
      __asm__ volatile("dc cvau, %0" ::"r"(a) : "memory");
  dsb(ish);
  if (!cpu_features.dic) {
    /* The page is fetched at user addresses, and an instruction cache may be virtually indexed: by address would not reach it. */
    __asm__ volatile("ic ialluis" ::: "memory");
    dsb(ish);
  }
  isb();
}
