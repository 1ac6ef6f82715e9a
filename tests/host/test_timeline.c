/* SPDX-License-Identifier: BSD-2-Clause */
// sources: hyp/ctl/timeline.c hyp/ctl/session.c hyp/ctl/expect.c hyp/ctl/line_log.c
// sources: hyp/ctl/scenario.c hyp/ctl/scenario_rules.c hyp/ctl/scenario_check.c hyp/ctl/scenario_words.c hyp/ctl/scenario_managed.c
// sources: hyp/mem/policy_kit.c hyp/mem/policy_none.c hyp/mem/policy_proportional.c hyp/mem/policy_wss.c
// sources: mm/lib/format.c tests/host/host_strlcpy.c tests/host/scenario_blob.c
// cflags: -include tests/host/fakehw/ctl_fake.h
// libs: -lfdt

/*
 * Timelines against a clock that the test turns and lines that the test writes: what verdict they come to, when, and for which reason. The
 * work queue is played by the test: it runs the one step of work when it is due, so that a lost wake-up shows as a run that stands still.
 */

#include "core/format.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/catch.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/ctl/sample.h"
#include "hyp/ctl/timeline.h"
#include "scenario_blob.h"

#include <libfdt.h>
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

/* --- clock and work; a tick is a microsecond --- */

static uint64_t now;
static uint64_t marked_at; /* when a step was last marked for plots */
static char marks[256];    /* names of those that were, a blank behind each */
void sample_mark(enum trace_mark what, const char *name) {
  assert_int_equal(what, TRACE_MARK_STEP);
  strcat(strcat(marks, name), " ");
  marked_at = now;
}

static struct work *timeline_work;
static bool woken;

uint64_t time_now(void) {
  return now;
}
uint64_t time_from_ms(uint64_t ms) {
  return ms * 1000;
}
uint64_t time_to_us(uint64_t ticks) {
  return ticks;
}
void work_wake(struct work *w) {
  timeline_work = w;
  woken = true;
}

/* --- console --- */

static struct line_log lines;
static char said[4096];

static void append(char *to, size_t cap, const char *text, const char *end_mark) {
  size_t length = strlen(to);
  snprintf(to + length, cap - length, "%s%s", text, end_mark);
}

static void write_line(const char *prefix, const char *text) {
  char line[256];
  snprintf(line, sizeof line, "%s%s", prefix, text);
  line_log_append(&lines, line, (unsigned)strlen(line), (unsigned)strlen(prefix));
  timeline_line_ready();
}

