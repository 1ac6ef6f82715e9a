/* SPDX-License-Identifier: BSD-2-Clause */
/* The victim takes no interrupts (it polls in WFI), so every exception is one that somebody else caused. */

  .text
  .balign 2048
  .globl payload_vectors
payload_vectors:
  .rept 16
  .balign 128
  b unexpected
  .endr

unexpected:
  mrs x0, esr_el1
  mrs x1, elr_el1
  mrs x2, far_el1
  b victim_unexpected
