/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A session takes a command line apart, finds the command and runs it step by step.
 *
 * Words are separated by blanks; "..." keeps blanks in a word; $name is what a catch kept under that name (one in a line). Everything a
 * command remembers between its steps is in the session, so the monitor and the timeline can each have one in flight. Both run as work on
 * CPU 0, hence no lock. A failed command says why in one line; it never stops the machine by itself.
 */

#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/catch.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"

const struct command *monitor_command(unsigned i, const char **heading) {
  static const struct {
    const char *heading; /* NULL: the one before goes on */
    const struct command *commands;
  } tables[] = {
      {"Talking", monitor_talk_commands},
      {"Virtual machines", monitor_vm_commands},
      {NULL, monitor_virtio_commands},
      {"Memory: who has it", monitor_memory_commands},
      {NULL, monitor_mm_commands},
      {NULL, monitor_verify_commands},
      {"Memory: moving it", monitor_compact_commands},
      {NULL, monitor_fragment_commands},
      {NULL, monitor_background_commands},
      {"Memory: giving and taking it", monitor_policy_commands},
      {NULL, monitor_balloon_commands},
      {NULL, monitor_handover_commands},
      {NULL, monitor_managed_commands},
      {"The machine", monitor_machine_commands},
  };
  for (unsigned t = 0; t < ARRAY_SIZE(tables); t++)
    for (const struct command *c = tables[t].commands; c->name; c++)
      if (i-- == 0) {
        *heading = c == tables[t].commands ? tables[t].heading : NULL;
        return c;
      }
  return NULL;
}

static const struct command *find_command(const char *name) {
  const struct command *c;
  const char *heading;
  for (unsigned i = 0; (c = monitor_command(i, &heading)) != NULL; i++)
    if (strcmp(c->name, name) == 0)
      return c;
  return NULL;
}

static const char *nearest_command(const char *name) {
  const char *names[64], *heading;
  unsigned count = 0;
  for (const struct command *c; count < ARRAY_SIZE(names) && (c = monitor_command(count, &heading)) != NULL; count++)
    names[count] = c->name;
  return scenario_nearest(names, count, name);
}

/* Cut the next word off at `*rest`; NULL if there is none. */
static char *next_word(char **rest) {
  char *at = *rest;
  while (*at == ' ' || *at == '\t')
    at++;
  if (*at == '\0')
    return NULL;
  char quote = *at == '"' ? *at++ : '\0';
  char *word = at;
  while (*at && (quote ? *at != quote : *at != ' ' && *at != '\t'))
    at++;
  if (*at)
    *at++ = '\0';
  *rest = at;
  return word;
}

/* What stands for $name; the command gets a copy in the session, since the variable may change while it runs. */
static char *variable(struct session *s, const char *name) {
  const char *value = catch_variable(name);
  if (!value) {
    session_fail(s, "there is no $%s", name);
    return NULL;
  }
  strlcpy(s->value, value, sizeof s->value);
  return s->value;
}

static void split(struct session *s) {
  char *rest = s->line, *word;
  s->argc = 0;
  while ((word = next_word(&rest)) != NULL) {
    if (s->argc == SESSION_ARGS_MAX) {
      session_fail(s, "more than %u words", SESSION_ARGS_MAX);
      return;
    }
    if (word[0] == '$' && !(word = variable(s, word + 1)))
      return;
    s->argv[s->argc++] = word;
  }
}

static void unknown_command(struct session *s) {
  const char *near = nearest_command(s->argv[0]);
  if (near)
    session_fail(s, "unknown command (did you mean `%s`?)", near);
  else
    session_fail(s, "unknown command; `help` lists them");
}

static void clear(struct session *s, const struct scenario *scenario) {
  s->scenario = scenario;
  s->command = NULL;
  s->failed = s->must_fail = false;
  s->reason[0] = '\0';
  s->wake_at = s->deadline = ~(uint64_t)0;
  s->phase = 0;
  s->holds = s->stopping = false;
  memset(s->state, 0, sizeof s->state);
}

/* `fails COMMAND...`: the command must fail, or this does. */
static void take_fails(struct session *s) {
  if (s->argc < 2 || strcmp(s->argv[0], "fails") != 0)
    return;
  s->must_fail = true;
  memmove(s->argv, s->argv + 1, --s->argc * sizeof s->argv[0]);
}

static void turn_round(struct session *s) {
  s->must_fail = false;
  if (!s->failed) {
    session_fail(s, "it did not fail");
    return;
  }
  s->failed = false;
  hyp_printf("sluice: %s fails as it must: %s\n", s->argv[0], s->reason);
}

void session_begin(struct session *s, const struct scenario *scenario, const char *line) {
  clear(s, scenario);
  if (strlcpy(s->line, line, sizeof s->line) >= sizeof s->line) {
    session_fail(s, "a line has at most %u characters", (unsigned)sizeof s->line - 1);
    return;
  }
  split(s);
  take_fails(s);
  if (s->argc == 0 || s->failed)
    return;
  const struct command *c = find_command(s->argv[0]);
  if (!c)
    unknown_command(s);
  else if (s->argc - 1 < c->min_args || s->argc - 1 > c->max_args)
    session_fail(s, "usage: %s %s", c->name, c->usage);
  else
    s->command = c;
}

enum work_result session_step(struct session *s) {
  if (!s->command)
    return WORK_DONE;
  enum work_result result = s->command->run(s);
  if (result == WORK_DONE) {
    s->command = NULL;
    if (s->must_fail)
      turn_round(s);
  }
  return result;
}

void session_stop(struct session *s, const char *reason) {
  if (!s->command)
    return;
  s->stopping = true;
  if (s->holds)
    (void)s->command->run(s);
  s->command = NULL;
  session_fail(s, "%s", reason);
}

static void set_reason(struct session *s, const char *fmt, va_list args) {
  format_v(s->reason, sizeof s->reason, fmt, args);
  s->failed = true;
}

void session_fail(struct session *s, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  set_reason(s, fmt, args);
  va_end(args);
}

enum work_result session_fail_done(struct session *s, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  set_reason(s, fmt, args);
  va_end(args);
  return WORK_DONE;
}

enum work_result session_wait_ms(struct session *s, uint64_t ms) {
  s->wake_at = time_now() + time_from_ms(ms);
  return WORK_WAIT;
}

struct vm *session_vm(struct session *s, unsigned n) {
  struct vm *vm = vm_by_name(s->argv[n]);
  if (!vm)
    session_fail(s, "there is no VM `%s`", s->argv[n]);
  return vm;
}

bool session_number(struct session *s, unsigned n, uint64_t *out) {
  if (parse_u64(s->argv[n], out))
    return true;
  session_fail(s, "`%s` is not a number", s->argv[n]);
  return false;
}