void hyp_printf(const char *fmt, ...) {
  char text[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  text[strcspn(text, "\n")] = '\0';
  append(said, sizeof said, text, ";");
  write_line("", text);
}
void hyp_note(const char *fmt, ...) {
  (void)fmt;
}
uint64_t console_log_head(void) {
  return lines.head;
}
bool console_log_read(uint64_t *at, struct log_line *out) {
  return line_log_read(&lines, at, out);
}

/* --- VMs --- */

static struct vm alpha = {.id = 1, .config = {.name = "alpha"}}, beta = {.id = 2, .config = {.name = "beta"}};
static bool alpha_exists;

struct vm *vm_by_name(const char *name) {
  return strcmp(name, "alpha") == 0 ? (alpha_exists ? &alpha : NULL) : strcmp(name, "beta") == 0 ? &beta : NULL;
}
const char *catch_variable(const char *name) {
  return strcmp(name, "page") == 0 ? "0x7ff000" : NULL;
}

/* --- commands --- */

static char ran[512];
static unsigned busy_steps;

static void note_run(struct session *s) {
  for (unsigned i = 0; i < s->argc; i++)
    append(ran, sizeof ran, s->argv[i], i + 1 < s->argc ? " " : ";");
}

static enum work_result cmd_say(struct session *s) {
  note_run(s);
  hyp_printf("%s", s->argv[1]);
  return WORK_DONE;
}
static enum work_result cmd_fail(struct session *s) {
  return session_fail_done(s, "because of %s", s->argv[1]);
}
static enum work_result cmd_busy(struct session *s) {
  if (s->state[0]++ == 0)
    note_run(s);
  busy_steps++;
  return s->state[0] < 5 ? WORK_MORE : WORK_DONE;
}
static enum work_result cmd_sleep(struct session *s) {
  uint64_t ms;
  if (s->phase++ == 0) {
    note_run(s);
    if (!session_number(s, 1, &ms))
      return WORK_DONE;
    s->deadline = now + time_from_ms(ms);
  }
  s->wake_at = s->deadline;
  return now >= s->deadline ? WORK_DONE : WORK_WAIT;
}

static unsigned given_back;
static enum work_result cmd_hold(struct session *s) {
  s->holds = true;
  given_back += s->stopping;
  s->wake_at = now + time_from_ms(1);
  return s->stopping ? WORK_DONE : WORK_WAIT;
}

const struct command monitor_talk_commands[] = {{"say", "TEXT", "", cmd_say, 1, 1}, {"fail", "WHY", "", cmd_fail, 1, 1}, {0}};
const struct command monitor_vm_commands[] = {{"busy", "", "", cmd_busy, 0, 0}, {0}};
const struct command monitor_memory_commands[] = {{"sleep", "MS", "", cmd_sleep, 1, 1}, {0}};
const struct command monitor_mm_commands[] = {{0}};
const struct command monitor_compact_commands[] = {{"hold", "", "", cmd_hold, 0, 0}, {0}};
const struct command monitor_verify_commands[] = {{0}};
const struct command monitor_machine_commands[] = {{0}};
const struct command monitor_background_commands[] = {{0}};
const struct command monitor_managed_commands[] = {{0}};
const struct command monitor_policy_commands[] = {{0}};
const struct command monitor_balloon_commands[] = {{0}};
const struct command monitor_virtio_commands[] = {{0}};
const struct command monitor_handover_commands[] = {{0}};
const struct command monitor_fragment_commands[] = {{0}};

/* --- the end of the machine --- */

static jmp_buf end;
static char verdict[256];

void ctl_finish(int status) {
  snprintf(verdict, sizeof verdict, "PASS%s", status ? "?" : "");
  longjmp(end, 1);
}
void ctl_fail(const char *fmt, ...) {
  char reason[200];
  va_list args;
  va_start(args, fmt);
  vsnprintf(reason, sizeof reason, fmt, args);
  va_end(args);
  snprintf(verdict, sizeof verdict, "FAIL (%s)", reason);
  longjmp(end, 1);
}

/* --- driving --- */

static _Alignas(8) uint8_t blob[BLOB_BYTES];

static void (*at_ms[100])(void); /* what happens when */

static void step_once(void) {
  woken = false;
  uint64_t budget = 0;
  while (timeline_work) {
    enum work_result result = timeline_work->step(timeline_work);
    assert_true(++budget < 10000); /* else it spins */
    if (result == WORK_DONE)
      timeline_work = NULL;
    if (result != WORK_MORE)
      return;
  }
}

/* Run `ms` milliseconds of events; the work runs when it is woken or due. */
static void run(unsigned ms) {
  if (setjmp(end) != 0)
    return;
  for (; now <= ms * 1000ull; now += 1000) {
    unsigned t = (unsigned)(now / 1000);
    if (t < 100 && at_ms[t])
      at_ms[t]();
    if (timeline_work && (woken || timeline_work->wake_at <= now))
      step_once();
  }
}

static void begin(bool interactive) {
  char error[SCENARIO_ERROR_MAX];
  struct scenario *s;
  if (scenario_parse(blob, BLOB_BYTES, 1ull << 30, 4, &s, error) != ERR_OK)
    fail_msg("%s", error);
  timeline_start(s, interactive);
}

static int setup(void **state) {
  (void)state;
  blob_make_good(blob);
  fdt_del_node(blob, fdt_path_offset(blob, "/timeline"));
  memset(&lines, 0, sizeof lines);
  memset(at_ms, 0, sizeof at_ms);
  said[0] = ran[0] = verdict[0] = marks[0] = '\0';
  now = 0;
  busy_steps = 0;
  timeline_work = NULL;
  woken = false;
  alpha_exists = true;
  alpha.verdict = beta.verdict = VERDICT_NONE;
  alpha.state = beta.state = VM_RUNNING;
  return 0;
}

static void add(const char *step, const char *property, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/timeline/%s", step);
  blob_set_string(blob, path, property, text);
}

static void add_ms(const char *step, const char *property, uint32_t ms) {
  char path[64];
  snprintf(path, sizeof path, "/timeline/%s", step);
  blob_set_cell(blob, path, property, ms);
}

static void alpha_hello(void) {
  write_line("alpha| ", "hello");
}
static void beta_hello(void) {
  write_line("beta| ", "hello");
}
static void alpha_both(void) {
  write_line("alpha| ", "one");
  write_line("alpha| ", "two");
}
static void alpha_passes(void) {
  alpha.verdict = VERDICT_PASSED;
  timeline_poke();
}
static void alpha_fails(void) {
  alpha.verdict = VERDICT_FAILED;
  timeline_poke();
}
static void alpha_off(void) {
  alpha.state = VM_OFF;
  timeline_poke();
}

/* --- text --- */

static void test_text_in_time(void **state) {
  (void)state;
  add("s1", "expect", "alpha: hello");
  at_ms[3] = alpha_hello;
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
  assert_int_equal(now, 3000); /* woken by the line, not by the deadline */
}

static void test_text_of_another_guest_does_not_count(void **state) {
  (void)state;
  add("s1", "expect", "alpha: hello");
  add_ms("s1", "within-ms", 10);
  at_ms[3] = beta_hello;
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s1: no \"hello\" within 10 ms)");
  assert_int_equal(now, 10000);
}

