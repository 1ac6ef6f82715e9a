/* SPDX-License-Identifier: BSD-2-Clause */
/* Data aborts of the two accesses below are expected and answered with "aborted"; anything else ends the program. */

  .text
  .balign 2048
  .globl payload_vectors
payload_vectors:
  .rept 16
  .balign 128
  b exception
  .endr

exception:
  mrs x9, elr_el1
  adr x10, touch_read_at
  adr x11, touch_write_at
  cmp x9, x10
  ccmp x9, x11, #4, ne
  b.ne payload_exception
  mrs x12, esr_el1
  lsr x12, x12, #26
  cmp x12, #0x25
  b.ne payload_exception
  mov x0, #0
  add x9, x9, #8
  msr elr_el1, x9
  eret

/* bool touch(uint64_t address), bool touch_write(uint64_t address) */
  .globl touch
touch:
touch_read_at:
  ldr x1, [x0]
  mov x0, #1
  ret

  .globl touch_write
touch_write:
  mov x1, #0x5a
touch_write_at:
  str x1, [x0]
  mov x0, #1
  ret
