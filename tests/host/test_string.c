/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mm/lib/string.c against the build machine's libc: every small alignment and length, overlap in both directions, exact bounds
 * (the destination ends where AddressSanitizer watches).
 */
// cflags: -fno-builtin
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define memcpy lib_memcpy
#define memmove lib_memmove
#define memset lib_memset
#define memcmp lib_memcmp
#define memchr lib_memchr
#define strlen lib_strlen
#define strnlen lib_strnlen
#define strcmp lib_strcmp
#define strncmp lib_strncmp
#define strchr lib_strchr
#define strrchr lib_strrchr
#define strlcpy lib_strlcpy
#include "mm/lib/string.c" // NOLINT(bugprone-suspicious-include)
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr
#undef strlcpy

enum {
  ROOM = 300
};

static void fill_random(uint8_t *p, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    p[i] = (uint8_t)rand();
}

static void copy_is_exact(void **state) {
  (void)state;
  uint8_t from[ROOM], got[ROOM], want[ROOM];
  for (size_t d = 0; d < 16; d++) {
    for (size_t s = 0; s < 16; s++) {
      for (size_t n = 0; n < 200; n += n < 80 ? 1 : 13) {
        fill_random(from, ROOM);
        memset(got, 0xee, ROOM);
        memset(want, 0xee, ROOM);
        memcpy(want + d, from + s, n);
        assert_ptr_equal(lib_memcpy(got + d, from + s, n), got + d);
        assert_memory_equal(got, want, ROOM);
      }
    }
  }
}

static void move_allows_overlap(void **state) {
  (void)state;
  uint8_t got[ROOM], want[ROOM];
  for (size_t d = 0; d < 40; d++) {
    for (size_t s = 0; s < 40; s++) {
      for (size_t n = 0; n < 200; n += n < 80 ? 3 : 17) {
        fill_random(got, ROOM);
        memcpy(want, got, ROOM);
        memmove(want + d, want + s, n);
        assert_ptr_equal(lib_memmove(got + d, got + s, n), got + d);
        assert_memory_equal(got, want, ROOM);
      }
    }
  }
}

static void set_is_exact(void **state) {
  (void)state;
  uint8_t got[ROOM], want[ROOM];
  for (size_t d = 0; d < 16; d++) {
    for (size_t n = 0; n < 250; n++) {
      memset(got, 0x11, ROOM);
      memset(want, 0x11, ROOM);
      memset(want + d, (int)n | 0x100, n);
      assert_ptr_equal(lib_memset(got + d, (int)n | 0x100, n), got + d);
      assert_memory_equal(got, want, ROOM);
    }
  }
}

static void no_byte_beyond_is_touched(void **state) {
  (void)state;
  for (size_t n = 1; n < 150; n++) {
    uint8_t *a = malloc(n), *b = malloc(n);
    lib_memset(a, 0x5a, n);
    lib_memcpy(b, a, n);
    lib_memmove(b, a, n);
    for (size_t shift = 1; shift < 8 && shift < n; shift++) {
      lib_memcpy(b, a + shift, n - shift);
      lib_memcpy(b + shift, a, n - shift);
    }
    lib_memcpy(b, a, n);
    assert_int_equal(lib_memcmp(a, b, n), 0);
    assert_null(lib_memchr(a, 0xff, n));
    a[n - 1] = 0;
    assert_int_equal(lib_strlen((char *)a), n - 1);
    assert_int_equal(lib_strnlen((char *)b, n), n);
    free(a);
    free(b);
  }
}

static int sign(int n) {
  return (n > 0) - (n < 0);
}

static void compare_agrees(void **state) {
  (void)state;
  uint8_t a[80], b[80];
  for (unsigned round = 0; round < 50000; round++) {
    size_t n = (size_t)rand() % 40, offset_a = (size_t)rand() % 9, offset_b = (size_t)rand() % 9;
    fill_random(a, sizeof(a));
    memcpy(b + offset_b, a + offset_a, 64);
    if (n && rand() % 4)
      b[offset_b + (size_t)rand() % n] = (uint8_t)rand();
    assert_int_equal(sign(lib_memcmp(a + offset_a, b + offset_b, n)), sign(memcmp(a + offset_a, b + offset_b, n)));
    int byte = rand() & 0xff;
    assert_ptr_equal(lib_memchr(a, byte, n), memchr(a, byte, n));
  }
}

static void strings_agree(void **state) {
  (void)state;
  for (unsigned round = 0; round < 50000; round++) {
    char a[24], b[24];
    for (unsigned i = 0; i < sizeof(a); i++) {
      a[i] = "ab\x80\xff"[rand() % 4];
      b[i] = rand() % 8 ? a[i] : 'a';
    }
    a[rand() % 24] = 0;
    a[23] = 0;
    b[rand() % 24] = 0;
    b[23] = 0;
    size_t n = (size_t)rand() % 26;
    assert_int_equal(lib_strlen(a), strlen(a));
    assert_int_equal(lib_strnlen(a, n), strnlen(a, n));
    assert_int_equal(sign(lib_strcmp(a, b)), sign(strcmp(a, b)));
    assert_int_equal(sign(lib_strncmp(a, b, n)), sign(strncmp(a, b, n)));
    for (const char *c = "ab\xff"; *c; c++) {
      assert_ptr_equal(lib_strchr(a, *c), strchr(a, *c));
      assert_ptr_equal(lib_strrchr(a, *c), strrchr(a, *c));
    }
    assert_ptr_equal(lib_strchr(a, 0), strchr(a, 0));
    assert_ptr_equal(lib_strrchr(a, 0), strrchr(a, 0));
  }
}

static void a_bounded_copy_terminates(void **state) {
  (void)state;
  char to[8];
  for (size_t cap = 0; cap <= 8; cap++) {
    memset(to, '#', sizeof(to));
    assert_int_equal(lib_strlcpy(to, "hello", cap), 5);
    if (cap == 0) {
      assert_int_equal(to[0], '#');
      continue;
    }
    assert_int_equal(strlen(to), cap > 5 ? 5 : cap - 1);
    assert_int_equal(strncmp(to, "hello", cap - 1), 0);
    if (cap > 5 && cap < 8)
      assert_int_equal(to[cap], '#');
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(copy_is_exact),
      cmocka_unit_test(move_allows_overlap),
      cmocka_unit_test(set_is_exact),
      cmocka_unit_test(no_byte_beyond_is_touched),
      cmocka_unit_test(compare_agrees),
      cmocka_unit_test(strings_agree),
      cmocka_unit_test(a_bounded_copy_terminates),
  };
  srand(1);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
