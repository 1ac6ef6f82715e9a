/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2's exception vectors.
 *
 * While a guest runs, SP_EL2 points to its struct vcpu, whose first field is x0..x30: an exit stores them there, takes the CPU's (empty)
 * stack and calls C with x0 = vcpu. The handler returns the vCPU to enter, the same one or another whose EL1 state it has
 * loaded. ELR_EL2 and SPSR_EL2 stay in their registers: EL2 takes no exception of its own in between.
 *
 * An exception taken at EL2 itself is a bug of ours: it reports and stops, on an emergency stack, because the stack may be what broke.
 */
#include "hyp/arch/offsets.h"

.macro save_guest
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
  stp x20, x21, [sp, #160]
  stp x22, x23, [sp, #176]
  stp x24, x25, [sp, #192]
  stp x26, x27, [sp, #208]
  stp x28, x29, [sp, #224]
  ldr x1, [sp, #VCPU_EL2_STACK]
  str x30, [sp, #VCPU_X30]
  mov x0, sp
  mov sp, x1
.endm

.macro guest_vector handler
  .balign 128
  save_guest
  bl \handler
  b guest_enter
.endm

.macro el2_vector kind
  .balign 128
  msr tpidr_el1, x0 /* the guest's TPIDR_EL1 is lost: we are not going back */
  mrs x0, tpidr_el2
  add x0, x0, #CPU_EMERGENCY
  stp x29, x30, [x0]
  mov x29, sp
  str x29, [x0, #16]
  mov x29, #\kind
  b el2_exception
.endm

  .section .vectors, "ax"
  .balign 2048
  .global vectors
vectors:
  el2_vector 0
  el2_vector 1
  el2_vector 2
  el2_vector 3
  el2_vector 4
  el2_vector 5
  el2_vector 6
  el2_vector 7
  guest_vector exit_sync
  guest_vector exit_irq
  guest_vector exit_irq
  guest_vector exit_serror
  guest_vector exit_aarch32
  guest_vector exit_aarch32
  guest_vector exit_aarch32
  guest_vector exit_aarch32

  .text
  /* x0: the vCPU to run; its EL1 state is loaded. Never returns. */
  .global guest_enter
guest_enter:
  mov sp, x0
  ldp x28, x29, [sp, #224]
  ldr x30, [sp, #VCPU_X30]
  ldp x26, x27, [sp, #208]
  ldp x24, x25, [sp, #192]
  ldp x22, x23, [sp, #176]
  ldp x20, x21, [sp, #160]
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
  eret
  /* Straight-line speculation past ERET (Arm: "Straight-line Speculation", 2020). */
  dsb nsh
  isb

  /* Emergency area in x0: x29, x30, sp; the kind of vector in x29; x0 itself in TPIDR_EL1. */
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

  .section .noinit, "aw", %nobits
  .balign 4096
  .skip 4096 /* guard */
  .skip EL2_STACK_BYTES
  .global emergency_stack_top
emergency_stack_top:
