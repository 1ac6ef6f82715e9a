/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_COMPILER_H
#define CORE_COMPILER_H

/* Attributes and small compile-time helpers; nothing here generates code. */

#include <stddef.h>
#include <stdint.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define NORETURN _Noreturn
#define PACKED __attribute__((packed))
#define ALIGNED(bytes_) __attribute__((aligned(bytes_)))
#define UNUSED __attribute__((unused))
#define NOINLINE __attribute__((noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define PRINTF_LIKE(fmt_, first_) __attribute__((format(printf, fmt_, first_)))

#define likely(x_) __builtin_expect(!!(x_), 1)
#define unlikely(x_) __builtin_expect(!!(x_), 0)

#define ARRAY_SIZE(a_) (sizeof(a_) / sizeof((a_)[0]))

/* The object of type `type_` whose member `member_` is at `ptr_`. */
#define container_of(ptr_, type_, member_) ((type_ *)((uintptr_t)(ptr_)-offsetof(type_, member_)))

#endif
