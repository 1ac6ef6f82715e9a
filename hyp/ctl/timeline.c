/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The timeline runs the scenario's steps in order: wait `after-ms`, run the commands, and wait until every `expect` text was written
 * and every `expect-verdict` VM has passed, within `within-ms`; no `expect-not` text may be written meanwhile. A step with
 * only `expect-not` watches for the whole of `within-ms`.
 *
 * If any step expects something, the end of the timeline is the machine's end: PASS after the last step, FAIL with the step and the reason
 * at the first that is not met. All of it is EL2 work on CPU 0, so `timeline` needs no lock; other CPUs only read `waiting_for_text`.
 */

#include "hyp/ctl/timeline.h"

#include "core/atomic.h"
#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/ctl/sample.h"

#define SCAN_BUDGET 6000u /* characters compared per step of work */
#define FAILURE_MAX 160u

enum phase {
  PHASE_BEGIN = 0,
  PHASE_DELAY,
  PHASE_RUN,
  PHASE_EXPECT,
  PHASE_OVER
};

static struct {
  const struct scenario *scenario;
  struct session session;
  struct work work;
  bool interactive, judging;
  bool overrun; /* lines were gone before they could be judged */
  enum phase phase;
  unsigned index;    /* of the step */
  uint32_t run_at;   /* next command in its list */
  uint64_t deadline; /* of the step's delay, then of its expectations */
  uint64_t begin;    /* log position when its expectations began */
  uint32_t met;      /* bit per `expect` text */
  unsigned expect_count, expect_not_count;
  struct expectation expect[SCENARIO_STRINGS_MAX], expect_not[SCENARIO_STRINGS_MAX];
  struct expect_reader reader;
} timeline;

static uint32_t waiting_for_text; /* a step of the timeline wants to see new lines */

static const struct scenario_step *current_step(void) {
  return &timeline.scenario->step[timeline.index];
}

static void over(const char *failure) {
  timeline.phase = PHASE_OVER;
  session_stop(&timeline.session, "the timeline is over");
  atomic_store_relaxed(&waiting_for_text, 0);
  if (timeline.judging && !timeline.interactive) {
    if (failure)
      ctl_fail("%s", failure);
    ctl_finish(0);
  }
  if (failure)
    hyp_printf("sluice: timeline: failed: %s\n", failure);
  else
    hyp_printf("sluice: timeline: done%s\n", timeline.judging ? ", every expectation was met" : "");
}

static void fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void fail(const char *fmt, ...) {
  char text[FAILURE_MAX];
  int length = format(text, sizeof text, "%s: ", current_step()->name);
  va_list args;
  va_start(args, fmt);
  if (length > 0 && (size_t)length < sizeof text)
    format_v(text + length, sizeof text - (size_t)length, fmt, args);
  va_end(args);
  over(text);
}

static enum work_result wait_until(uint64_t when) {
  timeline.work.wake_at = when;
  return WORK_WAIT;
}

/* --- the phases of a step --- */

static enum work_result begin_step(void) {
  if (timeline.index == timeline.scenario->steps) {
    over(NULL);
    return WORK_DONE;
  }
  timeline.deadline = time_now() + time_from_ms(current_step()->after_ms);
  timeline.phase = PHASE_DELAY;
  return WORK_MORE;
}

static unsigned parse_list(const struct scenario_strings *list, struct expectation *to) {
  uint32_t at = 0;
  unsigned count = 0;
  for (const char *spec; (spec = scenario_next_string(list, &at)) != NULL;)
    to[count++] = expect_parse(timeline.scenario, spec);
  return count;
}

static void begin_expect(void) {
  timeline.expect_count = parse_list(&current_step()->expect, timeline.expect);
  timeline.expect_not_count = parse_list(&current_step()->expect_not, timeline.expect_not);
  timeline.met = 0;
  timeline.begin = console_log_head();
  if (current_step()->run.bytes)
    expect_skip_el2(&timeline.reader, timeline.begin);
  expect_begin(&timeline.reader);
  atomic_store_relaxed(&waiting_for_text, timeline.expect_count + timeline.expect_not_count > 0);
}

static enum work_result delay(void) {
  if (time_now() < timeline.deadline)
    return wait_until(timeline.deadline);
  timeline.deadline = time_now() + time_from_ms(current_step()->within_ms);
  timeline.run_at = 0;
  timeline.phase = PHASE_RUN;
  sample_mark(TRACE_MARK_STEP, current_step()->name);
  begin_expect();
  return WORK_MORE;
}

/* Hold one line against all that is expected. False if it should not have been written. */
static bool judge_line(const struct log_line *line) {
  int source = expect_line_source(timeline.scenario, line);
  for (unsigned i = 0; i < timeline.expect_not_count; i++)
    if (line->at >= timeline.begin && expect_line_matches(&timeline.reader, &timeline.expect_not[i], line, source)) {
      fail("unwanted: \"%s\"", timeline.expect_not[i].text);
      return false;
    }
  uint32_t met = timeline.met;
  for (unsigned i = 0; i < timeline.expect_count; i++)
    if (!(timeline.met & 1u << i) && expect_line_matches(&timeline.reader, &timeline.expect[i], line, source))
      met |= 1u << i;
  if (met != timeline.met)
    expect_consume(&timeline.reader, source, timeline.reader.next);
  timeline.met = met;
  return true;
}

