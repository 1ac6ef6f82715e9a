/* SPDX-License-Identifier: BSD-2-Clause */
/* Context switch, FP/SIMD state, page copy, and access to user memory with fix-ups. */
#include "guest/arch/layout.h"

    .text
/*
 * void cpu_switch_to(struct task *prev, struct task *next): callee-saved registers, stack, and the EL0 registers that live in the CPU while
 * a task runs. Returns on next's stack.
 */
    .globl cpu_switch_to
cpu_switch_to:
    add x9, x0, #TASK_CONTEXT
    mov x10, sp
    mrs x11, sp_el0
    mrs x12, tpidr_el0
    stp x19, x20, [x9]
    stp x21, x22, [x9, #16]
    stp x23, x24, [x9, #32]
    stp x25, x26, [x9, #48]
    stp x27, x28, [x9, #64]
    stp x29, x30, [x9, #80]
    stp x10, x11, [x9, #96]
    str x12, [x9, #112]
    add x9, x1, #TASK_CONTEXT
    ldp x19, x20, [x9]
    ldp x21, x22, [x9, #16]
    ldp x23, x24, [x9, #32]
    ldp x25, x26, [x9, #48]
    ldp x27, x28, [x9, #64]
    ldp x29, x30, [x9, #80]
    ldp x10, x11, [x9, #96]
    ldr x12, [x9, #112]
    mov sp, x10
    msr sp_el0, x11
    msr tpidr_el0, x12
    msr tpidr_el1, x1
    ret

    .arch_extension fp
/* void fp_save(struct fp_state *), void fp_load(const struct fp_state *): v0..v31, FPSR, FPCR. */
    .globl fp_save
fp_save:
    stp q0, q1, [x0]
    stp q2, q3, [x0, #32]
    stp q4, q5, [x0, #64]
    stp q6, q7, [x0, #96]
    stp q8, q9, [x0, #128]
    stp q10, q11, [x0, #160]
    stp q12, q13, [x0, #192]
    stp q14, q15, [x0, #224]
    stp q16, q17, [x0, #256]
    stp q18, q19, [x0, #288]
    stp q20, q21, [x0, #320]
    stp q22, q23, [x0, #352]
    stp q24, q25, [x0, #384]
    stp q26, q27, [x0, #416]
    stp q28, q29, [x0, #448]
    stp q30, q31, [x0, #480]
    mrs x1, fpsr
    mrs x2, fpcr
    str x1, [x0, #512]
    str x2, [x0, #520]
    ret

    .globl fp_load
fp_load:
    ldp q0, q1, [x0]
    ldp q2, q3, [x0, #32]
    ldp q4, q5, [x0, #64]
    ldp q6, q7, [x0, #96]
    ldp q8, q9, [x0, #128]
    ldp q10, q11, [x0, #160]
    ldp q12, q13, [x0, #192]
    ldp q14, q15, [x0, #224]
    ldp q16, q17, [x0, #256]
    ldp q18, q19, [x0, #288]
    ldp q20, q21, [x0, #320]
    ldp q22, q23, [x0, #352]
    ldp q24, q25, [x0, #384]
    ldp q26, q27, [x0, #416]
    ldp q28, q29, [x0, #448]
    ldp q30, q31, [x0, #480]
    ldr x1, [x0, #512]
    ldr x2, [x0, #520]
    msr fpsr, x1
    msr fpcr, x2
    ret

/* void copy_page(void *to, const void *from): 128 bytes a turn, all loads before the stores. */
    .globl copy_page
copy_page:
    add x18, x0, #4096      /* no platform register here: AAPCS64 leaves it to the callee */
1:  ldp x2, x3, [x1]
    ldp x4, x5, [x1, #16]
    ldp x6, x7, [x1, #32]
    ldp x8, x9, [x1, #48]
    ldp x10, x11, [x1, #64]
    ldp x12, x13, [x1, #80]
    ldp x14, x15, [x1, #96]
    ldp x16, x17, [x1, #112]
    add x1, x1, #128
    stp x2, x3, [x0]
    stp x4, x5, [x0, #16]
    stp x6, x7, [x0, #32]
    stp x8, x9, [x0, #48]
    stp x10, x11, [x0, #64]
    stp x12, x13, [x0, #80]
    stp x14, x15, [x0, #96]
    stp x16, x17, [x0, #112]
    add x0, x0, #128
    cmp x0, x18
    b.ne 1b
    ret

/* The instruction at label 9 may fault on a user address: go on at `fixup` then. */
    .macro user_access fixup
    .pushsection .extable, "a"
    .balign 8
    .quad 9b, \fixup
    .popsection
    .endm

/*
 * uint64_t user_copy_in(void *to, uint64_t from_user, uint64_t bytes)
 * uint64_t user_copy_out(uint64_t to_user, const void *from, uint64_t bytes)
 * Return the bytes NOT copied. LDTR/STTR make the access with EL0's rights, so a kernel address faults like any other.
 */
    .globl user_copy_in
user_copy_in:
    cmp x2, #8
    b.lo 2f
9:  ldtr x3, [x1]
    user_access 3f
    str x3, [x0], #8
    add x1, x1, #8
    sub x2, x2, #8
    b user_copy_in
2:  cbz x2, 3f
9:  ldtrb w3, [x1]
    user_access 3f
    strb w3, [x0], #1
    add x1, x1, #1
    sub x2, x2, #1
    b 2b
3:  mov x0, x2
    ret

    .globl user_copy_out
user_copy_out:
    cmp x2, #8
    b.lo 2f
    ldr x3, [x1]
9:  sttr x3, [x0]
    user_access 3f
    add x1, x1, #8
    add x0, x0, #8
    sub x2, x2, #8
    b user_copy_out
2:  cbz x2, 3f
    ldrb w3, [x1]
9:  sttrb w3, [x0]
    user_access 3f
    add x1, x1, #1
    add x0, x0, #1
    sub x2, x2, #1
    b 2b
3:  mov x0, x2
    ret

/* bool probe_read(const volatile void *p): one 32-bit read that may fault. */
    .globl probe_read
probe_read:
9:  ldr w1, [x0]
    user_access 3f
    mov w0, #1
    ret
3:  mov w0, #0
    ret
