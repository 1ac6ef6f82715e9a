/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2's exception vectors.
 *
 * While a guest runs, SP_EL2 points to its struct vcpu, whose first field is x0..x30: an exit stores them there, takes the CPU's (empty)
 * stack and calls C. ELR_EL2 and SPSR_EL2 stay in their registers: EL2 takes no exception of its own in between.
 *
 * Hypercalls and interrupts store only what C may clobber (x0..x18, x30) and what this file uses (x19): C gives x20..x28 back as they were.
 * The rest is stored when it is needed: before every other handler, which may read or write any register of the guest, and before the
 * scheduler takes another vCPU. Either way vcpu->requests decides at the end whether to go straight back.
 *
 * An exception taken at EL2 itself is a bug of ours: it reports and stops, on an emergency stack, because the stack may be what broke.
 */
#include "hyp/arch/offsets.h"

#define ESR_EC_SHIFT 26
#define ESR_EC_HVC64 0x16

.macro save_clobbered /* then x19: the vCPU, SP: this CPU's stack */
  stp x0, x1, [sp, #0]
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  stp x8, x9, [sp, #64]
  stp x10, x11, [sp, #80]
  stp x12, x13, [sp, #96]
  stp x14, x15, [sp, #112]
  stp x16, x17, [sp, #128]
  stp x18, x19, [sp, #144]
  stp x29, x30, [sp, #232]
  ldr x1, [sp, #VCPU_EL2_STACK]
  mov x19, sp
  mov x0, sp
  mov sp, x1
.endm

.macro save_preserved /* x19: the vCPU */
  stp x20, x21, [x19, #160]
  stp x22, x23, [x19, #176]
  stp x24, x25, [x19, #192]
  stp x26, x27, [x19, #208]
  str x28, [x19, #224]
.endm

.macro restore_clobbered
  ldp x29, x30, [sp, #232]
  ldp x18, x19, [sp, #144]
  ldp x16, x17, [sp, #128]
  ldp x14, x15, [sp, #112]
  ldp x12, x13, [sp, #96]
  ldp x10, x11, [sp, #80]
  ldp x8, x9, [sp, #64]
  ldp x6, x7, [sp, #48]
  ldp x4, x5, [sp, #32]
  ldp x2, x3, [sp, #16]
  ldp x0, x1, [sp, #0]
.endm

  /* A handler that sees all registers: void handler(struct vcpu *, uint64_t esr). */
.macro full_vector handler
  .balign 128
  save_clobbered
  save_preserved
  mrs x1, esr_el2
  bl \handler
  b leave_full
.endm

.macro sync_vector
  .balign 128
  save_clobbered
  mrs x1, esr_el2
  lsr x2, x1, #ESR_EC_SHIFT
  cmp x2, #ESR_EC_HVC64
  b.ne sync_full
  bl exit_hvc
  b leave_clobbered
.endm

.macro irq_vector
  .balign 128
  save_clobbered
  bl exit_irq
  b leave_clobbered
.endm

.macro el2_vector
  .balign 128
  msr tpidr_el1, x0 /* the guest's TPIDR_EL1 is lost: we are not going back */
  mrs x0, tpidr_el2
  add x0, x0, #CPU_EMERGENCY
  stp x29, x30, [x0]
  mov x29, sp
  str x29, [x0, #16]
  b el2_exception
.endm

  .section .vectors, "ax"
  .balign 2048
  .global vectors
vectors:
  el2_vector
  el2_vector
  el2_vector
  el2_vector
  el2_vector
  el2_vector
  el2_vector
  el2_vector
  sync_vector
  irq_vector
  irq_vector
  full_vector exit_serror
  full_vector exit_aarch32
  full_vector exit_aarch32
  full_vector exit_aarch32
  full_vector exit_aarch32

  .text
sync_full:
  save_preserved
  bl exit_sync
leave_full:
  ldr w1, [x19, #VCPU_REQUESTS]
  mov x0, x19
  cbz w1, guest_enter
  bl sched_exit

  /* x0: the vCPU to run; its EL1 state is loaded. Never returns. */
  .global guest_enter
guest_enter:
  mov sp, x0
  ldp x20, x21, [sp, #160]
  ldp x22, x23, [sp, #176]
  ldp x24, x25, [sp, #192]
  ldp x26, x27, [sp, #208]
  ldr x28, [sp, #224]
  restore_clobbered
  eret
  /* Straight-line speculation past ERET (Arm: "Straight-line Speculation", 2020). */
  dsb nsh
  isb

leave_clobbered:
  ldr w1, [x19, #VCPU_REQUESTS]
  cbnz w1, 1f
  mov sp, x19
  restore_clobbered
  eret
  dsb nsh
  isb
1:save_preserved
  mov x0, x19
  bl sched_exit
  b guest_enter

  /* Emergency area in x0: x29, x30, sp; x0 itself in TPIDR_EL1. */
el2_exception:
  adrp x30, emergency_stack_top
  mov sp, x30
  sub sp, sp, #256
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  stp x8, x9, [sp, #64]
  stp x10, x11, [sp, #80]
  stp x12, x13, [sp, #96]
  stp x14, x15, [sp, #112]
  stp x16, x17, [sp, #128]
  stp x18, x19, [sp, #144]
  stp x20, x21, [sp, #160]
  stp x22, x23, [sp, #176]
  stp x24, x25, [sp, #192]
  stp x26, x27, [sp, #208]
  str x28, [sp, #224]
  mrs x2, tpidr_el1
  stp x2, x1, [sp, #0]
  ldp x2, x3, [x0]
  str x2, [sp, #232]
  str x3, [sp, #240]
  ldr x5, [x0, #16]
  mov x0, sp
  mrs x1, esr_el2
  mrs x2, elr_el2
  mrs x3, far_el2
  mrs x4, spsr_el2
  mov x29, xzr
  bl report_el2_exception
