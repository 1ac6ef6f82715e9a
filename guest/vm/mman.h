/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_MMAN_H
#define GUEST_VM_MMAN_H

/*
 * The words of mmap(2), mprotect(2) and madvise(2), with the values of the Linux AArch64 ABI (include/uapi/asm-generic/mman*.h),
 * so that the system-call layer passes them through unchanged.
 */

#define PROT_NONE 0x0u
#define PROT_READ 0x1u
#define PROT_WRITE 0x2u
#define PROT_EXEC 0x4u
#define PROT_GROWSDOWN 0x01000000u /* mprotect only: from the start of the stack that `addr` lies in */

#define MAP_SHARED 0x01u
#define MAP_PRIVATE 0x02u
#define MAP_SHARED_VALIDATE 0x03u
#define MAP_TYPE 0x0fu
#define MAP_FIXED 0x10u
#define MAP_ANONYMOUS 0x20u
#define MAP_GROWSDOWN 0x0100u
#define MAP_LOCKED 0x2000u
#define MAP_NORESERVE 0x4000u
#define MAP_POPULATE 0x8000u
#define MAP_STACK 0x20000u
#define MAP_HUGETLB 0x40000u
#define MAP_FIXED_NOREPLACE 0x100000u

#define MADV_NORMAL 0
#define MADV_RANDOM 1
#define MADV_SEQUENTIAL 2
#define MADV_WILLNEED 3
#define MADV_DONTNEED 4

#endif
