/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions of the bench payload. The interrupt slot is one branch through x28, which every measuring loop sets to the
 * handler that it was written together with (loops.S): nothing is saved, because the loop knows what its handler clobbers.
 * Everything else is a mistake, and is said with its registers.
 */

  .macro vector target
  .balign 128
  b \target
  .endm

  .text
  .balign 2048
  .globl payload_vectors
payload_vectors:
  .rept 4
  vector payload_exception
  .endr
  vector payload_exception     /* current EL, SP_ELx: synchronous */
  .balign 128
  br x28                /* IRQ */
  vector payload_exception
  vector payload_exception
  .rept 8
  vector payload_exception
  .endr
