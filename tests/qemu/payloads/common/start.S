/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a test payload comes up: a bare EL1 program in an arm64 Image, one for every small guest under tests/.
 *
 * Entered by the Linux boot protocol at any 2 MiB aligned base plus text_offset: MMU off, x0 = device tree. Turns the MMU and
 * caches on over an identity map of 1 GiB blocks (the first GiB is devices, the next seven are RAM), clears the bss, and
 * calls payload_main(dtb) on a small stack. Nothing here or in the C beside it holds an absolute address in data, so the
 * image runs wherever it was put. payload_vectors is the program's own.
 */

#define SCTLR_EL1_VALUE 0x30d0198d /* RES1; I, C, M; SA */
#define TCR_EL1_VALUE 0x0000000280803519 /* T0SZ 25 (39 bits), WBWA inner shareable, 4 KiB, EPD1, IPS 40 bits */
#define MAIR_EL1_VALUE 0x000000000000ff00 /* 0: Device-nGnRnE, 1: Normal write-back */

  .section .head, "ax"
  .globl _start
_start:
  b primary_entry
  .long 0
  .quad 0               /* text_offset */
  .quad _image_size
  .quad 0xa             /* little-endian, 4 KiB pages, anywhere */
  .quad 0, 0, 0
  .ascii "ARM\x64"
  .long 0

  .text
primary_entry:
  mov x19, x0
  bl payload_mmu_on
  adrp x0, boot_stack_top
  add sp, x0, :lo12:boot_stack_top
  adrp x0, _bss_start
  add x0, x0, :lo12:_bss_start
  adrp x1, _bss_end
  add x1, x1, :lo12:_bss_end
1:
  stp xzr, xzr, [x0], #16
  cmp x0, x1
  b.lo 1b
  mov x0, x19
  bl payload_main
  b payload_off

/* PSCI CPU_ON's entry point. x0: struct payload_cpu_start. */
  .globl payload_secondary
payload_secondary:
  mov x19, x0
  bl payload_mmu_on
  ldp x1, x2, [x19]
  ldr x0, [x19, #16]
  mov sp, x1
  blr x2
  b payload_cpu_off

/* Clobbers x1 only, so that an entry point that measures keeps its readings. */
  .globl payload_mmu_on
payload_mmu_on:
  adrp x1, payload_vectors
  add x1, x1, :lo12:payload_vectors
  msr vbar_el1, x1
  ldr x1, =MAIR_EL1_VALUE
  msr mair_el1, x1
  ldr x1, =TCR_EL1_VALUE
  msr tcr_el1, x1
  adrp x1, payload_table
  msr ttbr0_el1, x1
  tlbi vmalle1
  ic iallu
  dsb nsh
  isb
  ldr x1, =SCTLR_EL1_VALUE
  msr sctlr_el1, x1
  isb
  ret

  .globl payload_off
payload_off:
  movz w0, #0x8400, lsl #16
  movk w0, #0x0008
  hvc #0
1:
  wfi
  b 1b

  .globl payload_cpu_off
payload_cpu_off:
  movz w0, #0x8400, lsl #16
  movk w0, #0x0002
  hvc #0
1:
  wfi
  b 1b

  .ltorg

/* Level 1, one entry per GiB: the output address is the input address. */
  .section .data.payload_table, "aw"
  .balign 4096
  .globl payload_table
payload_table:
  .quad 0x0060000000000401                /* XN, AF, attribute 0 */
  .set gib, 1
  .rept 7
  .quad (gib << 30) | 0x705               /* AF, inner shareable, attribute 1 */
  .set gib, gib + 1
  .endr
  .zero 4096 - 8 * 8

  .section .bss.boot_stack, "aw", %nobits
  .balign 16
  .zero 16384
boot_stack_top:
