/* SPDX-License-Identifier: BSD-2-Clause */
/* No exception is expected. */

  .text
  .balign 2048
  .globl payload_vectors
payload_vectors:
  .rept 16
  .balign 128
  b exception
  .endr

exception:
  mrs x0, esr_el1
  mrs x1, elr_el1
  mrs x2, far_el1
  b unexpected
