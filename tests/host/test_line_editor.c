/* SPDX-License-Identifier: BSD-2-Clause */
// sources: hyp/ctl/line_editor.c tests/host/host_strlcpy.c

/* Keys into the line editor, what comes out; then any bytes at all, with the invariants that line_editor.h states. */

#include "hyp/ctl/line_editor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct line_editor editor;

static int setup(void **state) {
  (void)state;
  memset(&editor, 0, sizeof editor);
  return 0;
}

static enum editor_event type(const char *keys) {
  enum editor_event last = EDITOR_NONE;
  for (; *keys; keys++) {
    last = editor_key(&editor, (uint8_t)*keys);
    if (last == EDITOR_LINE && keys[1])
      editor_reset(&editor);
  }
  return last;
}

#define UP "\033[A"
#define DOWN "\033[B"
#define RIGHT "\033[C"
#define LEFT "\033[D"

static void test_keys(void **state) {
  static const struct {
    const char *keys, *line;
  } cases[] = {
      {"vms", "vms"},
      {"vmss\b", "vms"},
      {"vmss\177", "vms"},
      {"\b\177" LEFT "a", "a"},
      {"vs" LEFT "m", "vms"},
      {"ms\001v", "vms"},
      {"ms" LEFT LEFT LEFT "v\005!", "vms!"},
      {"abc" LEFT LEFT RIGHT "x" RIGHT RIGHT "y", "abxcy"},
      {"one two  \027three", "one three"},
      {"one two\001\006\006\013", "on"},
      {"one two\002\002\025", "wo"},
      {"abc\001\004", "bc"},
      {"abc\001\033[3~", "bc"},
      {"abc\033[H1\033[F2\033OH3\033OF4", "31abc24"},
      {"abc\033[1~x\033[4~y", "xabcy"},
      {"a\033[99;5zb\033Oqc\033xd", "abcd"},
      {"a\tb\007c", "abc"},
      {"\377\200caf\303\251", "caf"},
      {"abc\003xyz", "xyz"},
      {"vms\rledger\r" UP, "ledger"},
      {"vms\rledger\r" UP UP, "vms"},
      {"vms\rledger\r" UP UP UP UP, "vms"},
      {"vms\rledger\rdraft" UP UP DOWN, "ledger"},
      {"vms\rledger\rdraft" UP UP DOWN DOWN DOWN, "draft"},
      {"vms\rvms\rvms\r" UP UP, "vms"},
      {"vms\r\r\r" UP, "vms"},
      {"vms\r" UP "x\r" UP UP, "vms"},
      {"a\rb\020\020c\016", "b"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    setup(state);
    type(cases[i].keys);
    assert_string_equal(editor.text, cases[i].line);
  }
}

static void test_events(void **state) {
  (void)state;
  assert_int_equal(type("a"), EDITOR_CHANGED);
  assert_int_equal(type("\033"), EDITOR_NONE);
  assert_int_equal(type("[D"), EDITOR_CHANGED);
  assert_int_equal(type(LEFT), EDITOR_NONE); /* at the left edge already */
  assert_int_equal(type("\r"), EDITOR_LINE);
  assert_string_equal(editor.text, "a");
  editor_reset(&editor);
  assert_int_equal(type("\n"), EDITOR_NONE); /* the other half of CR LF */
  assert_int_equal(type("\n"), EDITOR_LINE);
  editor_reset(&editor);
  assert_int_equal(type("abc\003"), EDITOR_INTERRUPT);
  assert_string_equal(editor.text, "");
}

static void test_length_is_bounded(void **state) {
  (void)state;
  for (unsigned i = 0; i < EDITOR_LINE_MAX + 50; i++)
    editor_key(&editor, 'x');
  assert_int_equal(editor.length, EDITOR_LINE_MAX);
  assert_int_equal(strlen(editor.text), EDITOR_LINE_MAX);
}

static void test_history_keeps_the_last(void **state) {
  (void)state;
  char line[3] = "a\r";
  for (unsigned i = 0; i < EDITOR_HISTORY + 4; i++) {
    line[0] = (char)('a' + i);
    type(line);
    editor_reset(&editor);
  }
  for (unsigned i = 0; i < EDITOR_HISTORY + 4; i++)
    type(UP);
  line[0] = 'a' + 4; /* the oldest that is left */
  line[1] = '\0';
  assert_string_equal(editor.text, line);
}

static void test_any_bytes(void **state) {
  (void)state;
  static const char likely[] = "ab \r\n\b\177\033[ABCDHF3~O\001\002\003\004\005\006\013\025\027";
  srand(1);
  for (unsigned i = 0; i < 300000; i++) {
    uint8_t byte = rand() % 4 ? (uint8_t)likely[(unsigned)rand() % (sizeof likely - 1)] : (uint8_t)rand();
    if (editor_key(&editor, byte) == EDITOR_LINE)
      editor_reset(&editor);
    assert_true(editor.cursor <= editor.length && editor.length <= EDITOR_LINE_MAX);
    assert_int_equal(strlen(editor.text), editor.length);
    for (unsigned c = 0; c < editor.length; c++)
      assert_true(editor.text[c] >= ' ' && editor.text[c] <= '~');
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_keys, setup),
      cmocka_unit_test_setup(test_events, setup),
      cmocka_unit_test_setup(test_length_is_bounded, setup),
      cmocka_unit_test_setup(test_history_keeps_the_last, setup),
      cmocka_unit_test_setup(test_any_bytes, setup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
