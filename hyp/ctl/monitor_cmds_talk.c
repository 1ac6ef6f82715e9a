/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Commands that talk: help, echo, wait, expect, log, focus, send. None of them changes a VM. Long output goes in steps of a few lines,
 * so that no step is longer than EL2 may keep interrupts masked.
 */

#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"

#define LINES_PER_STEP 4u
#define EXPECT_DEFAULT_MS 10000u
#define LOG_DEFAULT_LINES 20u
#define SEND_MS 1000u

/* A long list of arguments has a line of its own. */
static void show_help(const struct command *c) {
  if (strlen(c->usage) <= 24)
    hyp_printf("  %-12s %-24s %s\n", c->name, c->usage, c->help);
  else
    hyp_printf("  %-12s %s\n%40s%s\n", c->name, c->usage, "", c->help);
}

/* state: command, shown so far */
static enum work_result cmd_help(struct session *s) {
  for (unsigned i = 0; i < LINES_PER_STEP; i++) {
    const char *heading;
    const struct command *c = monitor_command((unsigned)s->state[0]++, &heading);
    if (!c)
      return s->state[1] ? WORK_DONE : session_fail_done(s, "there is no command `%s`", s->argv[1]);
    if (s->argc == 2 && strcmp(s->argv[1], c->name) != 0)
      continue;
    if (heading && s->argc == 1)
      hyp_printf("%s\n", heading);
    show_help(c);
    s->state[1]++;
  }
  return WORK_MORE;
}

/* The words from argument `n` on, a space between them. */
static void join_words(const struct session *s, unsigned n, char text[sizeof s->line]) {
  size_t at = 0;
  text[0] = '\0';
  for (unsigned i = n; i < s->argc; i++) {
    at += strlcpy(text + at, s->argv[i], sizeof s->line - at);
    if (i + 1 < s->argc)
      at += strlcpy(text + at, " ", sizeof s->line - at);
  }
}

static enum work_result cmd_echo(struct session *s) {
  char text[sizeof s->line];
  join_words(s, 1, text);
  hyp_printf("%s\n", text);
  return WORK_DONE;
}

static enum work_result cmd_wait(struct session *s) {
  uint64_t ms;
  if (s->phase++ == 0) {
    if (!session_number(s, 1, &ms))
      return WORK_DONE;
    s->deadline = time_now() + time_from_ms(ms);
  }
  if (time_now() >= s->deadline)
    return WORK_DONE;
  s->wake_at = s->deadline;
  return WORK_WAIT;
}

static bool begin_expect(struct session *s) {
  uint64_t ms = EXPECT_DEFAULT_MS;
  if (s->argc == 3 && !session_number(s, 2, &ms))
    return false;
  session_wait_at_most(s, ms);
  expect_begin(&s->reader);
  return true;
}

static enum work_result cmd_expect(struct session *s) {
  struct log_line line;
  if (s->phase++ == 0 && !begin_expect(s))
    return WORK_DONE;
  struct expectation e = expect_parse(s->scenario, s->argv[1]);
  for (unsigned i = 0; i < 8; i++) {
    if (!console_log_read(&s->reader.next, &line)) {
      if (time_now() >= s->deadline)
        return session_fail_done(s, "no \"%s\"", e.text);
      return session_wait_ms(s, 10);
    }
    int source = expect_line_source(s->scenario, &line);
    if (expect_line_matches(&s->reader, &e, &line, source)) {
      expect_consume(&s->reader, source, s->reader.next);
      hyp_printf("found: %s\n", line.text);
      return WORK_DONE;
    }
  }
  return WORK_MORE;
}

static bool line_is_of(const struct log_line *line, const char *name) {
  size_t length = strlen(name);
  return line->prefix == length + 2 && strncmp(line->text, name, length) == 0;
}

/* Two passes over the log: count the lines that are wanted, then print the last of them. state: position, wanted, seen, end. */
static enum work_result cmd_log(struct session *s) {
  struct log_line line;
  uint64_t count = LOG_DEFAULT_LINES;
  if (s->argc == 3 && !session_number(s, 2, &count))
    return WORK_DONE;
  if (s->state[3] == 0)
    s->state[3] = console_log_head();
  for (unsigned i = 0; i < (s->phase == 0 ? 32 : LINES_PER_STEP); i++) {
    if (s->state[0] >= s->state[3] || !console_log_read(&s->state[0], &line)) {
      if (s->phase++ == 1)
        return WORK_DONE;
      s->state[2] = s->state[1] > count ? s->state[1] - count : 0;
      s->state[0] = s->state[1] = 0;
      return WORK_MORE;
    }
    if (s->argc >= 2 && !line_is_of(&line, s->argv[1]))
      continue;
    if (s->state[1]++ >= s->state[2] && s->phase == 1)
      console_replay(&line);
  }
  return WORK_MORE;
}

static enum work_result cmd_focus(struct session *s) {
  struct vm *vm = session_vm(s, 1);
  if (!vm)
    return WORK_DONE;
  hyp_printf("sluice: keys go to %s; Ctrl-] or Ctrl-T comes back\n", vm->config.name);
  console_set_focus(vm->id);
  return WORK_DONE;
}

/* A line, as it has room for it. state: bytes that went. */
static enum work_result cmd_send(struct session *s) {
  char text[sizeof s->line];
  struct vm *vm = session_vm(s, 1);
  if (!vm)
    return WORK_DONE;
  if (s->phase++ == 0)
    session_wait_at_most(s, SEND_MS);
  join_words(s, 2, text);
  for (size_t length = strlen(text); s->state[0] <= length; s->state[0]++) {
    uint8_t byte = s->state[0] < length ? (uint8_t)text[s->state[0]] : '\n';
    if (!console_give(vm, byte))
      return session_may_wait(s) ? WORK_WAIT : session_fail_done(s, "%s does not read", vm->config.name);
  }
  return WORK_DONE;
}

static enum work_result cmd_quiet(struct session *s) {
  bool on = strcmp(s->argv[1], "on") == 0;
  if (!on && strcmp(s->argv[1], "off") != 0)
    return session_fail_done(s, "on or off?");
  console_set_quiet(on);
  return WORK_DONE;
}

const struct command monitor_talk_commands[] = {
    {"help", "[COMMAND]", "what there is", cmd_help, 0, 1},
    {"echo", "TEXT...", "say it", cmd_echo, 0, SESSION_ARGS_MAX - 1},
    {"wait", "MS", "do nothing for so long", cmd_wait, 1, 1},
    {"expect", "[VM: ]TEXT [MS]", "wait until a line has TEXT", cmd_expect, 1, 2},
    {"log", "[VM [LINES]]", "lines kept, shown or not", cmd_log, 0, 2},
    {"focus", "VM", "type to a guest", cmd_focus, 1, 1},
    {"send", "VM TEXT...", "a line for a guest's console", cmd_send, 2, SESSION_ARGS_MAX - 1},
    {"quiet", "on|off", "keep guests' lines, do not show them", cmd_quiet, 1, 1},
    {0},
};
