/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_PROCESS_H
#define GUEST_KERNEL_PROCESS_H

/* Birth, change and end of processes. */

#include "core/err.h"
#include "core/types.h"

struct task;

#define INIT_PID 1u

/* Start init as pid 1, from bootargs. ERR_NOMEM, and what process_exec() returns. */
MUST_CHECK err_t process_start_init(void);

/* End the current process; `status` as wait4 reports it: signal number, or exit code << 8. */
NORETURN void process_exit(int32_t status);
/* Ask for the end of `t` by `signal`. sched_lock held. */
void process_kill(struct task *t, uint32_t signal);

/* Strings for a new program, packed: argv first, then envp. One frame. */
#define EXEC_STRINGS_MAX 2816u
#define EXEC_PATH_MAX 256u
struct exec_args {
  uint16_t argc, envc;
  uint32_t used;
  char path[EXEC_PATH_MAX];
  char strings[EXEC_STRINGS_MAX];
};
_Static_assert(sizeof(struct exec_args) <= 4096, "one frame");

/* Append one string. ERR_NOSPC. */
MUST_CHECK err_t exec_args_add(struct exec_args *args, const char *s);

/*
 * Replace the current task's program by args->path: new address space, stack and frame for EL0; the old address space is given up only when
 * nothing can fail any more. ERR_NOENT (no such file), ERR_INVAL or ERR_UNSUPPORTED (no ELF we run), ERR_NOMEM, ERR_NOSPC (arguments).
 */
MUST_CHECK err_t process_exec(const struct exec_args *args);

#endif
