/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_LIBC_STRING_H
#define CORE_LIBC_STRING_H

/* What libfdt's headers find as <string.h>. On the include path only of files that include libfdt.h. */

#include "core/string.h"

#endif