static void test_text_of_anybody(void **state) {
  (void)state;
  add("s1", "expect", "ello");
  at_ms[3] = beta_hello;
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
}

/* libfdt's writer puts the newest node first: steps are added last to first. */
static void test_text_before_its_step_is_found(void **state) {
  (void)state;
  add("s2", "expect", "alpha: two");
  add("s1", "expect", "alpha: one");
  at_ms[3] = alpha_both; /* both lines are there before the second step begins */
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
}

static void test_text_before_what_was_met_is_not(void **state) {
  (void)state;
  add("s2", "expect", "alpha: one");
  add_ms("s2", "within-ms", 5);
  add("s1", "expect", "alpha: two");
  at_ms[3] = alpha_both;
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s2: no \"one\" within 5 ms)");
}

static void test_one_line_meets_one_step_only(void **state) {
  (void)state;
  add("s2", "expect", "alpha: hello");
  add_ms("s2", "within-ms", 5);
  add("s1", "expect", "alpha: hello");
  at_ms[3] = alpha_hello;
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s2: no \"hello\" within 5 ms)");
}

static void test_guests_are_read_apart(void **state) {
  (void)state;
  add("s2", "expect", "alpha: hello"); /* written before what the first step met, but by another */
  add("s1", "expect", "beta: hello");
  at_ms[3] = alpha_hello;
  at_ms[4] = beta_hello;
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
}

static void test_all_texts_of_a_step(void **state) {
  (void)state;
  blob_set(blob, "/timeline/s1", "expect", "beta: hello\0alpha: two\0alpha: one", 34);
  at_ms[3] = alpha_both;
  at_ms[5] = beta_hello;
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
  assert_int_equal(now, 5000);
}

static void test_unwanted_text(void **state) {
  (void)state;
  add("s1", "expect", "alpha: never");
  add("s1", "expect-not", "hello");
  at_ms[3] = alpha_hello;
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s1: unwanted: \"hello\")");
}

static void test_watching_for_unwanted_text_takes_the_whole_time(void **state) {
  (void)state;
  add("s1", "expect-not", "panic");
  add_ms("s1", "within-ms", 8);
  at_ms[3] = alpha_hello;
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
  assert_int_equal(now, 8000);
}

static void test_unwanted_text_before_the_step_is_past(void **state) {
  (void)state;
  add("s2", "expect-not", "hello");
  add_ms("s2", "within-ms", 5);
  add("s1", "expect", "beta: hello");
  at_ms[2] = alpha_hello;
  at_ms[4] = beta_hello;
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
}

static void flood(void) {
  for (unsigned i = 0; i < 5000; i++)
    write_line("beta| ", "noise noise noise noise noise noise noise noise noise noise");
  write_line("alpha| ", "hello");
}

