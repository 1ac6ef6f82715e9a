/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * format() against the build machine's snprintf: all conversions under all flags, widths, precisions and lengths, on values at
 * the edges of their types; truncation at every capacity; what it does with a conversion it does not know. parse_u64() by cases.
 */
// sources: mm/lib/format.c
// cflags: -Wno-format -Wno-format-security -Wno-format-nonliteral -Wno-format-zero-length -Wno-format-truncation
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/format.h"

enum {
  ROOM = 200
};

#define same(...)                                                                                                                          \
  do {                                                                                                                                     \
    char got_[ROOM], want_[ROOM];                                                                                                          \
    int g_ = format(got_, ROOM, __VA_ARGS__), w_ = snprintf(want_, ROOM, __VA_ARGS__);                                                     \
    assert_string_equal(got_, want_);                                                                                                      \
    assert_int_equal(g_, w_);                                                                                                              \
  } while (0)

/* All subsets of the flags, in one order. */
static const char *flags_of(unsigned set, char out[6]) {
  unsigned n = 0;
  for (unsigned i = 0; i < 5; i++) {
    if (set >> i & 1)
      out[n++] = "-0#+ "[i];
  }
  out[n] = 0;
  return out;
}

static const char *const widths[] = {"", "1", "7", "25"};
static const char *const precisions[] = {"", ".", ".0", ".1", ".5", ".22"};

static void try_number(const char *spec, const char *length, uint64_t value) {
  switch (length[0] == 'l' || length[0] == 'j' || length[0] == 'z' || length[0] == 't') {
  case 0:
    same(spec, (int)value);
    break;
  default:
    same(spec, value);
  }
}

static void numbers_agree(void **state) {
  (void)state;
  static const uint64_t values[] = {0,         1, 7, 8, 10, 255, 65535, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, (uint64_t)INT64_MIN,
                                    UINT64_MAX};
  static const char *const lengths[] = {"", "hh", "h", "l", "ll", "j", "z", "t"};
  for (unsigned flags = 0; flags < 32; flags++) {
    for (unsigned w = 0; w < 4; w++) {
      for (unsigned p = 0; p < 6; p++) {
        for (unsigned l = 0; l < 8; l++) {
          for (const char *c = "diuxXo"; *c; c++) {
            char spec[32], f[6];
            snprintf(spec, sizeof(spec), "<%%%s%s%s%s%c>", flags_of(flags, f), widths[w], precisions[p], lengths[l], *c);
            for (unsigned v = 0; v < sizeof(values) / sizeof(values[0]); v++)
              try_number(spec, lengths[l], values[v]);
          }
        }
      }
    }
  }
}

static void text_agrees(void **state) {
  (void)state;
  for (unsigned left = 0; left < 2; left++) {
    for (unsigned w = 0; w < 4; w++) {
      for (unsigned p = 0; p < 6; p++) {
        char spec[32];
        snprintf(spec, sizeof(spec), "<%%%s%s%ss>", left ? "-" : "", widths[w], precisions[p]);
        same(spec, "");
        same(spec, "a");
        same(spec, "hello, world");
      }
      char spec[32];
      snprintf(spec, sizeof(spec), "<%%%s%sc>", left ? "-" : "", widths[w]);
      same(spec, 'x');
      snprintf(spec, sizeof(spec), "<%%%s%sp>", left ? "-" : "", widths[w]);
      same(spec, (void *)0x1234abcd);
      same(spec, (void *)0);
    }
  }
  same("%s", (char *)0);
  same("100%% of %d", 5);
}

static void stars_agree(void **state) {
  (void)state;
  for (int width = -12; width <= 12; width++) {
    for (int precision = -3; precision <= 8; precision++) {
      same("<%*.*d>", width, precision, 1234);
      same("<%0*.*x>", width, precision, 0xbeef);
      same("<%*.*s>", width, precision, "string");
    }
  }
  char unterminated[3] = {'a', 'b', 'c'};
  same("%.3s", unterminated);
}

static void arguments_stay_in_step(void **state) {
  (void)state;
  same("%d %s %llx %c %hhu %p %ld %%", -1, "two", 0x3333333333333333ull, '4', 0x105, (void *)6, -7L);
  same("%i%i%i%i%i%i%i%i%i%i%i%i", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
}

static void truncation_is_exact(void **state) {
  (void)state;
  for (size_t cap = 0; cap < 24; cap++) {
    char got[32], want[32];
    memset(got, '#', sizeof(got));
    memset(want, '#', sizeof(want));
    assert_int_equal(format(got, cap, "%s-%05d-%x", "abc", 42, 0xfeed), snprintf(want, cap, "%s-%05d-%x", "abc", 42, 0xfeed));
    assert_memory_equal(got, want, sizeof(got));
  }
  assert_int_equal(format(NULL, 0, "%d", 12345), 5);
}

static void the_unknown_is_copied(void **state) {
  (void)state;
  char got[64];
  assert_int_equal(format(got, sizeof(got), "a%5yb%d", 3), 6);
  assert_string_equal(got, "a%5yb3");
  format(got, sizeof(got), "50%");
  assert_string_equal(got, "50%");
  format(got, sizeof(got), "%-08.3l");
  assert_string_equal(got, "%-08.3l");
}

static void numbers_are_parsed(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t value;
  } good[] = {
      {"0", 0},
      {"1", 1},
      {"007", 7},
      {"0x10", 16},
      {"0XfF", 255},
      {"18446744073709551615", UINT64_MAX},
      {"4K", 4096},
      {"3m", 3 << 20},
      {"2G", 2ull << 30},
      {"0x2k", 2048},
      {"17179869183G", 17179869183ull << 30},
      {"0xffffffffffffffff", UINT64_MAX},
      {"0K", 0},
  };
  static const char *const bad[] = {"",
                                    " 1",
                                    "1 ",
                                    "-1",
                                    "+1",
                                    "0x",
                                    "x",
                                    "K",
                                    "1KB",
                                    "1T",
                                    "18446744073709551616",
                                    "99999999999999999999",
                                    "0x10000000000000000",
                                    "17179869184G",
                                    "18446744073709551615K",
                                    "1.5",
                                    "0xg",
                                    "12a"};
  for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
    uint64_t value = 99;
    assert_true(parse_u64(good[i].text, &value));
    assert_int_equal(value, good[i].value);
  }
  for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    uint64_t value = 99;
    assert_false(parse_u64(bad[i], &value));
    assert_int_equal(value, 99);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_agree),          cmocka_unit_test(text_agrees),         cmocka_unit_test(stars_agree),
      cmocka_unit_test(arguments_stay_in_step), cmocka_unit_test(truncation_is_exact), cmocka_unit_test(the_unknown_is_copied),
      cmocka_unit_test(numbers_are_parsed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
