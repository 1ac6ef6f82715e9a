/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Measuring loops that need two CPUs. A reading on one CPU and a reading on another are taken from the same count; as the send falls
 * anywhere within a tick, the caller puts a random number of NOPs before each round and takes the mean.
 *
 * Every wait yields or sleeps: under icount a CPU that spins keeps the other from running.
 */

#include "tests/bench/payload/loop.inc"

/* void loop_nops(n): n NOPs, 0..63: puts the next reading at another place within its tick. */
func loop_nops
  adr x1, 1f
  sub x1, x1, x0, lsl #2
  br x1
  .rept 63
  nop
  .endr
1:
  ret

/*
 * uint64_t loop_ipi_send(sgi1r, struct ipi_box *): one SGI to a CPU in loop_ipi_receive, until that has handled it. Returns the count
 * before the send.
 */
func loop_ipi_send
  add x5, x1, #8
  ldar x3, [x5]
  isb
  mrs x2, cntvct_el0
  msr ICC_SGI1R_EL1, x0
  isb
1:
  yield
  ldar x4, [x5]
  cmp x4, x3
  b.eq 1b
  mov x0, x2
  ret

/* void loop_ipi_receive(struct ipi_box *): handles SGIs, noting when each came, until box->stop. */
func loop_ipi_receive
  enter ipi_handler
  add x14, x0, #8
  msr daifclr, #2
1:
  yield
  ldr x4, [x0, #16]
  cbz x4, 1b
  leave
ipi_handler:
  mrs x10, cntvct_el0
  mrs x11, ICC_IAR1_EL1
  dsb sy
  str x10, [x0]
  msr ICC_EOIR1_EL1, x11
  isb
  ldr x12, [x14]
  add x12, x12, #1
  stlr x12, [x14]
  eret

/* void loop_ping(rounds, sgi1r): sends an SGI and sleeps until one has come back, each round. */
func loop_ping
  enter ping_handler
  mov x11, xzr
  mov x12, #1
1:
  msr ICC_SGI1R_EL1, x1
  isb
2:
  wfi
  msr daifclr, #2
  isb
  msr daifset, #2
  cmp x11, x12
  b.lo 2b
  add x12, x12, #1
  subs x0, x0, #1
  b.ne 1b
  leave
ping_handler:
  mrs x10, ICC_IAR1_EL1
  dsb sy
  add x11, x11, #1
  msr ICC_EOIR1_EL1, x10
  isb
  eret

/* void loop_pong(sgi1r, struct ipi_box *): sleeps, and answers each SGI with one, until box->stop. */
func loop_pong
  enter pong_handler
1:
  wfi
  msr daifclr, #2
  isb
  msr daifset, #2
  ldr x4, [x1, #16]
  cbz x4, 1b
  leave
pong_handler:
  mrs x10, ICC_IAR1_EL1
  dsb sy
  msr ICC_EOIR1_EL1, x10
  msr ICC_SGI1R_EL1, x0
  isb
  eret

/*
 * void loop_cpu_on(mpidr, entry, context, uint64_t ticks[2]): PSCI CPU_ON; ticks before the call and after it. ticks[1] is all ones if it
 * was refused.
 */
func loop_cpu_on
  stp x29, x30, [sp, #-32]!
  stp x19, x20, [sp, #16]
  mov x19, x3
  mov x3, x2
  mov x2, x1
  mov x1, x0
  movz w0, #0xc400, lsl #16
  movk w0, #0x0003
  isb
  mrs x20, cntvct_el0
  hvc #0
  mrs x9, cntvct_el0
  cmp x0, #0
  csinv x9, x9, xzr, eq
  stp x20, x9, [x19]
  ldp x19, x20, [sp, #16]
  ldp x29, x30, [sp], #32
  ret

/* Where CPU_ON enters: the first instruction reads the count. x0: struct ipi_box. */
func bench_cpu_on_entry
  mrs x20, cntvct_el0
  mov x19, x0
  bl payload_mmu_on
  str x20, [x19]
  dsb ish
  b payload_cpu_off

/*
 * void loop_share(from, until, gap, struct share *): on a CPU shared with another vCPU that does the same, counts rounds of
 * 8 instructions within [from, until) ticks, and how often the count jumped by `gap` ticks or more: the times it was away.
 */
func loop_share
  mov x6, xzr
  mov x7, xzr
1:
  mrs x8, cntvct_el0
  cmp x8, x0
  b.lo 1b
2:
  mrs x4, cntvct_el0
  sub x5, x4, x8
  mov x8, x4
  cmp x5, x2
  cinc x6, x6, hs
  add x7, x7, #1
  cmp x4, x1
  b.lo 2b
  stp x7, x6, [x3]
  ret
