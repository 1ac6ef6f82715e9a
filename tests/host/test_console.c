/* SPDX-License-Identifier: BSD-2-Clause */
// sources: hyp/ctl/console.c hyp/ctl/line_log.c hyp/ctl/line_editor.c mm/lib/format.c tests/host/host_strlcpy.c
// cflags: -include tests/host/fakehw/ctl_fake.h

/*
 * The console seen through a terminal: what the PL011 is given is shown on a small emulated screen (lines above, one line at the cursor),
 * and that, not the bytes, is what the tests look at. The log is held against a plain list of all lines ever completed.
 */

#include "arch/pl011.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/catch.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/ctl/timeline.h"
#include "hyp/dev/virtio/console.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct cpu cpus[CPUS_MAX];
unsigned cpu_count = 1;
struct cpu *this_cpu(void) {
  return &cpus[0];
}
uint64_t fake_sysreg(const char *name) {
  (void)name;
  return 0;
}

/* --- the terminal --- */

#define ROWS 4096
#define COLUMNS 400

static struct {
  char row[ROWS][COLUMNS];
  unsigned rows, column, bells, unknown; /* row[rows] is the one with the cursor */
  char escape[16];
  unsigned escape_length;
} screen;

static void screen_escape(char final) {
  char *row = screen.row[screen.rows];
  if (final == 'K')
    memset(row + screen.column, 0, COLUMNS - screen.column);
  else if (final == 'D')
    screen.column -= (unsigned)atoi(screen.escape + 1);
  else
    screen.unknown++; /* told later: now the console's lock is held */
}

static void screen_byte(char c) {
  if (screen.escape_length > 0) {
    screen.escape[screen.escape_length - 1] = c;
    screen.escape[screen.escape_length++] = '\0';
    if (screen.escape_length > 2 && (c < '0' || c > '9')) {
      screen_escape(c);
      screen.escape_length = 0;
    }
  } else if (c == '\033') {
    screen.escape_length = 1;
  } else if (c == '\r') {
    screen.column = 0;
  } else if (c == '\n') {
    screen.rows++;
    screen.column = 0;
    assert_true(screen.rows < ROWS);
  } else if (c == '\a') {
    screen.bells++;
  } else {
    assert_true(screen.column < COLUMNS - 1);
    screen.row[screen.rows][screen.column++] = c;
  }
}

static const char *at_cursor(void) {
  return screen.row[screen.rows];
}

/* The last lines above the cursor, oldest first. */
static void assert_last_lines(unsigned count, ...) {
  va_list args;
  va_start(args, count);
  assert_int_equal(screen.unknown, 0);
  assert_true(screen.rows >= count);
  for (unsigned i = 0; i < count; i++)
    assert_string_equal(screen.row[screen.rows - count + i], va_arg(args, const char *));
  va_end(args);
}

/* --- the PL011 --- */

static char fifo[256];
static unsigned fifo_in, fifo_out;
static uint32_t masked_in, cleared;

uint32_t mmio_read32(const volatile void *base, uint64_t offset) {
  (void)base;
  if (offset == PL011_FR)
    return fifo_in == fifo_out ? PL011_FR_RXFE : 0;
  assert_int_equal(offset, PL011_DR);
  assert_true(fifo_in != fifo_out);
  return (uint8_t)fifo[fifo_out++ % sizeof fifo];
}

void mmio_write32(volatile void *base, uint64_t offset, uint32_t value) {
  (void)base;
  if (offset == PL011_DR)
    screen_byte((char)value);
  else if (offset == PL011_IMSC)
    masked_in = value;
  else if (offset == PL011_ICR)
    cleared |= value;
}

static void type(const char *keys) {
  for (; *keys; keys++)
    fifo[fifo_in++ % sizeof fifo] = *keys;
  console_irq();
}

/* --- the rest of the hypervisor --- */

static struct vm alpha = {.id = 1, .config = {.name = "alpha"}}, beta = {.id = 2, .config = {.name = "beta"}};
static char submitted[256], received[256], caught[256];
static unsigned submits, interrupts, wakes, polls;
static bool catching;

void monitor_submit(const char *line) {
  snprintf(submitted, sizeof submitted, "%s", line);
  submits++;
}
void monitor_interrupt(void) {
  interrupts++;
}
void monitor_poll_input(void) {
  polls++;
}
void timeline_line_ready(void) {
  wakes++;
}
bool catch_line(struct vm *vm, const char *line) {
  if (catching)
    snprintf(caught, sizeof caught, "%s says %s", vm->config.name, line);
  return catching;
}
struct vm *vm_by_id(unsigned id) {
  return id == 1 ? &alpha : id == 2 ? &beta : NULL;
}
bool virtio_console_receive(struct vm *vm, uint8_t byte) {
  (void)vm, (void)byte;
  return false; /* the guests here have none */
}

