/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_FORMAT_H
#define CORE_FORMAT_H

/*
 * printf-style formatting without a libc: %d %i %u %x %X %o %c %s %p %%, flags '-' '0' '#' '+' ' ', width and precision (also '*'),
 * lengths hh h l ll z t j. No floating point.
 */

#include "core/compiler.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As C11 vsnprintf: writes at most cap - 1 characters and a NUL (if cap > 0), returns the length the whole would have had. */
int format_v(char *to, size_t cap, const char *fmt, va_list args) PRINTF_LIKE(3, 0);
int format(char *to, size_t cap, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * Parse an unsigned number: hexadecimal after "0x", else decimal (a leading 0 does not mean octal); an optional suffix
 * K, M or G (or k, m, g) multiplies by 2^10, 2^20, 2^30. The whole string must be consumed and must not overflow: else false and *out
 * unchanged.
 */
bool parse_u64(const char *s, uint64_t *out);

#endif
