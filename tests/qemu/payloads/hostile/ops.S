/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every way to touch an address, 16 bytes each: x0 is the address, x1 a value. Called through guarded() by number, so that one loop can
 * try all of them on any address. Most of them leave ISV = 0 when a hypervisor sees them abort.
 */

  .arch armv8.1-a+simd+fp+crypto

  .macro op text:vararg
  .balign 16
  \text
  ret
  .endm

  .text
  .balign 16
  .globl ops, ops_end, ops_loads_end, ops_atomics, ops_atomics_end
ops:
  op ldrb w2, [x0]
  op ldrh w2, [x0]
  op ldr w2, [x0]
  op ldr x2, [x0]
  op ldrsb w2, [x0]
  op ldrsb x2, [x0]
  op ldrsh x2, [x0]
  op ldrsw x2, [x0]
  op ldr xzr, [x0]
  op ldr w2, [x0, #4]!
  op ldr x2, [x0], #8
  op ldrb w2, [x0], #1
  op ldr x2, [x0, xzr, lsl #3]
  op ldur x2, [x0, #-3]
  op ldtr x2, [x0]
  op ldp w2, w3, [x0]
  op ldp x2, x3, [x0]
  op ldp x2, x3, [x0, #16]!
  op ldp x2, x3, [x0], #16
  op ldpsw x2, x3, [x0]
  op ldnp x2, x3, [x0]
  op ldar w2, [x0]
  op ldarb w2, [x0]
  op ldxr w2, [x0]
  op ldaxr x2, [x0]
  op ldxp x2, x3, [x0]
  op ldr b0, [x0]
  op ldr h0, [x0]
  op ldr s0, [x0]
  op ldr d0, [x0]
  op ldr q0, [x0]
  op ldp q0, q1, [x0]
  op ld1 {v0.16b, v1.16b, v2.16b, v3.16b}, [x0]
  op ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x0], #64
  op ld1r {v0.8h}, [x0]
  op prfm pldl1keep, [x0]
  op prfm pstl3strm, [x0]
  op at s1e1r, x0
  op at s1e1w, x0
  op at s1e0r, x0
  op dc cvac, x0
  op dc cvau, x0
  op dc civac, x0
  op ic ivau, x0
  op tlbi vaae1is, x0
  .balign 16
ops_loads_end:
  op strb w1, [x0]
  op strh w1, [x0]
  op str w1, [x0]
  op str x1, [x0]
  op str xzr, [x0]
  op str w1, [x0, #4]!
  op str x1, [x0], #8
  op stur x1, [x0, #-3]
  op sttr x1, [x0]
  op stp w1, w2, [x0]
  op stp x1, x2, [x0, #-16]!
  op stp x1, x2, [x0], #16
  op stnp x1, x2, [x0]
  op stlr w1, [x0]
  op stlrh w1, [x0]
  op stxr w2, x1, [x0]
  op stxp w2, x1, x1, [x0]
  op str q0, [x0]
  op stp q0, q1, [x0]
  op st1 {v0.16b, v1.16b}, [x0]
  op st2 {v0.s, v1.s}[1], [x0]
  .balign 16
ops_atomics:
  op ldadd x1, x2, [x0]
  op ldaddalb w1, w2, [x0]
  op swpal w1, w2, [x0]
  op stset x1, [x0]
  op cas w1, w2, [x0]
  op caspal x2, x3, x4, x5, [x0]
  .balign 16
ops_atomics_end:
  op dc zva, x0
  op dc ivac, x0
  .balign 16
ops_end:

/* void wild_call(instruction address, const uint64_t arguments[18]): x0..x17 loaded, then the HVC or SMC that stands at the address. */
  .globl wild_call
wild_call:
  stp x29, x30, [sp, #-16]!
  mov x30, x0
  mov x18, x1
  ldp x0, x1, [x18]
  ldp x2, x3, [x18, #16]
  ldp x4, x5, [x18, #32]
  ldp x6, x7, [x18, #48]
  ldp x8, x9, [x18, #64]
  ldp x10, x11, [x18, #80]
  ldp x12, x13, [x18, #96]
  ldp x14, x15, [x18, #112]
  ldp x16, x17, [x18, #128]
  blr x30
  ldp x29, x30, [sp], #16
  ret

/* void op_sp(stack pointer): a load through it. */
  .globl op_sp
op_sp:
  mov sp, x0
  ldr x1, [sp]
  ret

/* void op_eret(spsr, elr) */
  .globl op_eret
op_eret:
  msr spsr_el1, x0
  msr elr_el1, x1
  eret

/* Odd instructions, 8 bytes each: exceptions on purpose, hints, and what a CPU may not have. */
  .macro odd word
  .inst \word
  ret
  .endm
  .globl odds, odds_end
odds:
  odd 0xd4000001        /* svc #0 */
  odd 0xd41fffe1        /* svc #0xffff */
  odd 0xd4200000        /* brk #0 */
  odd 0xd43fffe0        /* brk #0xffff */
  odd 0xd4400000        /* hlt #0 */
  odd 0xd45e0000        /* hlt #0xf000: semihosting, which must be off */
  odd 0xd4a00001        /* dcps1 */
  odd 0xd4a00002        /* dcps2 */
  odd 0xd4a00003        /* dcps3 */
  odd 0xd6bf03e0        /* drps */
  odd 0x00000000        /* udf #0 */
  odd 0xffffffff
  odd 0x25d8e3e0        /* SVE ptrue */
  odd 0x04bf5020        /* SVE rdvl */
  odd 0xd503467f        /* SME smstart */
  odd 0xc0080000        /* SME zero */
  odd 0xd5033fdf        /* isb */
  odd 0xd50330ff        /* sb */
  odd 0xd503309f        /* ssbb */
  odd 0xd5380000        /* mrs midr */
  odd 0xd5300000        /* mrs osdtrrx */
  odd 0xdac143e0        /* xpaci */
  odd 0xd9200000        /* MTE stg */
  odd 0xd5103060        /* tstart-like */
  odd 0xf83fd000        /* ld64b-like */
odds_end:
