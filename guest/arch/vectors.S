/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions into EL1. The kernel runs with interrupts masked from entry to exit: interrupts are taken from EL0, or found pending by
 * the idle loop after WFI, so the only exceptions from EL1 are aborts on user addresses (fixed up) and our own bugs.
 *
 * SP_EL1 stands at the top of the current task's block whenever EL0 runs, and each entry pushes one struct trap_frame there.
 * SP_EL0 and TPIDR_EL0 stay in their registers until a context switch.
 *
 * Paths counted in instructions: a system call costs what stands here, 58, plus its handler.
 */
#include "guest/arch/layout.h"

    .macro save_frame
    sub sp, sp, #FRAME_BYTES
    stp x0, x1, [sp]
    stp x2, x3, [sp, #16]
    stp x4, x5, [sp, #32]
    stp x6, x7, [sp, #48]
    stp x8, x9, [sp, #64]
    stp x10, x11, [sp, #80]
    stp x12, x13, [sp, #96]
    stp x14, x15, [sp, #112]
    stp x16, x17, [sp, #128]
    stp x18, x19, [sp, #144]
    stp x20, x21, [sp, #160]
    stp x22, x23, [sp, #176]
    stp x24, x25, [sp, #192]
    stp x26, x27, [sp, #208]
    stp x28, x29, [sp, #224]
    mrs x9, elr_el1
    mrs x10, spsr_el1
    stp x30, x9, [sp, #FRAME_LR]
    str x10, [sp, #FRAME_SPSR]
    .endm

    .macro restore_frame
    ldp x30, x9, [sp, #FRAME_LR]
    ldr x10, [sp, #FRAME_SPSR]
    msr elr_el1, x9
    msr spsr_el1, x10
    ldp x0, x1, [sp]
    ldp x2, x3, [sp, #16]
    ldp x4, x5, [sp, #32]
    ldp x6, x7, [sp, #48]
    ldp x8, x9, [sp, #64]
    ldp x10, x11, [sp, #80]
    ldp x12, x13, [sp, #96]
    ldp x14, x15, [sp, #112]
    ldp x16, x17, [sp, #128]
    ldp x18, x19, [sp, #144]
    ldp x20, x21, [sp, #160]
    ldp x22, x23, [sp, #176]
    ldp x24, x25, [sp, #192]
    ldp x26, x27, [sp, #208]
    ldp x28, x29, [sp, #224]
    add sp, sp, #FRAME_BYTES
    eret
    .endm

/* An exception that has no place here: report and stop. x0 = frame, x1 = vector's number. */
    .macro bad_vector number
    .balign 128
    save_frame
    mov x0, sp
    mov x1, #\number
    b exception_bad
    .endm

    .section .text.vectors, "ax"
    .balign 2048
    .globl vectors
vectors:
    bad_vector 0            /* EL1t */
    bad_vector 1
    bad_vector 2
    bad_vector 3

    .balign 128             /* EL1h synchronous */
    save_frame
    mrs x1, esr_el1
    mrs x2, far_el1
    mov x0, sp
    bl exception_el1_sync
    b exception_return
    bad_vector 5
    bad_vector 6
    bad_vector 7

    .balign 128             /* EL0 synchronous, AArch64 */
    save_frame
    mrs x10, esr_el1
    lsr x9, x10, #26
    cmp x9, #0x15           /* ESR_EC_SVC64 */
    b.ne el0_not_svc
    cmp x8, #SYSCALLS_HIGH
    b.hs el0_far_syscall
    adrp x9, syscall_table
    add x9, x9, :lo12:syscall_table
    ldr x9, [x9, x8, lsl #3]
    cbz x9, el0_far_syscall
    blr x9
    b syscall_return

    .balign 128             /* EL0 IRQ */
    save_frame
    bl irq_poll
    b return_to_user
    bad_vector 10           /* FIQ: group 0 is not ours */
    .balign 128             /* EL0 SError */
    save_frame
    mov x0, sp
    mrs x1, esr_el1
    bl exception_el0_serror
    b return_to_user

    .rept 4                 /* AArch32: not offered */
    bad_vector 12
    .endr

/* x9 = exception class, x10 = ESR */
el0_not_svc:
    cmp x9, #0x24           /* ESR_EC_DABT_LOWER */
    b.ne 1f
    mov x0, x10
    mrs x1, far_el1
    bl exception_el0_data_abort
    cbz w0, return_to_user
2:  mov w1, w0
    mov x0, sp
    bl exception_el0_refused
    b return_to_user
1:  cmp x9, #0x20           /* ESR_EC_IABT_LOWER */
    b.ne 3f
    mov x0, x10
    mrs x1, far_el1
    bl exception_el0_fetch_abort
    cbnz w0, 2b
    b return_to_user
3:  mov x0, sp
    mov x1, x10
    mrs x2, far_el1
    bl exception_el0_sync
    b return_to_user

el0_far_syscall:
    mov x6, x8
    bl syscall_other
syscall_return:
    str x0, [sp]
    .globl return_to_user
return_to_user:
    mrs x9, tpidr_el1
    ldr w10, [x9, #TASK_WORK]
    cbnz w10, 2f
exception_return:
    restore_frame
2:  bl task_do_work
    b return_to_user

/* First code of a new task, on its own stack: cpu_switch_to() returned here. The frame was laid by its maker. */
    .globl task_first_return
task_first_return:
    bl schedule_tail
    b return_to_user

/* First code of a kernel thread: x19 = function. It returns only when it has laid a frame to enter EL0 with. */
    .globl task_first_kernel
task_first_kernel:
    bl schedule_tail
    blr x19
    b return_to_user
