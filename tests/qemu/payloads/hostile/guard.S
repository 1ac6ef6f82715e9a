/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A call that survives anything: guarded(function, a, b, c) returns 0 if the function returned, else the syndrome of the first
 * exception that it took, with bit 63 set. Whatever the function did to SP, TTBR0, TTBR1, TCR, MAIR, SCTLR or VBAR is put right on the way.
 *
 * The program runs in the upper half of the address space (TTBR1), so that it may break TTBR0 and still take the exception. Registers
 * are found again from MPIDR alone: nothing in a general or a system register is trusted. Constants are built by MOVs, because a
 * literal would be a load through tables that may be broken.
 *
 *   struct guard (128 bytes each): 0 active, 8 traps, 16 interrupts, 24 sp, 32 daif, 40 x19 .. x30
 */

#define HIGH_MASK 0x7fffffffff

#define GUARD_ACTIVE 0
#define GUARD_TRAPS 8
#define GUARD_SP 24
#define GUARD_X19 40
#define GUARD_SHIFT 8

  .macro load_guard reg, temp
  mrs \temp, mpidr_el1
  and \temp, \temp, #7
  adrp \reg, guards
  add \reg, \reg, :lo12:guards
  add \reg, \reg, \temp, lsl #GUARD_SHIFT
  .endm

  .macro load_regime tcr, sctlr, mair, table
  movz \tcr, #0x3519            /* T0SZ 25, write-back, inner shareable, 4 KiB */
  movk \tcr, #0xb519, lsl #16   /* the same for TTBR1 */
  movk \tcr, #0x0005, lsl #32   /* IPS 48 bits: what is beyond the machine's goes out, and stage 2 must answer */
  movz \sctlr, #0x198d          /* RES1; I, C, M; SA */
  movk \sctlr, #0x30d0, lsl #16
  movz \mair, #0xff00
  adrp \table, payload_table
  and \table, \table, #HIGH_MASK
  .endm

  .text
  .globl guarded
guarded:
  load_guard x9, x10
  str x19, [x9, #GUARD_X19]
  stp x20, x21, [x9, #GUARD_X19 + 8]
  stp x22, x23, [x9, #GUARD_X19 + 24]
  stp x24, x25, [x9, #GUARD_X19 + 40]
  stp x26, x27, [x9, #GUARD_X19 + 56]
  stp x28, x29, [x9, #GUARD_X19 + 72]
  str x30, [x9, #GUARD_X19 + 88]
  mov x10, sp
  mrs x11, daif
  stp x10, x11, [x9, #GUARD_SP]
  mov x10, #1
  str x10, [x9, #GUARD_ACTIVE]
  mov x9, x0
  mov x0, x1
  mov x1, x2
  mov x2, x3
  blr x9
  mov x0, xzr
  msr spsel, #1
  load_guard x9, x10
  b guard_return

/* Any synchronous exception or SError, from any place. */
guard_recover:
  msr spsel, #1
  load_regime x1, x2, x3, x4
  mrs x5, tcr_el1
  mrs x6, sctlr_el1
  mrs x7, mair_el1
  mrs x8, ttbr0_el1
  mrs x9, ttbr1_el1
  eor x5, x5, x1
  eor x6, x6, x2
  eor x7, x7, x3
  eor x8, x8, x4
  eor x9, x9, x4
  orr x5, x5, x6
  orr x7, x7, x8
  orr x5, x5, x7
  orr x5, x5, x9
  cbz x5, 1f
  msr tcr_el1, x1
  msr mair_el1, x3
  msr ttbr0_el1, x4
  msr ttbr1_el1, x4
  msr sctlr_el1, x2
  isb
  tlbi vmalle1
  dsb nsh
  isb
1:
  adrp x1, payload_vectors
  add x1, x1, :lo12:payload_vectors
  msr vbar_el1, x1
  isb
  load_guard x9, x10
  ldp x10, x11, [x9, #GUARD_ACTIVE]
  cbz x10, guard_unexpected
  add x11, x11, #1
  str x11, [x9, #GUARD_TRAPS]
  mrs x0, esr_el1
  orr x0, x0, #(1 << 63)
guard_return:
  str xzr, [x9, #GUARD_ACTIVE]
  ldp x10, x11, [x9, #GUARD_SP]
  mov sp, x10
  ldr x19, [x9, #GUARD_X19]
  ldp x20, x21, [x9, #GUARD_X19 + 8]
  ldp x22, x23, [x9, #GUARD_X19 + 24]
  ldp x24, x25, [x9, #GUARD_X19 + 40]
  ldp x26, x27, [x9, #GUARD_X19 + 56]
  ldp x28, x29, [x9, #GUARD_X19 + 72]
  ldr x30, [x9, #GUARD_X19 + 88]
  msr daif, x11
  ret

guard_unexpected:
  adrp x0, panic_stack_top
  add sp, x0, :lo12:panic_stack_top
  b payload_exception

  .globl guard_recover_address
guard_recover_address:
  adrp x0, guard_recover
  add x0, x0, :lo12:guard_recover
  ret

/* void run_high(function, argument): TTBR1 on, and go on at the same place in the upper half. */
  .globl run_high
run_high:
  stp x29, x30, [sp, #-16]!
  load_regime x2, x3, x4, x5
  msr ttbr1_el1, x5
  msr tcr_el1, x2
  isb
  tlbi vmalle1
  dsb nsh
  isb
  movz x6, #0xff80, lsl #32
  movk x6, #0xffff, lsl #48
  mov x7, sp
  orr x7, x7, x6
  mov sp, x7
  adr x7, 1f
  orr x7, x7, x6
  br x7
1:
  adrp x7, payload_vectors
  add x7, x7, :lo12:payload_vectors
  msr vbar_el1, x7
  isb
  orr x8, x0, x6
  mov x0, x1
  blr x8
  b payload_off

  .macro to_recover
  .balign 128
  b guard_recover
  .endm

  .macro to_irq
  .balign 128
  b irq_entry
  .endm

  .balign 2048
  .globl payload_vectors
payload_vectors:
  .rept 4                       /* current EL with SP_EL0, with SP_ELx; lower EL, AArch64 and AArch32 */
  to_recover                    /* synchronous */
  to_irq                        /* IRQ */
  to_irq                        /* FIQ */
  to_recover                    /* SError */
  .endr

irq_entry:
  stp x0, x1, [sp, #-176]!
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  stp x8, x9, [sp, #64]
  stp x10, x11, [sp, #80]
  stp x12, x13, [sp, #96]
  stp x14, x15, [sp, #112]
  stp x16, x17, [sp, #128]
  stp x18, x30, [sp, #144]
  mrs x0, elr_el1
  mrs x1, spsr_el1
  stp x0, x1, [sp, #160]
  bl hostile_irq
  ldp x0, x1, [sp, #160]
  msr elr_el1, x0
  msr spsr_el1, x1
  ldp x2, x3, [sp, #16]
  ldp x4, x5, [sp, #32]
  ldp x6, x7, [sp, #48]
  ldp x8, x9, [sp, #64]
  ldp x10, x11, [sp, #80]
  ldp x12, x13, [sp, #96]
  ldp x14, x15, [sp, #112]
  ldp x16, x17, [sp, #128]
  ldp x18, x30, [sp, #144]
  ldp x0, x1, [sp], #176
  eret

  .bss
  .balign 256
  .globl guards
guards:
  .zero 8 << GUARD_SHIFT
  .balign 16
  .zero 2048
panic_stack_top:
