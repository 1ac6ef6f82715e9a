/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_LIBC_LIMITS_H
#define CORE_LIBC_LIMITS_H

/* What libfdt's headers find as <limits.h>. On the include path only of files that include libfdt.h. */

#define CHAR_BIT __CHAR_BIT__
#define INT_MAX __INT_MAX__
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX (INT_MAX * 2u + 1u)
#define LONG_MAX __LONG_MAX__
#define LONG_MIN (-LONG_MAX - 1l)
#define ULONG_MAX (LONG_MAX * 2ul + 1ul)

#endif