/* Look at new lines; WORK_MORE if there are more of them than one step may look at, WORK_DONE on failure. */
static enum work_result scan_lines(void) {
  struct log_line line;
  unsigned patterns = timeline.expect_count + timeline.expect_not_count + 1;
  for (unsigned spent = 0; spent < SCAN_BUDGET; spent += (line.length + 40) * patterns) {
    uint64_t wanted = timeline.reader.next;
    if (!console_log_read(&timeline.reader.next, &line))
      return WORK_WAIT;
    timeline.overrun |= line.at != wanted;
    if (!judge_line(&line))
      return WORK_DONE;
  }
  return WORK_MORE;
}

static enum work_result next_command(void) {
  const char *line = scenario_next_string(&current_step()->run, &timeline.run_at);
  if (line) {
    hyp_note("sluice: %s: %s\n", current_step()->name, line);
    session_begin(&timeline.session, timeline.scenario, line);
  } else {
    timeline.phase = PHASE_EXPECT;
  }
  return WORK_MORE;
}

/* Lines are judged while commands run, too: a long one might push them out of the log. */
static enum work_result run_commands(void) {
  struct session *s = &timeline.session;
  enum work_result scanned = scan_lines(), result;
  if (scanned == WORK_DONE)
    return WORK_DONE;
  result = session_step(s);
  if (result != WORK_DONE && time_now() >= timeline.deadline) {
    fail("`%s` is not over after %u ms", s->argv[0], current_step()->within_ms);
    return WORK_DONE;
  }
  if (result == WORK_WAIT && scanned == WORK_WAIT)
    return wait_until(min_u64(s->wake_at, timeline.deadline));
  if (result != WORK_DONE)
    return WORK_MORE;
  if (s->failed) {
    fail("`%s`: %s", s->argc ? s->argv[0] : "", s->reason);
    return WORK_DONE;
  }
  return next_command();
}

/* The first text that was not written, for the report. */
static const char *first_unmet(void) {
  for (unsigned i = 0; i < timeline.expect_count; i++)
    if (!(timeline.met & 1u << i))
      return timeline.expect[i].text;
  return NULL;
}

/* The first VM of the step that has not passed yet, or NULL; `*failed` if it cannot any more. */
static const char *first_without_verdict(bool *failed) {
  uint32_t at = 0;
  for (const char *name; (name = scenario_next_string(&current_step()->verdict, &at)) != NULL;) {
    const struct vm *vm = vm_by_name(name);
    if (vm && vm->verdict == VERDICT_PASSED)
      continue;
    *failed = vm && (vm->verdict == VERDICT_FAILED || vm->state == VM_OFF);
    return name;
  }
  return NULL;
}

static enum work_result timed_out(const char *unmet, const char *silent) {
  if (unmet)
    fail("no \"%s\" within %u ms%s", unmet, current_step()->within_ms, timeline.overrun ? " (the log overran)" : "");
  else
    fail("%s gave no verdict within %u ms", silent, current_step()->within_ms);
  return WORK_DONE;
}

static enum work_result next_step(void) {
  atomic_store_relaxed(&waiting_for_text, 0);
  timeline.index++;
  timeline.phase = PHASE_BEGIN;
  return WORK_MORE;
}

static bool only_watches(void) {
  return timeline.expect_not_count > 0 && timeline.expect_count == 0 && current_step()->verdict.bytes == 0;
}

static enum work_result expect(void) {
  bool failed = false, late = time_now() >= timeline.deadline;
  enum work_result scanned = scan_lines();
  if (scanned != WORK_WAIT)
    return scanned;
  const char *unmet = first_unmet(), *silent = first_without_verdict(&failed);
  if (failed) {
    fail("%s failed", silent);
    return WORK_DONE;
  }
  if (!unmet && !silent && (late || !only_watches()))
    return next_step();
  return late ? timed_out(unmet, silent) : wait_until(timeline.deadline);
}

static enum work_result step(struct work *w) {
  (void)w;
  switch (timeline.phase) {
  case PHASE_BEGIN:
    return begin_step();
  case PHASE_DELAY:
    return delay();
  case PHASE_RUN:
    return run_commands();
  case PHASE_EXPECT:
    return expect();
  default:
    return WORK_DONE;
  }
}

void timeline_line_ready(void) {
  if (atomic_load_relaxed(&waiting_for_text))
    work_wake(&timeline.work);
}

void timeline_poke(void) {
  if (timeline.scenario && timeline.phase != PHASE_OVER)
    work_wake(&timeline.work);
}

void timeline_start(const struct scenario *s, bool interactive) {
  if (s->steps == 0)
    return;
  memset(&timeline, 0, sizeof timeline);
  timeline.scenario = s;
  timeline.interactive = interactive;
  timeline.judging = scenario_has_expectations(s);
  timeline.work.step = step;
  list_init(&timeline.work.node);
  work_wake(&timeline.work);
}