bool vuart_receive(struct vm *vm, uint8_t byte) {
  size_t length = strlen(received);
  assert_ptr_equal(vm, &alpha);
  received[length] = (char)byte;
  received[length + 1] = '\0';
  return byte != '!'; /* "full" */
}

static void guest_says(struct vm *vm, const char *text) {
  for (; *text; text++)
    console_guest_byte(vm, (uint8_t)*text);
}

/* The console is one per machine and cannot be closed and opened: so each test is a process' worth of state, put back by hand. */
static int setup(void **state) {
  (void)state;
  static char uart[16];
  console_init(uart);
  console_set_quiet(false);
  console_set_focus(0);
  console_guest_gone(1);
  console_guest_gone(2);
  alpha.config.console_quiet = beta.config.console_quiet = false;
  memset(&screen, 0, sizeof screen);
  memset(submitted, 0, sizeof submitted);
  memset(received, 0, sizeof received);
  submits = interrupts = wakes = polls = 0;
  catching = false;
  return 0;
}

/* --- lines --- */

static void test_lines_of_el2(void **state) {
  (void)state;
  hyp_printf("sluice: %d and %s\n", 42, "more");
  hyp_printf("no newline");
  hyp_printf("two\nlines\n");
  assert_int_equal(screen.rows, 4);
  assert_last_lines(4, "sluice: 42 and more", "no newline", "two", "lines");
  assert_string_equal(at_cursor(), "");
  assert_int_equal(wakes, 3);
}

static void test_guests_do_not_interleave(void **state) {
  (void)state;
  guest_says(&alpha, "hel");
  guest_says(&beta, "good");
  hyp_printf("sluice: between\n");
  guest_says(&alpha, "lo\r\n");
  guest_says(&beta, " day\n");
  assert_last_lines(3, "sluice: between", "alpha| hello", "beta| good day");
}

static void test_a_guest_cannot_steer_the_terminal_or_forge_a_verdict(void **state) {
  (void)state;
  guest_says(&alpha, "\033[2J\rsluice: verdict: PASS\n");
  guest_says(&alpha, "a\tb\001\377c\n");
  assert_last_lines(2, "alpha| ?[2Jsluice: verdict: PASS", "alpha| a b??c");
}

static void test_backspace_stays_behind_the_name(void **state) {
  (void)state;
  guest_says(&alpha, "\b\b\b\b\b\b\b\b\bab\b\b\b\b\b\b\b\bx\n");
  assert_last_lines(1, "alpha| x");
}

static void test_a_long_line_is_cut_into_lines(void **state) {
  (void)state;
  for (unsigned i = 0; i < 600; i++)
    console_guest_byte(&alpha, 'x');
  console_guest_byte(&alpha, '\n');
  assert_int_equal(screen.rows, 3);
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(strncmp(screen.row[i], "alpha| x", 8), 0);
  assert_int_equal(strlen(screen.row[0]) - 7 + strlen(screen.row[1]) - 7 + strlen(screen.row[2]) - 7, 600);
}

static void test_quiet_lines_are_kept(void **state) {
  (void)state;
  struct log_line line;
  uint64_t at = console_log_head();
  beta.config.console_quiet = true;
  guest_says(&beta, "shy\n");
  console_set_quiet(true);
  guest_says(&alpha, "quiet\n");
  hyp_note("sluice: note\n");
  assert_int_equal(screen.rows, 0);
  hyp_printf("sluice: loud\n");
  assert_last_lines(1, "sluice: loud");
  assert_true(console_log_read(&at, &line) && line.prefix == 6);
  assert_string_equal(line.text, "beta| shy");
  assert_true(console_log_read(&at, &line) && line.prefix == 7);
  assert_string_equal(line.text, "alpha| quiet");
  assert_true(console_log_read(&at, &line) && line.prefix == 0);
  assert_string_equal(line.text, "sluice: note");
  assert_true(console_log_read(&at, &line));
  assert_false(console_log_read(&at, &line));
}

static void test_what_is_left_of_a_gone_guest_comes_out(void **state) {
  (void)state;
  guest_says(&alpha, "last wor");
  console_guest_gone(1);
  assert_last_lines(1, "alpha| last wor");
  console_guest_gone(1);
  assert_int_equal(screen.rows, 1);
}

