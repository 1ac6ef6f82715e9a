/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_LAYOUT_H
#define GUEST_ARCH_LAYOUT_H

/*
 * The guest kernel's half of the address space (TTBR1, 39 bits) and the sizes assembly shares with C.
 *
 *   0xffff_ff80_0000_0000  linear map: va = LINEAR_BASE + pa, RAM as Normal, devices as Device-nGnRnE at their own addresses
 *   0xffff_ffc0_0000_0000  the kernel's image, wherever the loader put it: text RX, rodata R, data RW
 *
 * User space is the lower half (TTBR0), 39 bits as well: three levels on both sides.
 */

#define VA_BITS 39
#define LINEAR_BASE 0xffffff8000000000
#define KERNEL_BASE 0xffffffc000000000
#define IMAGE_MAX_BYTES 0x200000 /* one 2 MiB block maps the image while booting */

/* A task's struct and kernel stack share one naturally aligned block: struct at the bottom, stack from the top down. */
#define TASK_BLOCK_SHIFT 13
#define TASK_BLOCK_ORDER 1
#define TASK_BLOCK_BYTES (1 << TASK_BLOCK_SHIFT)

#define CPUS_MAX 8

/* System call numbers below this are looked up in syscall_table; the few of our own above it go through syscall_other(). */
#define SYSCALLS_HIGH 300

/* struct trap_frame */
#define FRAME_LR 240
#define FRAME_ELR 248
#define FRAME_SPSR 256
#define FRAME_BYTES 272

/* struct task: what assembly touches (guest/kernel/task.h checks them) */
#define TASK_CPU 0
#define TASK_WORK 4
#define TASK_PID 8
#define TASK_CONTEXT 16

/* struct secondary_boot */
#define SECONDARY_TASK 0
#define SECONDARY_TTBR1 8
#define SECONDARY_TCR 16

#endif
