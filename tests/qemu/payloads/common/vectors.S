/* SPDX-License-Identifier: BSD-2-Clause */
/* The vectors of a payload that has none of its own and expects no exception: each is a failure, said with its registers. */

  .text
  .balign 2048
  .weak payload_vectors
payload_vectors:
  .rept 16
  .balign 128
  b payload_exception
  .endr

/* Where a payload's own vectors send what they do not expect. Nothing is kept. */
  .globl payload_exception
payload_exception:
  mrs x0, esr_el1
  mrs x1, elr_el1
  mrs x2, far_el1
  b payload_unexpected