static void test_a_flood_does_not_hide_the_line(void **state) {
  (void)state;
  add("s1", "expect", "alpha: hello");
  at_ms[3] = flood;
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
}

static void noise(void) {
  for (unsigned i = 0; i < 5000; i++) {
    write_line("beta| ", "noise noise noise noise noise noise noise noise noise noise");
    if (i % 500 == 0)
      step_once();
  }
}

static void test_lines_are_read_while_a_command_runs(void **state) {
  (void)state;
  add("s1", "run", "sleep 6");
  add("s1", "expect", "alpha: hello");
  at_ms[2] = alpha_hello;
  at_ms[3] = noise; /* pushes it out of the log */
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
  assert_int_equal(now, 6000);
}

static void test_an_overrun_log_is_told(void **state) {
  (void)state;
  add("s2", "expect", "alpha: hello");
  add_ms("s2", "within-ms", 5);
  add("s1", "run", "sleep 6");
  at_ms[2] = alpha_hello;
  at_ms[3] = noise;
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s2: no \"hello\" within 5 ms (the log overran))");
}

/* --- commands --- */

static void test_commands_run_in_order(void **state) {
  (void)state;
  static const char commands[] = "busy\0say \"a b\"\0sleep 4\0say c";
  blob_set(blob, "/timeline/s1", "run", commands, sizeof commands);
  add("s1", "expect", "sluice: c");
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
  assert_string_equal(ran, "busy;say a b;sleep 4;say c;");
  assert_int_equal(busy_steps, 5);
  assert_int_equal(now, 4000);
}

static void test_output_before_the_command_does_not_meet_it(void **state) {
  (void)state;
  add("s2", "run", "busy");
  add("s2", "expect", "sluice: c");
  add_ms("s2", "within-ms", 5);
  add("s1", "run", "say c");
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s2: no \"c\" within 5 ms)");
}

static void test_a_failed_command_fails_the_step(void **state) {
  (void)state;
  add("s1", "run", "fail rain");
  add("s1", "expect", "never");
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s1: `fail`: because of rain)");
}

static void test_bad_commands(void **state) {
  static const struct {
    const char *line, *verdict;
  } cases[] = {
      {"sya hello", "FAIL (s1: `sya`: unknown command (did you mean `say`?))"},
      {"frobnicate", "FAIL (s1: `frobnicate`: unknown command; `help` lists them)"},
      {"say", "FAIL (s1: `say`: usage: say TEXT)"},
      {"say a b", "FAIL (s1: `say`: usage: say TEXT)"},
      {"say $nothing", "FAIL (s1: `say`: there is no $nothing)"},
      {"sleep soon", "FAIL (s1: `sleep`: `soon` is not a number)"},
      {"say 1 2 3 4 5 6 7 8 9 10 11 12", "FAIL (s1: `say`: more than 12 words)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    setup(state);
    add("s1", "run", cases[i].line);
    add("s1", "expect", "never");
    begin(false);
    run(20);
    assert_string_equal(verdict, cases[i].verdict);
  }
}

static void test_variables(void **state) {
  (void)state;
  add("s1", "run", "say $page");
  add("s1", "expect", "sluice: 0x7ff000");
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
}

static void test_what_a_command_holds_is_given_back(void **state) {
  (void)state;
  given_back = 0;
  add("s1", "run", "hold");
  add("s1", "expect", "never");
  add_ms("s1", "within-ms", 6);
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s1: `hold` is not over after 6 ms)");
  assert_int_equal(given_back, 1);
}

static void test_a_command_that_does_not_end(void **state) {
  (void)state;
  add("s1", "run", "sleep 1000");
  add("s1", "expect", "never");
  add_ms("s1", "within-ms", 6);
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s1: `sleep` is not over after 6 ms)");
  assert_int_equal(now, 6000);
}

static void test_delay(void **state) {
  (void)state;
  add("s1", "run", "say c");
  add("s1", "expect", "sluice: c");
  add_ms("s1", "after-ms", 7);
  add("s2", "run", "say d");
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
  assert_int_equal(now, 7000);
  assert_string_equal(marks, "s2 s1 "); /* a new node comes first */
  assert_int_equal(marked_at, 7000);    /* with its commands, not with its delay */
}

/* --- verdicts of VMs --- */

