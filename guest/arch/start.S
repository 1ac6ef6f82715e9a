/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the loader's jump to C, by the Linux arm64 boot protocol: x0 = device tree, MMU off, entered at EL1 at any 2 MiB
 * aligned address of RAM. Four tables are built with the MMU off:
 *
 *   boot_idmap (TTBR0)  L1 -> boot_l2_linear: the 2 MiB block of the image at its physical address
 *   boot_upper (TTBR1)  L1 -> boot_l2_linear: the same block, and the device tree's, in the linear map
 *                       L1 -> boot_l2_image: the same block at KERNEL_BASE
 *
 * They are replaced by tables with real permissions as soon as the memory core can build them (mmu.c). The idmap stays for the
 * moment a secondary CPU switches its MMU on, read-only by then.
 *
 * Writes with the MMU off go past the caches: stale lines over the tables are invalidated before and after (Arm ARM D7.4, and the boot
 * protocol, which cleans the image but not what follows it).
 */
#include "guest/arch/layout.h"

#define BLOCK_NORMAL 0x40000000000705 /* UXN, AF, inner shareable, AttrIndx 1, block; EL1 read, write and execute */
#define TABLE_DESC 3

    .section .head.text, "ax"
    .globl _start
_start:
    b primary_entry
    .long 0
    .quad 0                 /* text_offset */
    .quad _image_bytes      /* image_size, bss included */
    .quad 0xa               /* little-endian, 4 KiB pages, anywhere in RAM */
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0

    .macro adr_l reg, sym
    adrp \reg, \sym
    add \reg, \reg, :lo12:\sym
    .endm

    .macro mov_q reg, val
    movz \reg, :abs_g3:\val
    movk \reg, :abs_g2_nc:\val
    movk \reg, :abs_g1_nc:\val
    movk \reg, :abs_g0_nc:\val
    .endm

/* Invalidate, to the point of coherency, the lines of the boot tables. Clobbers x0..x3. */
    .macro invalidate_boot_tables
    adr_l x0, boot_tables
    adr_l x1, boot_tables_end
    mrs x2, ctr_el0
    ubfx x2, x2, #16, #4
    mov x3, #4
    lsl x2, x3, x2
1:  dc ivac, x0
    add x0, x0, x2
    cmp x0, x1
    b.lo 1b
    dsb sy
    .endm

primary_entry:
    mrs x1, CurrentEL
    cmp x1, #(1 << 2)
    b.ne park               /* nothing can be said without a console: this kernel is an EL1 program */
    mov x20, x0             /* device tree */
    adr_l x21, _start       /* physical base of the image */
    invalidate_boot_tables
    adr_l x0, boot_tables
    adr_l x1, boot_tables_end
1:  stp xzr, xzr, [x0], #16
    cmp x0, x1
    b.lo 1b

    mov_q x10, BLOCK_NORMAL
    adr_l x11, boot_l2_linear
    adr_l x12, boot_l2_image
    adr_l x13, boot_idmap
    adr_l x14, boot_upper

    orr x0, x11, #TABLE_DESC
    ubfx x1, x21, #30, #9
    str x0, [x13, x1, lsl #3]
    str x0, [x14, x1, lsl #3]
    orr x0, x12, #TABLE_DESC
    str x0, [x14, #(((KERNEL_BASE >> 30) & 511) * 8)]
    orr x0, x21, x10
    ubfx x1, x21, #21, #9
    str x0, [x11, x1, lsl #3]
    str x0, [x12]
    dsb sy
    invalidate_boot_tables

    adr_l x0, boot_upper
    bl cpu_mmu_on
    ldr x1, =primary_virtual
    br x1
    .ltorg

/*
 * Switch this CPU's MMU on: x0 = TTBR1 table. The idmap is in TTBR0. Returns at the physical address it was called from.
 * A secondary CPU passes the TCR_EL1 of the boot CPU in x1 through cpu_mmu_on_tcr.
 */
cpu_mmu_on:
    mrs x2, id_aa64mmfr0_el1
    and x3, x2, #0xf        /* PARange -> IPS, at most 48 bits */
    cmp x3, #5
    mov x4, #5
    csel x3, x3, x4, lo
    mov_q x1, 0xb5193519    /* T0SZ = T1SZ = 25, walks inner shareable write-back, 4 KiB granules */
    orr x1, x1, x3, lsl #32
    ubfx x3, x2, #4, #4     /* ASIDBits */
    cmp x3, #2
    cset x3, eq
    orr x1, x1, x3, lsl #36
cpu_mmu_on_tcr:
    mov_q x2, 0x000000000044ff00 /* PT_MAIR_VALUE */
    msr mair_el1, x2
    msr tcr_el1, x1
    adr_l x2, boot_idmap
    msr ttbr0_el1, x2
    msr ttbr1_el1, x0
    tlbi vmalle1
    ic iallu
    dsb nsh
    isb
    mov_q x2, 0x34d5d99d    /* RES1, M, C, SA, SA0, I, DZE, UCT, nTWI, nTWE, SPAN, UCI */
    msr sctlr_el1, x2
    isb
    ret

park:
    wfi
    b park

/* Entered by PSCI CPU_ON with the MMU off: x0 = physical address of a struct secondary_boot. */
    .globl secondary_entry
secondary_entry:
    mov x20, x0
    ldr x0, [x20, #SECONDARY_TTBR1]
    ldr x1, [x20, #SECONDARY_TCR]
    ldr x19, [x20, #SECONDARY_TASK]
    bl cpu_mmu_on_tcr
    ldr x1, =secondary_virtual
    br x1
    .ltorg

/*
 * void mmu_replace_ttbr1(uint64_t ttbr1): called, at its idmap address, with the idmap in TTBR0. The new tables map the same
 * addresses with other block sizes, so nothing of the old ones may stay in the TLB in between (Arm ARM D8.14.1): an empty
 * table goes in first.
 */
    .globl mmu_replace_ttbr1
mmu_replace_ttbr1:
    adr_l x1, empty_table
    msr ttbr1_el1, x1
    isb
    tlbi vmalle1
    dsb nsh
    isb
    msr ttbr1_el1, x0
    isb
    ret

    .text
primary_virtual:
    adr_l x0, vectors
    msr vbar_el1, x0
    adr_l x0, __bss_start
    adr_l x1, __bss_end
1:  stp xzr, xzr, [x0], #16
    cmp x0, x1
    b.lo 1b
    adr_l x0, boot_task_block
    msr tpidr_el1, x0
    mov x1, #TASK_BLOCK_BYTES
    add sp, x0, x1
    mov x29, xzr
    mov x30, xzr
    mov x0, x20
    mov x1, x21
    bl kernel_main
    b .

secondary_virtual:
    adr_l x0, vectors
    msr vbar_el1, x0
    adr_l x0, empty_table_pa
    ldr x0, [x0]
    msr ttbr0_el1, x0
    isb
    msr tpidr_el1, x19
    mov x1, #TASK_BLOCK_BYTES
    add sp, x19, x1
    mov x29, xzr
    mov x30, xzr
    bl secondary_main
    b .

    .section .boot_tables, "aw", @nobits
    .balign 4096
boot_tables:
    .globl boot_idmap, boot_upper, boot_l2_linear
boot_idmap:     .space 4096
boot_upper:     .space 4096
boot_l2_linear: .space 4096
boot_l2_image:  .space 4096
    .globl empty_table
empty_table:    .space 4096
boot_tables_end:
