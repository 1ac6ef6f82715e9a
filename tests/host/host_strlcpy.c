/* SPDX-License-Identifier: BSD-2-Clause */

/* strlcpy for test programs of glibc before 2.38, which has none. Weak, so that a libc that has it wins. */

#include "core/compiler.h"
#include <string.h>

__attribute__((weak)) size_t strlcpy(char *restrict to, const char *restrict from, size_t cap) {
  size_t length = strlen(from);
  if (cap > 0) {
    size_t kept = length < cap ? length : cap - 1;
    memcpy(to, from, kept);
    to[kept] = '\0';
  }
  return length;
}
