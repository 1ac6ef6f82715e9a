/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The measuring loops. In assembly, so that what a loop itself costs is fixed by this text and not by a compiler: 3 instructions a round
 * for a single access, 7 for a hypercall, 14 for a touch, 15 for an SGI sent to oneself and its handler. The figures in every column of the
 * table contain that cost.
 *
 * Interrupt handlers are local to their loop: x28 points at one while its loop runs. Counters are read after an ISB where a
 * reading must not be taken early.
 */

#include "tests/bench/payload/loop.inc"

/* void loop_hvc(rounds, function id): 7 */
func loop_hvc
  mov x8, x0
  mov w9, w1
1:
  mov w0, w9
  mov x1, xzr
  mov x2, xzr
  mov x3, xzr
  hvc #0
  subs x8, x8, #1
  b.ne 1b
  ret

/* void loop_read32(rounds, address): 3 */
func loop_read32
1:
  ldr w2, [x1]
  subs x0, x0, #1
  b.ne 1b
  ret

/* void loop_write32(rounds, address, value): 3 */
func loop_write32
1:
  str w2, [x1]
  subs x0, x0, #1
  b.ne 1b
  ret

/* void loop_read_id(rounds): 3 */
func loop_read_id
1:
  mrs x2, id_aa64pfr0_el1
  subs x0, x0, #1
  b.ne 1b
  ret

/*
 * void loop_touch(pages, address, stride, struct touch_result *): 14. Writes a word to each; keeps the shortest and the longest in ticks.
 */
func loop_touch
  mov x8, xzr
  mov x9, #-1
1:
  isb
  mrs x4, cntvct_el0
  str x0, [x1]
  isb
  mrs x5, cntvct_el0
  sub x5, x5, x4
  cmp x5, x8
  csel x8, x5, x8, hi
  cmp x5, x9
  csel x9, x5, x9, lo
  add x1, x1, x2
  isb
  subs x0, x0, #1
  b.ne 1b
  stp x9, x8, [x3]
  ret

/* void loop_sgi_self(rounds, sgi1r): 15 */
func loop_sgi_self
  enter sgi_self_handler
  mov x11, xzr
  mov x12, #1
  msr daifclr, #2
1:
  msr ICC_SGI1R_EL1, x1
  isb
2:
  yield
  cmp x11, x12
  b.lo 2b
  add x12, x12, #1
  subs x0, x0, #1
  b.ne 1b
  leave
sgi_self_handler:       /* after the vector's br x28 */
  mrs x10, ICC_IAR1_EL1
  dsb sy
  add x11, x11, #1
  msr ICC_EOIR1_EL1, x10
  isb
  eret

/*
 * uint64_t loop_vtimer(rounds, delta in ticks, wait in WFI): sum over the rounds of (count in the handler - deadline).
 *
 * A deadline falls on a tick, so each round would lose the same fraction of one. The handler therefore enters a sled of NOPs at a place
 * that walks with the round: over 16 rounds, sum of floor((latency + n) / 16) for n = 0..15 is exactly the latency in instructions (for a
 * counter of 16 instructions a tick). `rounds` is a multiple of 16.
 */
func loop_vtimer
  enter vtimer_handler
  mov x11, xzr          /* handled */
  mov x12, xzr          /* set up */
  mov x14, xzr          /* sum */
1:
  adr x9, vtimer_sled_end
  and x13, x0, #15
  sub x9, x9, x13, lsl #2
  add x12, x12, #1
  isb
  mrs x13, cntvct_el0
  add x13, x13, x1
  msr cntv_cval_el0, x13
  mov x10, #1
  msr cntv_ctl_el0, x10
  isb
  cbnz x2, 3f
  msr daifclr, #2
2:
  yield
  cmp x11, x12
  b.lo 2b
  b 4f
3:
  wfi
  msr daifclr, #2
  isb
  msr daifset, #2
  cmp x11, x12
  b.lo 3b
4:
  msr daifset, #2
  subs x0, x0, #1
  b.ne 1b
  mov x0, x14
  leave
vtimer_handler:
  br x9
  .rept 15
  nop
  .endr
vtimer_sled_end:
  mrs x10, cntvct_el0
  sub x10, x10, x13
  add x14, x14, x10
  add x11, x11, #1
  msr cntv_ctl_el0, xzr
  mrs x10, ICC_IAR1_EL1
  dsb sy
  msr ICC_EOIR1_EL1, x10
  isb
  eret