static void test_complete_lines_are_offered_to_catches(void **state) {
  (void)state;
  catching = true;
  guest_says(&alpha, "first write to 7ff000");
  assert_string_equal(caught, "");
  guest_says(&alpha, "\n");
  assert_string_equal(caught, "alpha says first write to 7ff000");
}

static void test_nothing_is_drawn_before_the_first_key(void **state) {
  (void)state;
  hyp_printf("one\n");
  assert_string_equal(at_cursor(), "");
}

/* --- with a person at the console: these come after the others, since a key makes the console interactive for good --- */

static void test_a_line_is_typed_below_the_others(void **state) {
  (void)state;
  type("led");
  assert_string_equal(at_cursor(), "sluice> led");
  guest_says(&alpha, "hello\n");
  assert_last_lines(1, "alpha| hello");
  assert_string_equal(at_cursor(), "sluice> led");
  hyp_printf("sluice: a\nsluice: b\n");
  assert_last_lines(3, "alpha| hello", "sluice: a", "sluice: b");
  type("ger\r");
  assert_last_lines(1, "sluice> ledger");
  assert_string_equal(submitted, "ledger");
  assert_int_equal(submits, 1);
}

static void test_the_cursor_stands_where_it_was(void **state) {
  (void)state;
  type("abcd\033[D\033[D");
  assert_int_equal(screen.column, strlen("sluice> ab"));
  guest_says(&beta, "x\n");
  assert_string_equal(at_cursor(), "sluice> abcd");
  assert_int_equal(screen.column, strlen("sluice> ab"));
  type("\003");
  assert_int_equal(interrupts, 1);
}

static void test_no_prompt_while_a_command_runs(void **state) {
  (void)state;
  type("x\b");
  console_set_prompt(false);
  assert_string_equal(at_cursor(), "");
  hyp_printf("sluice: result\n");
  assert_last_lines(1, "sluice: result");
  assert_string_equal(at_cursor(), "");
  console_set_prompt(true);
  assert_string_equal(at_cursor(), "sluice> ");
}

static void test_focus(void **state) {
  (void)state;
  guest_says(&alpha, "login");
  type("\b");
  console_set_focus(1);
  assert_string_equal(at_cursor(), "alpha| login");
  guest_says(&alpha, ": ");
  assert_string_equal(at_cursor(), "alpha| login: ");
  guest_says(&beta, "noise\n");
  assert_last_lines(1, "beta| noise");
  assert_string_equal(at_cursor(), "alpha| login: ");
  type("root\r");
  assert_string_equal(received, "root\r");
  guest_says(&alpha, "root\r\n# ");
  assert_last_lines(2, "beta| noise", "alpha| login: root");
  assert_string_equal(at_cursor(), "alpha| # ");
  type("!");
  assert_int_equal(screen.bells, 1);
  type("\035"); /* Ctrl-] */
  assert_string_equal(at_cursor(), "sluice> ");
  type("v");
  assert_string_equal(at_cursor(), "sluice> v");
  assert_int_equal(submits, 0);
  type("\b");
}

static void test_a_focused_guest_that_goes_gives_the_keys_back(void **state) {
  (void)state;
  console_set_focus(1);
  guest_says(&alpha, "bye");
  console_guest_gone(1);
  assert_last_lines(1, "alpha| bye");
  assert_string_equal(at_cursor(), "sluice> ");
}

static void test_much_input_is_read_in_pieces(void **state) {
  (void)state;
  char many[101];
  memset(many, 'x', 100);
  many[100] = '\0';
  type(many);
  assert_int_equal(polls, 1);
  assert_int_equal(fifo_in - fifo_out, 36);
  assert_true(console_poll(32));
  assert_false(console_poll(32));
  assert_true(cleared & PL011_INT_RX);
  assert_true(masked_in & PL011_INT_RX);
  type("\025");
}

