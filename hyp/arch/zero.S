/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DC ZVA loops for the usual 64-byte block: two instructions per line, the loop's own two spread over 64 lines, or over 128 where
 * more than a page is zeroed. cache.c falls back to plain C where DCZID_EL0 says otherwise.
 */
  .text
  /* x0: start, x1: bytes, a multiple of 4096. */
  .global zero_64_byte_blocks
zero_64_byte_blocks:
  tst x1, #0x1fff
  b.eq 2f
1:.rept 64
  dc zva, x0
  add x0, x0, #64
  .endr
  subs x1, x1, #4096
  b.ne 1b
  ret
2:.rept 128
  dc zva, x0
  add x0, x0, #64
  .endr
  subs x1, x1, #2, lsl #12
  b.ne 2b
  ret

  /* As above, each line cleaned to the point of coherency (64-byte lines). */
  .global zero_clean_64_byte_blocks
zero_clean_64_byte_blocks:
  tst x1, #0x1fff
  b.eq 2f
1:.rept 64
  dc zva, x0
  dc cvac, x0
  add x0, x0, #64
  .endr
  subs x1, x1, #4096
  b.ne 1b
  ret
2:.rept 128
  dc zva, x0
  dc cvac, x0
  add x0, x0, #64
  .endr
  subs x1, x1, #2, lsl #12
  b.ne 2b
  ret
