/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a program begins: sp points to argc (Linux AArch64 process start). */
    .section .text.start, "ax"
    .globl _start
_start:
    mov x29, xzr
    mov x30, xzr
    ldr x0, [sp]            /* argc */
    add x1, sp, #8          /* argv */
    add x2, x1, x0, lsl #3
    add x2, x2, #8          /* envp */
    adrp x3, environ
    str x2, [x3, :lo12:environ]
    bl main
    mov x8, #94             /* exit_group */
    svc #0
    brk #0
