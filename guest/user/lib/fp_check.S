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

/*
 * bool fp_survives_wait(unsigned long seed, uint64_t until): fill q0..q31, spin without a system call until the virtual count reaches
 * `until`, and see whether every half of every register is still what it was.
 */
    .globl fp_survives_wait
fp_survives_wait:
    mov x9, x0
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    add x9, x9, #1
    dup v\n\().2d, x9
    .endr
1:  mrs x10, cntvct_el0
    cmp x10, x1
    b.lo 1b
    mov x9, x0
    mov x11, xzr
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    add x9, x9, #1
    fmov x12, d\n
    mov x13, v\n\().d[1]
    eor x12, x12, x9
    eor x13, x13, x9
    orr x11, x11, x12
    orr x11, x11, x13
    .endr
    cmp x11, #0
    cset w0, eq
    ret