static void test_verdicts(void **state) {
  (void)state;
  blob_set(blob, "/timeline/s1", "expect-verdict", "alpha\0beta", 11);
  beta.verdict = VERDICT_PASSED;
  at_ms[6] = alpha_passes;
  begin(false);
  run(20);
  assert_string_equal(verdict, "PASS");
  assert_int_equal(now, 6000);
}

static void test_a_failed_vm(void **state) {
  (void)state;
  add("s1", "expect-verdict", "alpha");
  at_ms[6] = alpha_fails;
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s1: alpha failed)");
  assert_int_equal(now, 6000);
}

static void test_a_vm_that_goes_off_without_a_word(void **state) {
  (void)state;
  add("s1", "expect-verdict", "alpha");
  at_ms[6] = alpha_off;
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s1: alpha failed)");
}

static void test_a_silent_vm(void **state) {
  (void)state;
  add("s1", "expect-verdict", "alpha");
  add_ms("s1", "within-ms", 9);
  alpha_exists = false;
  begin(false);
  run(20);
  assert_string_equal(verdict, "FAIL (s1: alpha gave no verdict within 9 ms)");
}

/* --- without a verdict of its own --- */

static void test_without_expectations_the_machine_stays(void **state) {
  (void)state;
  add("s1", "run", "say c");
  begin(false);
  run(20);
  assert_string_equal(verdict, "");
  assert_string_equal(said, "c;sluice: timeline: done;");
}

static void test_interactive_stays_too(void **state) {
  (void)state;
  add("s1", "expect", "alpha: hello");
  at_ms[3] = alpha_hello;
  begin(true);
  run(20);
  assert_string_equal(verdict, "");
  assert_string_equal(said, "sluice: timeline: done, every expectation was met;");
  setup(state);
  add("s1", "expect", "alpha: hello");
  add_ms("s1", "within-ms", 5);
  begin(true);
  run(20);
  assert_string_equal(verdict, "");
  assert_string_equal(said, "sluice: timeline: failed: s1: no \"hello\" within 5 ms;");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_text_in_time, setup),
      cmocka_unit_test_setup(test_text_of_another_guest_does_not_count, setup),
      cmocka_unit_test_setup(test_text_of_anybody, setup),
      cmocka_unit_test_setup(test_text_before_its_step_is_found, setup),
      cmocka_unit_test_setup(test_text_before_what_was_met_is_not, setup),
      cmocka_unit_test_setup(test_one_line_meets_one_step_only, setup),
      cmocka_unit_test_setup(test_guests_are_read_apart, setup),
      cmocka_unit_test_setup(test_all_texts_of_a_step, setup),
      cmocka_unit_test_setup(test_unwanted_text, setup),
      cmocka_unit_test_setup(test_watching_for_unwanted_text_takes_the_whole_time, setup),
      cmocka_unit_test_setup(test_unwanted_text_before_the_step_is_past, setup),
      cmocka_unit_test_setup(test_a_flood_does_not_hide_the_line, setup),
      cmocka_unit_test_setup(test_lines_are_read_while_a_command_runs, setup),
      cmocka_unit_test_setup(test_an_overrun_log_is_told, setup),
      cmocka_unit_test_setup(test_commands_run_in_order, setup),
      cmocka_unit_test_setup(test_output_before_the_command_does_not_meet_it, setup),
      cmocka_unit_test_setup(test_a_failed_command_fails_the_step, setup),
      cmocka_unit_test_setup(test_bad_commands, setup),
      cmocka_unit_test_setup(test_variables, setup),
      cmocka_unit_test_setup(test_what_a_command_holds_is_given_back, setup),
      cmocka_unit_test_setup(test_a_command_that_does_not_end, setup),
      cmocka_unit_test_setup(test_delay, setup),
      cmocka_unit_test_setup(test_verdicts, setup),
      cmocka_unit_test_setup(test_a_failed_vm, setup),
      cmocka_unit_test_setup(test_a_vm_that_goes_off_without_a_word, setup),
      cmocka_unit_test_setup(test_a_silent_vm, setup),
      cmocka_unit_test_setup(test_without_expectations_the_machine_stays, setup),
      cmocka_unit_test_setup(test_interactive_stays_too, setup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
