/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions made at run time: slots of one instruction and a RET in the first page of scratch, called through guarded().
 *
 * System registers and immediates are part of an instruction, so trying all of them means writing instructions. code_sync() does what the
 * Arm ARM asks for (B2.4.4: clean to the point of unification, DSB, invalidate, DSB, ISB) before a slot is called.
 */
#include "hostile.h"

#define RET 0xd65f03c0u

static uint32_t *slot_at(unsigned slot) {
  return (uint32_t *)(machine.scratch | HIGH) + 2 * slot;
}

void code_put(unsigned slot, uint32_t instruction) {
  slot_at(slot)[0] = instruction;
  slot_at(slot)[1] = RET;
}

void code_sync(void) {
  uint64_t line = 4u << bits_get(sysreg_read(ctr_el0), 3, 0);
  uint64_t start = (uint64_t)slot_at(0), end = (uint64_t)slot_at(CODE_SLOTS);
  for (uint64_t a = start; a < end; a += line)
    __asm__ volatile("dc cvau, %0" ::"r"(a) : "memory");
  dsb(ish);
  for (uint64_t a = start; a < end; a += line)
    __asm__ volatile("ic ivau, %0" ::"r"(a) : "memory");
  dsb(ish);
  isb();
}

uint64_t code_address(unsigned slot) {
  return (uint64_t)slot_at(slot);
}
