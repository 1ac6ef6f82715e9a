/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_LIBC_STDLIB_H
#define CORE_LIBC_STDLIB_H

/* What libfdt's headers find as <stdlib.h>. On the include path only of files that include libfdt.h. */

/* C11 7.22.1.4, for base 10 and 16 without a sign: all that libfdt asks (fdt_overlay, which is not linked in unless called). */
unsigned long strtoul(const char *restrict s, char **restrict end, int base);

#endif
