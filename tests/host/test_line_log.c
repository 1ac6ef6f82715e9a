/* SPDX-License-Identifier: BSD-2-Clause */
// sources: hyp/ctl/line_log.c

/* The log against a plain list of all lines: a reader gets each line that is still there, whole and in order, and as many as fit. */

#include "hyp/ctl/line_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINES 20000

static struct line_log line_log;
static struct {
  char text[LOG_LINE_MAX + 1];
  unsigned length, prefix;
} lines[LINES];
static unsigned count;

static void append(unsigned length) {
  for (unsigned i = 0; i < length; i++)
    lines[count].text[i] = (char)(' ' + rand() % 95);
  lines[count].length = length;
  lines[count].prefix = length ? (unsigned)rand() % length : 0;
  line_log_append(&line_log, lines[count].text, length, lines[count].prefix);
  count++;
}

static int setup(void **state) {
  (void)state;
  memset(&line_log, 0, sizeof line_log);
  count = 0;
  srand(3);
  return 0;
}

/* Read from `*at`; every line must be the one expected, the first being the `first`th ever written. */
static unsigned read_all(uint64_t *at, unsigned first) {
  struct log_line line;
  unsigned n = first;
  while (line_log_read(&line_log, at, &line)) {
    assert_true(n < count);
    assert_int_equal(line.length, lines[n].length);
    assert_int_equal(line.prefix, lines[n].prefix);
    assert_memory_equal(line.text, lines[n].text, line.length);
    assert_int_equal(line.text[line.length], 0);
    n++;
  }
  assert_int_equal(n, count);
  return n;
}

/* The oldest lines that still fit, two bytes of header each. */
static unsigned oldest(void) {
  unsigned bytes = 0, n = count;
  while (n > 0 && bytes + lines[n - 1].length + 2 <= LINE_LOG_BYTES)
    bytes += lines[--n].length + 2;
  return n;
}

static void test_as_many_as_fit(void **state) {
  (void)state;
  for (unsigned i = 0; i < 3000; i++) {
    append((unsigned)rand() % (LOG_LINE_MAX + 1));
    if (i % 50 == 0 || i > 2900) {
      uint64_t at = 0;
      read_all(&at, oldest());
    }
  }
}

static void test_a_reader_that_keeps_up(void **state) {
  (void)state;
  uint64_t at = 0;
  unsigned seen = 0;
  while (count < LINES - 100) {
    for (unsigned n = (unsigned)rand() % 100; n > 0; n--)
      append((unsigned)rand() % 200);
    seen = read_all(&at, seen);
  }
}

static void test_empty(void **state) {
  (void)state;
  struct log_line line;
  uint64_t at = 0;
  assert_false(line_log_read(&line_log, &at, &line));
  append(0);
  assert_int_equal(read_all(&at, 0), 1);
}

static void test_too_long_is_cut(void **state) {
  (void)state;
  struct log_line line;
  uint64_t at = 0;
  char text[1000];
  memset(text, 'x', sizeof text);
  line_log_append(&line_log, text, sizeof text, 0);
  assert_true(line_log_read(&line_log, &at, &line));
  assert_int_equal(line.length, LOG_LINE_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_as_many_as_fit, setup),
      cmocka_unit_test_setup(test_a_reader_that_keeps_up, setup),
      cmocka_unit_test_setup(test_empty, setup),
      cmocka_unit_test_setup(test_too_long_is_cut, setup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
