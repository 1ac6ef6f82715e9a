/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loops of data cache maintenance for the usual 64-byte block: two instructions per line, for DC ZVA the loop's own two spread over 128
 * lines. An odd number of pages enters there in the middle. cache.c falls back to plain C where DCZID_EL0 says otherwise.
 */
  .macro zero_line
  dc zva, x0
  add x0, x0, #64
  .endm

  .macro zero_and_clean_line
  dc zva, x0
  dc cvac, x0
  add x0, x0, #64
  .endm

  .macro over_pages line
  tbnz x1, #12, 2f
1:.rept 64
  \line
  .endr
2:.rept 64
  \line
  .endr
  subs x1, x1, #2, lsl #12
  b.gt 1b
  ret
  .endm

  .text
  /* x0: start, x1: bytes, a multiple of 4096. */
  .global zero_64_byte_blocks
zero_64_byte_blocks:
  over_pages zero_line

  /* As above, each line cleaned to the point of coherency (64-byte lines). */
  .global zero_clean_64_byte_blocks
zero_clean_64_byte_blocks:
  over_pages zero_and_clean_line

  /* Clean and invalidate to the point of coherency (64-byte lines); x0: start, x1: bytes, a multiple of 512. */
  .global clean_invalidate_64_byte_lines
clean_invalidate_64_byte_lines:
1:.rept 8
  dc civac, x0
  add x0, x0, #64
  .endr
  subs x1, x1, #512
  b.gt 1b
  ret
