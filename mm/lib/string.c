/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory and string functions that a freestanding compiler calls by itself and libfdt needs (C11 7.24).
 *
 * They run at any time, also before the MMU is on, when memory is Device and an unaligned access faults (Arm ARM B2.5.2), and with
 * -mgeneral-regs-only: so memory moves in aligned 8-byte words, unrolled to 64 bytes (which a compiler pairs into LDP/STP), and in
 * bytes where source and destination cannot both be aligned. No function here may be recognised by the compiler as what it is
 * and turned into a call of itself: the file is built with -fno-tree-loop-distribute-patterns (gcc) or -fno-builtin (clang), and for a
 * build that forgets, each loop hides its count behind an empty asm-free barrier, `opaque()`.
 */
#include "core/string.h"
#include "core/compiler.h"
#include <stdint.h>

/* A word that may alias anything. */
typedef uint64_t __attribute__((may_alias)) word_t;

#define WORD sizeof(word_t)
#define BURST (8 * WORD)

/* The compiler must not see through a loop to the library function it implements. */
static ALWAYS_INLINE void opaque(void) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static ALWAYS_INLINE uintptr_t misaligned(const void *p) {
  return (uintptr_t)p & (WORD - 1);
}

static ALWAYS_INLINE void copy_burst(word_t *to, const word_t *from) {
  word_t a = from[0], b = from[1], c = from[2], d = from[3];
  word_t e = from[4], f = from[5], g = from[6], h = from[7];
  to[0] = a;
  to[1] = b;
  to[2] = c;
  to[3] = d;
  to[4] = e;
  to[5] = f;
  to[6] = g;
  to[7] = h;
}

/*
 * `d` is aligned, `s` is not: each word stored is put together from two aligned words loaded (little-endian). The first may start before
 * the source, within the same 8 bytes; none reaches beyond its end, hence the stop 16 bytes before it. Returns the bytes copied.
 *
 *         |  sa      |  sa + 8  |
 *   ......|...sssssss|sss.......|        d = sa >> shift | (sa + 8) << (64 - shift)
 */
static size_t copy_shifted(unsigned char *d, const unsigned char *s, size_t bytes) {
  unsigned shift = (unsigned)misaligned(s) * 8;
  const word_t *from = (const word_t *)(const void *)(s - misaligned(s));
  word_t *to = (word_t *)(void *)d;
  word_t low = *from++;
  size_t done = 0;
  for (; bytes - done >= 2 * WORD; done += WORD) {
    word_t high = *from++;
    *to++ = low >> shift | high << (64 - shift);
    low = high;
    opaque();
  }
  return done;
}

/* Ascending, so right for overlap with to < from. */
static void *copy_up(void *to, const void *from, size_t bytes) {
  unsigned char *d = to;
  const unsigned char *s = from;
  if (misaligned(d) == misaligned(s)) {
    for (; bytes != 0 && misaligned(d); bytes--) {
      *d++ = *s++;
      opaque();
    }
    for (; bytes >= BURST; bytes -= BURST, d += BURST, s += BURST)
      copy_burst((word_t *)(void *)d, (const word_t *)(const void *)s);
    for (; bytes >= WORD; bytes -= WORD, d += WORD, s += WORD) {
      *(word_t *)(void *)d = *(const word_t *)(const void *)s;
      opaque();
    }
  } else if (bytes >= 4 * WORD) {
    for (; misaligned(d); bytes--) {
      *d++ = *s++;
      opaque();
    }
    size_t done = copy_shifted(d, s, bytes);
    d += done;
    s += done;
    bytes -= done;
  }
  for (; bytes != 0; bytes--) {
    *d++ = *s++;
    opaque();
  }
  return to;
}

/* Descending, for overlap with to > from. */
static void *copy_down(void *to, const void *from, size_t bytes) {
  unsigned char *d = (unsigned char *)to + bytes;
  const unsigned char *s = (const unsigned char *)from + bytes;
  if (misaligned(d) == misaligned(s)) {
    for (; bytes != 0 && misaligned(d); bytes--) {
      *--d = *--s;
      opaque();
    }
    for (; bytes >= WORD; bytes -= WORD) {
      d -= WORD;
      s -= WORD;
      *(word_t *)(void *)d = *(const word_t *)(const void *)s;
      opaque();
    }
  }
  for (; bytes != 0; bytes--) {
    *--d = *--s;
    opaque();
  }
  return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  return copy_up(to, from, bytes);
}

void *memmove(void *to, const void *from, size_t bytes) {
  return (uintptr_t)to - (uintptr_t)from >= bytes ? copy_up(to, from, bytes) : copy_down(to, from, bytes);
}

static ALWAYS_INLINE void fill_burst(word_t *to, word_t pattern) {
  to[0] = pattern;
  to[1] = pattern;
  to[2] = pattern;
  to[3] = pattern;
  to[4] = pattern;
  to[5] = pattern;
  to[6] = pattern;
  to[7] = pattern;
}

void *memset(void *to, int byte, size_t bytes) {
  unsigned char *d = to;
  word_t pattern = (word_t)(unsigned char)byte * 0x0101010101010101ull;
  for (; bytes != 0 && misaligned(d); bytes--) {
    *d++ = (unsigned char)byte;
    opaque();
  }
  for (; bytes >= BURST; bytes -= BURST, d += BURST) {
    fill_burst((word_t *)(void *)d, pattern);
    opaque();
  }
  for (; bytes >= WORD; bytes -= WORD, d += WORD) {
    *(word_t *)(void *)d = pattern;
    opaque();
  }
  for (; bytes != 0; bytes--) {
    *d++ = (unsigned char)byte;
    opaque();
  }
  return to;
}

int memcmp(const void *a, const void *b, size_t bytes) {
  const unsigned char *x = a, *y = b;
  if (misaligned(x) == 0 && misaligned(y) == 0) {
    for (; bytes >= WORD && *(const word_t *)(const void *)x == *(const word_t *)(const void *)y; bytes -= WORD, x += WORD, y += WORD)
      opaque();
  }
  for (; bytes != 0; bytes--, x++, y++) {
    if (*x != *y)
      return *x < *y ? -1 : 1;
  }
  return 0;
}

void *memchr(const void *s, int byte, size_t bytes) {
  for (const unsigned char *p = s; bytes != 0; bytes--, p++) {
    if (*p == (unsigned char)byte)
      return (void *)(uintptr_t)p;
  }
  return NULL;
}

size_t strlen(const char *s) {
  const char *p = s;
  while (*p) {
    p++;
    opaque();
  }
  return (size_t)(p - s);
}

size_t strnlen(const char *s, size_t max) {
  size_t n = 0;
  while (n < max && s[n])
    n++;
  return n;
}

int strcmp(const char *a, const char *b) {
  return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t max) {
  for (; max != 0; max--, a++, b++) {
    if (*a != *b)
      return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
    if (*a == 0)
      return 0;
  }
  return 0;
}

char *strchr(const char *s, int c) {
  for (;; s++) {
    if (*s == (char)c)
      return (char *)(uintptr_t)s;
    if (*s == 0)
      return NULL;
  }
}

char *strrchr(const char *s, int c) {
  const char *last = NULL;
  for (;; s++) {
    if (*s == (char)c)
      last = s;
    if (*s == 0)
      return (char *)(uintptr_t)last;
  }
}

size_t strlcpy(char *to, const char *from, size_t cap) {
  size_t length = strlen(from);
  if (cap != 0) {
    size_t kept = length < cap ? length : cap - 1;
    memcpy(to, from, kept);
    to[kept] = 0;
  }
  return length;
}
