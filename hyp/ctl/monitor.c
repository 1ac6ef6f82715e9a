/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The monitor: lines typed at the console, run one at a time as EL2 work.
 *
 * The console hands a finished line over by monitor_submit() from the UART's interrupt; the work runs it in steps and then shows
 * the prompt again. One line may wait while another runs; a third is refused. Ctrl-C drops both.
 * The UART's interrupt and all work are on CPU 0, where EL2 is never interrupted, so there is no lock. Keys are read
 * in pieces of bounded length: what one interrupt leaves in the FIFO is taken by the work.
 */

#include "hyp/ctl/monitor.h"

#include "core/string.h"
#include "hyp/ctl/console.h"

#define INPUT_PER_STEP 32u

static struct {
  const struct scenario *scenario;
  struct session session;
  struct work work;
  bool line_waiting, interrupted, poll, started;
  char line[sizeof((struct session *)0)->line];
} monitor;

static void finish_command(void) {
  struct session *s = &monitor.session;
  if (s->failed)
    hyp_printf("error: %s%s%s\n", s->argc ? s->argv[0] : "", s->argc ? ": " : "", s->reason);
  console_set_prompt(true);
}

static void begin_command(void) {
  monitor.line_waiting = false;
  console_set_prompt(false);
  session_begin(&monitor.session, monitor.scenario, monitor.line);
}

static enum work_result step(struct work *w) {
  struct session *s = &monitor.session;
  if (monitor.poll)
    monitor.poll = console_poll(INPUT_PER_STEP);
  if (monitor.interrupted) {
    monitor.interrupted = false;
    monitor.line_waiting = false;
    session_stop(s, "interrupted");
    finish_command();
  }
  if (!s->command && !monitor.line_waiting) {
    w->wake_at = ~(uint64_t)0;
    return monitor.poll ? WORK_MORE : WORK_WAIT;
  }
  if (!s->command)
    begin_command();
  enum work_result result = session_step(s);
  if (result == WORK_DONE)
    finish_command();
  w->wake_at = s->wake_at;
  return result == WORK_WAIT && !monitor.poll ? WORK_WAIT : WORK_MORE;
}

void monitor_submit(const char *line) {
  if (monitor.line_waiting) {
    hyp_printf("error: still busy; Ctrl-C stops the command that runs\n");
    return;
  }
  strlcpy(monitor.line, line, sizeof monitor.line);
  monitor.line_waiting = true;
  monitor_poke();
}

void monitor_interrupt(void) {
  monitor.interrupted = true;
  monitor_poke();
}

void monitor_poll_input(void) {
  monitor.poll = true;
  monitor_poke();
}

void monitor_poke(void) {
  if (monitor.started)
    work_wake(&monitor.work);
}

void monitor_start(const struct scenario *scenario, bool interactive) {
  monitor.scenario = scenario;
  monitor.work.step = step;
  list_init(&monitor.work.node);
  monitor.started = true;
  if (interactive) {
    hyp_printf("sluice: monitor: `help` lists commands, `focus VM` talks to a guest (Ctrl-] comes back), `shutdown` ends\n");
    console_set_interactive();
  }
  work_wake(&monitor.work);
}
