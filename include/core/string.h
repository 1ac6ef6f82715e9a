/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_STRING_H
#define CORE_STRING_H

/* The part of <string.h> that a freestanding compiler may call by itself, and that libfdt needs. Semantics are C11's. */

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
void *memchr(const void *s, int byte, size_t bytes);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t max);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);

/* Copy at most cap - 1 bytes and always terminate (cap > 0). Returns strlen(from), so a result >= cap means it was cut (BSD strlcpy). */
size_t strlcpy(char *to, const char *from, size_t cap);

#endif
