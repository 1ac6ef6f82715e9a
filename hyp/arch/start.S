/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry by the Linux arm64 boot protocol (Documentation/arm64/booting.rst): MMU off, D-cache clean for the image, x0 = device tree.
 * Runs on the boot CPU; secondary CPUs come in at secondary_start through PSCI CPU_ON with x0 = their struct cpu.
 *
 * Memory is Device-nGnRnE until the MMU is on, so nothing here is unaligned and DC ZVA is not used.
 */
#include "hyp/arch/offsets.h"

#define CURRENT_EL2 8

  .section .head.text, "ax"
  .global image_head
image_head:
  b start
  .long 0
  .quad 0                        /* text_offset: the base itself */
  .quad image_bytes              /* image_size */
  .quad 0xa                      /* flags: little-endian, 4 KiB pages, anywhere in memory */
  .quad 0
  .quad 0
  .quad 0
  .ascii "ARM\x64"
  .long 0

start:
  msr daifset, #0xf
  mov x20, x0 /* device tree */
  adrp x21, image_start

  /*
   * What follows writes past the caches, and is read through them once the MMU is on: no clean line may be left that hides it (booting.rst
   * promises the image clean to the point of coherency, not absent from the caches).
   */
  mrs x3, ctr_el0
  ubfx x3, x3, #16, #4 /* DminLine: log2 of words */
  mov x4, #4
  lsl x4, x4, x3
  adrp x0, text_end
  adrp x1, image_end
0:dc ivac, x0
  add x0, x0, x4
  cmp x0, x1
  b.lo 0b
  dsb sy

  /* Relocations in RELR's encoding (tools/relocations): each word that holds an address of the image follows it. */
  adrp x0, relr_start
  add x0, x0, :lo12:relr_start
  adrp x1, relr_end
  add x1, x1, :lo12:relr_end
  movz x2, #0x4020, lsl #16
  subs x2, x21, x2 /* base - link base */
  b.eq 2f
1:cmp x0, x1
  b.hs 2f
  ldr x3, [x0], #8
  tbnz x3, #0, 6f
  add x4, x3, x2 /* even: the address of one word */
  ldr x5, [x4]
  add x5, x5, x2
  str x5, [x4], #8
  b 1b
6:add x6, x4, #(63 * 8) /* odd: a bit for each of the 63 words behind the last */
7:lsr x3, x3, #1
  cbz x3, 9f
  tbz x3, #0, 8f
  ldr x5, [x4]
  add x5, x5, x2
  str x5, [x4]
8:add x4, x4, #8
  b 7b
9:mov x4, x6
  b 1b
2:
  adrp x0, bss_start
  add x0, x0, :lo12:bss_start
  adrp x1, bss_end
  add x1, x1, :lo12:bss_end
3:cmp x0, x1
  b.hs 4f
  stp xzr, xzr, [x0], #16
  stp xzr, xzr, [x0], #16
  stp xzr, xzr, [x0], #16
  stp xzr, xzr, [x0], #16
  b 3b
4:
  msr spsel, #1
  adrp x0, boot_stack_top
  mov sp, x0
  mrs x1, CurrentEL
  cmp x1, #CURRENT_EL2
  b.ne 5f
  adrp x1, cpus
  add x1, x1, :lo12:cpus
  msr tpidr_el2, x1
  adrp x1, vectors
  add x1, x1, :lo12:vectors
  msr vbar_el2, x1
  isb
  mov x0, x20
  b hyp_main
5:lsr x0, x1, #2
  b boot_wrong_el

  /* x0: struct cpu of this CPU. Everything it needs was written with caches on and cleaned to the point of coherency. */
  .global secondary_start
secondary_start:
  msr daifset, #0xf
  msr spsel, #1
  mov x20, x0
  msr tpidr_el2, x0
  adrp x1, vectors
  add x1, x1, :lo12:vectors
  msr vbar_el2, x1
  adrp x0, mmu_secondary
  add x0, x0, :lo12:mmu_secondary
  ldp x1, x2, [x0]      /* MAIR_EL2, TCR_EL2 */
  ldp x3, x4, [x0, #16] /* TTBR0_EL2, SCTLR_EL2 */
  msr mair_el2, x1
  msr tcr_el2, x2
  msr ttbr0_el2, x3
  tlbi alle2
  dsb nsh
  isb
  msr sctlr_el2, x4
  isb
  ldr x1, [x20, #CPU_STACK_TOP]
  mov sp, x1
  mov x0, x20
  mov x29, xzr
  mov x30, xzr
  b hyp_secondary_main

/* Each stack has a page under it that is never mapped: far.h knows their order. */
  .section .noinit, "aw", %nobits
  .balign 4096
  .global early_tables
early_tables:
  .skip 2 * 4096
  .global stacks
stacks:
  .skip 4096 + EL2_STACK_BYTES
boot_stack_top:
  .skip 4096 + EL2_STACK_BYTES
  .global emergency_stack_top
emergency_stack_top:
  .skip (EL2_STACKS - 2) * (4096 + EL2_STACK_BYTES)