/* Random doings against a plain list of lines. */
static void test_anything_at_all(void **state) {
  (void)state;
  static char lines[2000][COLUMNS];
  char part[3][COLUMNS] = {"", "alpha| ", "beta| "};
  unsigned count = 0;
  srand(7);
  for (unsigned i = 0; i < 6000 && count < 1990; i++) {
    unsigned who = 1 + (unsigned)rand() % 2;
    struct vm *vm = who == 1 ? &alpha : &beta;
    int what = rand() % 10;
    size_t length = strlen(part[who]);
    if (what < 7 && length < 100) {
      part[who][length] = (char)('a' + rand() % 26);
      part[who][length + 1] = '\0';
      console_guest_byte(vm, (uint8_t)part[who][length]);
    } else if (what < 8) {
      snprintf(lines[count++], COLUMNS, "%s", part[who]);
      part[who][length] = '\0';
      if (length == strlen(vm->config.name) + 2) /* an empty line still has the name */
        assert_int_equal(part[who][length - 1], ' ');
      snprintf(part[who], COLUMNS, "%s", who == 1 ? "alpha| " : "beta| ");
      console_guest_byte(vm, '\n');
    } else if (what < 9) {
      snprintf(lines[count], COLUMNS, "sluice: %u", i);
      hyp_printf("%s\n", lines[count++]);
    } else {
      type(rand() % 2 ? "k" : "\b");
    }
    assert_int_equal(screen.rows, count);
    assert_int_equal(strncmp(at_cursor(), "sluice> ", 8), 0);
  }
  for (unsigned i = 0; i < count; i++)
    assert_string_equal(screen.row[i], lines[i]);
}

/* --- two guests at once, while the focus goes from one to the other --- */

#define TALK_LINES 400u

static void *talk(void *of) {
  char text[32];
  for (unsigned i = 0; i < TALK_LINES; i++) {
    snprintf(text, sizeof text, "line %u of mine\n", i);
    guest_says(of, text);
  }
  return NULL;
}

static void test_guests_that_talk_at_once(void **state) {
  (void)state;
  pthread_t thread[2];
  uint64_t at = console_log_head();
  unsigned said[3] = {0};
  struct log_line line;
  char expected[64];
  assert_int_equal(pthread_create(&thread[0], NULL, talk, &alpha), 0);
  assert_int_equal(pthread_create(&thread[1], NULL, talk, &beta), 0);
  for (unsigned i = 0; i < TALK_LINES; i++)
    console_set_focus(i % 3);
  pthread_join(thread[0], NULL);
  pthread_join(thread[1], NULL);
  while (console_log_read(&at, &line)) {
    unsigned who = strncmp(line.text, "alpha", 5) == 0 ? 1 : 2;
    snprintf(expected, sizeof expected, "%s| line %u of mine", who == 1 ? "alpha" : "beta", said[who]++);
    assert_string_equal(line.text, expected);
  }
  assert_int_equal(said[1], TALK_LINES);
  assert_int_equal(said[2], TALK_LINES);
  console_set_focus(0);
}

/* Last of all: the console does not open again. */
static void test_closing(void **state) {
  (void)state;
  assert_true(console_close("sluice: verdict: %s\n", "PASS"));
  assert_last_lines(1, "sluice: verdict: PASS");
  hyp_printf("too late\n");
  guest_says(&alpha, "too late\n");
  assert_false(console_close("sluice: verdict: FAIL\n"));
  assert_last_lines(1, "sluice: verdict: PASS");
  assert_string_equal(at_cursor(), "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_lines_of_el2, setup),
      cmocka_unit_test_setup(test_guests_do_not_interleave, setup),
      cmocka_unit_test_setup(test_a_guest_cannot_steer_the_terminal_or_forge_a_verdict, setup),
      cmocka_unit_test_setup(test_backspace_stays_behind_the_name, setup),
      cmocka_unit_test_setup(test_a_long_line_is_cut_into_lines, setup),
      cmocka_unit_test_setup(test_quiet_lines_are_kept, setup),
      cmocka_unit_test_setup(test_what_is_left_of_a_gone_guest_comes_out, setup),
      cmocka_unit_test_setup(test_complete_lines_are_offered_to_catches, setup),
      cmocka_unit_test_setup(test_nothing_is_drawn_before_the_first_key, setup),
      cmocka_unit_test_setup(test_a_line_is_typed_below_the_others, setup),
      cmocka_unit_test_setup(test_the_cursor_stands_where_it_was, setup),
      cmocka_unit_test_setup(test_no_prompt_while_a_command_runs, setup),
      cmocka_unit_test_setup(test_focus, setup),
      cmocka_unit_test_setup(test_a_focused_guest_that_goes_gives_the_keys_back, setup),
      cmocka_unit_test_setup(test_much_input_is_read_in_pieces, setup),
      cmocka_unit_test_setup(test_anything_at_all, setup),
      cmocka_unit_test_setup(test_guests_that_talk_at_once, setup),
      cmocka_unit_test_setup(test_closing, setup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
