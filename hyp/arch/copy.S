/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copying one 4 KiB page: per line of 64 bytes eight instructions and one to go on, the loop's own two spread over four lines. Both
 * addresses are 4 KiB aligned, the memory Normal.
 */
  .text
  .macro copy_line
  ldp x2, x3, [x1], #16
  ldp x4, x5, [x1], #16
  ldp x6, x7, [x1], #16
  ldp x8, x9, [x1], #16
  stp x2, x3, [x0]
  stp x4, x5, [x0, #16]
  stp x6, x7, [x0, #32]
  stp x8, x9, [x0, #48]
  .endm

  /* void copy_page(void *to, const void *from) */
  .global copy_page
copy_page:
  add x10, x0, #4096
1:.rept 4
  copy_line
  add x0, x0, #64
  .endr
  cmp x0, x10
  b.ne 1b
  ret

  /* As above, each line written cleaned to the point of coherency (lines of 64 bytes); without the DSB. */
  .global copy_clean_64_byte_lines
copy_clean_64_byte_lines:
  add x10, x0, #4096
1:.rept 4
  copy_line
  dc cvac, x0
  add x0, x0, #64
  .endr
  cmp x0, x10
  b.ne 1b
  ret
