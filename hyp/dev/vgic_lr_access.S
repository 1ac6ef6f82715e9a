/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * List registers by number. Their names are part of the instruction, so a number becomes a computed branch into a table of accesses.
 *
 *   uint64_t vgic_hw_read_lr(unsigned n)
 *   void vgic_hw_write_lr(unsigned n, uint64_t value)
 *
 * Only x0 to x2 are touched. `n` is below the number of list registers there are: others are UNDEFINED.
 */

  .section .text.vgic_lr_access, "ax"
  .global vgic_hw_read_lr
  .type vgic_hw_read_lr, %function
vgic_hw_read_lr:
  adr x1, 1f
  add x1, x1, w0, uxtw #3
  br x1
1:
  .irp op2, 0, 1, 2, 3, 4, 5, 6, 7 /* ICH_LR0_EL2 to ICH_LR7_EL2 */
  mrs x0, S3_4_C12_C12_\op2
  ret
  .endr
  .irp op2, 0, 1, 2, 3, 4, 5, 6, 7 /* ICH_LR8_EL2 to ICH_LR15_EL2 */
  mrs x0, S3_4_C12_C13_\op2
  ret
  .endr
  .size vgic_hw_read_lr, . - vgic_hw_read_lr

  .global vgic_hw_write_lr
  .type vgic_hw_write_lr, %function
vgic_hw_write_lr:
  adr x2, 1f
  add x2, x2, w0, uxtw #3
  br x2
1:
  .irp op2, 0, 1, 2, 3, 4, 5, 6, 7
  msr S3_4_C12_C12_\op2, x1
  ret
  .endr
  .irp op2, 0, 1, 2, 3, 4, 5, 6, 7
  msr S3_4_C12_C13_\op2, x1
  ret
  .endr
  .size vgic_hw_write_lr, . - vgic_hw_write_lr
