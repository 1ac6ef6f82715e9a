/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_MONITOR_H
#define HYP_CTL_MONITOR_H

/*
 * Monitor commands, for the person at the console and for the timeline alike. A session runs one command at a time, in steps of EL2
 * work: a command's function is called again until it is done, and keeps what it must remember in the session.
 */

#include "core/compiler.h"
#include "core/err.h"
#include "core/types.h"
#include "hyp/core/work.h"
#include "hyp/ctl/expect.h"

#define SESSION_ARGS_MAX 12u
#define SESSION_REASON_MAX 96u

struct scenario;
struct session;
struct vm;

/*
 * One step of a command. WORK_MORE: call again soon; WORK_WAIT: at session->wake_at or on any VM event, whichever is first;
 * WORK_DONE: over, failed if session_fail() was called.
 */
typedef enum work_result command_fn(struct session *s);

struct command {
  const char *name;
  const char *usage; /* arguments, e.g. "VM N" */
  const char *help;
  command_fn *run;
  uint8_t min_args, max_args; /* without the name */
};

struct session {
  const struct scenario *scenario;
  const struct command *command; /* NULL: idle */
  char line[160];
  unsigned argc;
  char value[20];               /* of the $name in it */
  char *argv[SESSION_ARGS_MAX]; /* argv[0] is the command */
  bool failed;
  bool must_fail; /* the line began with `fails`: what comes of it is turned round */
  char reason[SESSION_REASON_MAX];
  uint64_t wake_at;  /* CNTPCT, with WORK_WAIT */
  uint64_t deadline; /* CNTPCT, a command's own; session_wait_at_most() sets it */
  unsigned phase;    /* a command's own; 0 at its first step */
  bool holds;        /* set by a command that has something to give back when it is broken off */
  bool stopping;     /* then it is called once more with this: give it back, and return WORK_DONE */
  uint64_t state[4]; /* a command's own; zero at its first step */
  struct expect_reader reader;
};

/* Take a line apart and begin it. An empty line is done at once; an unknown command or a wrong number of arguments fails at once. */
void session_begin(struct session *s, const struct scenario *scenario, const char *line);
/* Run a step of what was begun. After WORK_DONE the session is idle and `failed` and `reason` hold the outcome. */
enum work_result session_step(struct session *s);
/* Break off what runs; the session is idle. */
void session_stop(struct session *s, const char *reason);
/* The command fails, for this reason (one line, no newline). */
void session_fail(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* As `return session_fail(...), WORK_DONE`. */
enum work_result session_fail_done(struct session *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Is time a count of instructions (timer_counts_instructions())? Asked once. */
bool session_time_is_counted(void);
/*
 * The deadline for what the command waits for: in `ms` milliseconds (0: now) where time is a count of instructions; five times as long, and
 * in 10 s at least, where it is the host's (patience.c). For what must not come: in `ms` anyway.
 */
void session_wait_at_most(struct session *s, uint64_t ms);
/* Before its deadline? Then the command returns WORK_WAIT, and is called again in a millisecond at the latest. */
bool session_may_wait(struct session *s);
/* Wait `ms` more milliseconds. */
enum work_result session_wait_ms(struct session *s, uint64_t ms);
/* The VM that argument `n` names, or NULL after session_fail(). */
struct vm *session_vm(struct session *s, unsigned n);
/* Argument `n` as a number; false after session_fail(). */
bool session_number(struct session *s, unsigned n, uint64_t *out);

/* Commands by topic; each table ends with a NULL name. */
extern const struct command monitor_vm_commands[], monitor_memory_commands[], monitor_mm_commands[], monitor_compact_commands[],
    monitor_verify_commands[], monitor_machine_commands[], monitor_talk_commands[], monitor_background_commands[],
    monitor_policy_commands[], monitor_balloon_commands[], monitor_handover_commands[], monitor_managed_commands[],
    monitor_fragment_commands[], monitor_virtio_commands[];
/*
 * Visit every command: `i` counts from 0; NULL behind the last. `*heading` is what stands above it in `help`, NULL if it goes on as before.
 */
const struct command *monitor_command(unsigned i, const char **heading);

/* The monitor's own work. */
void monitor_start(const struct scenario *scenario, bool interactive);
/* A line was typed; a key interrupts what runs; input is left in the FIFO; something happened that a command may wait for. */
void monitor_submit(const char *line);
void monitor_interrupt(void);
void monitor_poll_input(void);
void monitor_poke(void);

#endif
