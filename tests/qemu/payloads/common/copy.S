/* SPDX-License-Identifier: BSD-2-Clause */
/* memcpy and memset, which the compiler calls on its own account. */

  .text
  .globl memcpy
memcpy:
  mov x3, x0
1:
  cbz x2, 2f
  ldrb w4, [x1], #1
  strb w4, [x3], #1
  sub x2, x2, #1
  b 1b
2:
  ret

  .globl memset
memset:
  mov x3, x0
1:
  cbz x2, 2f
  strb w1, [x3], #1
  sub x2, x2, #1
  b 1b
2:
  ret
