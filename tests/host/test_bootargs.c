/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's command line: who gets which word, quotes, and more words than there is room for. */
// sources: guest/kernel/bootargs.c
#include "guest/kernel/bootargs.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char line[512];

static void parse(const char *text) {
  memset(&bootargs, 0, sizeof bootargs);
  bootargs.poweroff = true;
  snprintf(line, sizeof line, "%s", text);
  bootargs_parse(line);
}

static void empty_lines(void **state) {
  (void)state;
  parse("");
  assert_int_equal(bootargs.argc + bootargs.envc, 0);
  parse("    ");
  assert_int_equal(bootargs.argc + bootargs.envc, 0);
  assert_null(bootargs.init);
  assert_true(bootargs.poweroff);
}

static void kernel_words(void **state) {
  (void)state;
  parse("trace init=/bin/bench quiet poweroff=off");
  assert_string_equal(bootargs.init, "/bin/bench");
  assert_true(bootargs.trace && bootargs.quiet);
  assert_false(bootargs.poweroff);
  assert_int_equal(bootargs.argc + bootargs.envc, 0);
  parse("tracer poweroff=on");
  assert_false(bootargs.trace);
  assert_true(bootargs.poweroff);
  assert_int_equal(bootargs.argc, 1);
}

static void periods(void **state) {
  (void)state;
  parse("compact=20 shuffle=3600001");
  assert_int_equal(bootargs.compact_ms, 20);
  assert_int_equal(bootargs.shuffle_ms, BOOTARG_MS_MAX);
  assert_int_equal(bootargs.argc + bootargs.envc, 0);
  parse("compact= shuffle=99999999999999999999");
  assert_int_equal(bootargs.compact_ms, 0);
  assert_int_equal(bootargs.shuffle_ms, BOOTARG_MS_MAX);
  parse("compact=5x shuffle=-1");
  assert_int_equal(bootargs.compact_ms + bootargs.shuffle_ms, 0);
}

static void words_for_init(void **state) {
  (void)state;
  parse("  run=a,b  single  trace -- trace x=y ");
  assert_true(bootargs.trace);
  assert_int_equal(bootargs.envc, 1);
  assert_string_equal(bootargs.envp[0], "run=a,b");
  assert_int_equal(bootargs.argc, 3);
  assert_string_equal(bootargs.argv[0], "single");
  assert_string_equal(bootargs.argv[1], "trace");
  assert_string_equal(bootargs.argv[2], "x=y");
}

static void quotes(void **state) {
  (void)state;
  parse("run=\"a b\" \"c d\"e -- \"open to the end");
  assert_string_equal(bootargs.envp[0], "run=a b");
  assert_string_equal(bootargs.argv[0], "c de");
  assert_string_equal(bootargs.argv[1], "open to the end");
}

static void too_many_words(void **state) {
  (void)state;
  parse("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 a=1 trace");
  assert_int_equal(bootargs.argc, INIT_ARGS_MAX);
  assert_string_equal(bootargs.argv[15], "16");
  assert_int_equal(bootargs.envc, 1);
  assert_true(bootargs.trace);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(empty_lines),    cmocka_unit_test(kernel_words), cmocka_unit_test(periods),
      cmocka_unit_test(words_for_init), cmocka_unit_test(quotes),       cmocka_unit_test(too_many_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
