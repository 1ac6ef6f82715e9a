/* SPDX-License-Identifier: BSD-2-Clause */
/* For systest: FP/SIMD registers across system calls and processes. C code here is built without them, so they are free to use. */

    .text
/* bool fp_survives_yield(unsigned long seed): fill some registers and FPSR, yield twice, and see whether they are still what they were. */
    .globl fp_survives_yield
fp_survives_yield:
    mvn x9, x0
    and x10, x0, #0x1f
    mov x11, x0
    dup v0.2d, x0
    dup v15.2d, x9
    dup v31.2d, x0
    msr fpsr, x10
    mov x8, #124            /* sched_yield */
    svc #0
    mov x8, #124
    svc #0
    fmov x12, d0
    mov x13, v15.d[1]
    mov x14, v31.d[1]
    mrs x15, fpsr
    cmp x12, x11
    ccmp x13, x9, #0, eq
    ccmp x14, x11, #0, eq
    ccmp x15, x10, #0, eq
    cset w0, eq
    ret

/* void fp_put(unsigned long), unsigned long fp_get(void): d7. */
    .globl fp_put
fp_put:
    fmov d7, x0
    ret

    .globl fp_get
fp_get:
    fmov x0, d7
    ret
