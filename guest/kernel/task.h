/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_TASK_H
#define GUEST_KERNEL_TASK_H

/*
 * A process (or an idle loop). Struct and kernel stack share one block of TASK_BLOCK_BYTES; the frame of the last exception from EL0
 * stands at its very top.
 *
 * Letters: (s) sched_lock, (o) the task itself, (c) constant once it runs, (p) its parent under sched_lock.
 */

#include "core/atomic.h"
#include "core/err.h"
#include "core/list.h"
#include "core/types.h"
#include "guest/arch/current.h"
#include "guest/arch/fp.h"
#include "guest/arch/trap_frame.h"
#include "guest/kernel/files.h"
#include "guest/vm/mm_types.h"

#define TASK_NAME_MAX 16u
#define TASK_CANARY 0x6b636174735f656bull

enum task_state {
  TASK_RUNNABLE = 0, /* running or in the run queue */
  TASK_BLOCKED,      /* waits: see wait_on */
  TASK_ZOMBIE        /* exited, not waited for yet */
};

/* What a BLOCKED task waits for. */
enum task_wait {
  WAIT_NONE = 0,
  WAIT_CHILD,
  WAIT_SLEEP,
  WAIT_CONSOLE,
  WAIT_VFORK,
  WAIT_MEMORY /* oom.c */
};

/* Bits of task->work: what must be done before EL0 goes on. Any CPU may set one. */
#define TASK_WORK_RESCHED 0x1u
#define TASK_WORK_KILL 0x2u

/* What cpu_switch_to() moves. */
struct cpu_context {
  uint64_t x19_x29[11], lr, sp, sp_el0, tpidr_el0;
};

/* What a process has used. All but the largest resident set are sums. */
struct usage {
  uint64_t ticks;              /* CNTVCT ticks on a CPU */
  uint64_t minor_faults;       /* none is major: no page comes from a device */
  uint64_t voluntary_switches; /* it blocked or ended */
  uint64_t forced_switches;    /* it was ready to go on */
  uint64_t maxrss_pages;
};

struct task {
  uint32_t cpu;               /* (s) runs or ran there; its own when it reads it */
  uint32_t work;              /* (a) */
  uint32_t pid;               /* (c) */
  uint32_t kill_signal;       /* (s) */
  struct cpu_context context; /* while it does not run */

  struct mm_struct *mm;        /* (o), changed under sched_lock; NULL: kernel thread, or ended */
  enum task_state state;       /* (s) */
  enum task_wait wait_on;      /* (s) */
  struct list_node run_node;   /* (s) run queue */
  struct list_node sleep_node; /* (s) sleepers, by deadline */
  uint64_t deadline;           /* (s) CNTVCT */
  struct list_node all_node;   /* (s) */

  struct task *parent;              /* (s) */
  struct list_node children;        /* (s) */
  struct list_node sibling;         /* (p) */
  bool vfork_parent_waits;          /* (s) */
  int16_t oom_score_adj;            /* (o) a child has its parent's; oom.c */
  bool leaving;                     /* (s) it is to give its address space back, and is counted in oom.c */
  int32_t exit_status;              /* (o) then (p): as wait4 reports it */
  uint64_t faults[FAULT_KINDS];     /* (o) of address spaces it has left (exec) */
  uint64_t maxrss_pages;            /* (o) likewise, the largest of them */
  struct usage children_used;       /* (o) of those waited for, and theirs */
  uint64_t cpu_ticks;               /* (s) run time so far */
  uint64_t run_since;               /* (s) */
  uint64_t switches[2];             /* (s) away from it, while it was blocked or gone, and while it was ready */
  char name[TASK_NAME_MAX];         /* (o) */
  struct vm_file *files[FILES_MAX]; /* (o) */

  bool fp_used;
  uint32_t fp_cpu;
  struct fp_state fp; /* guest/arch/fp.c */
  uint64_t canary;    /* below the stack: an overflow is caught at the next switch */
};

_Static_assert(offsetof(struct task, cpu) == TASK_CPU, "layout.h");
_Static_assert(offsetof(struct task, work) == TASK_WORK, "layout.h");
_Static_assert(offsetof(struct task, pid) == TASK_PID, "layout.h");
_Static_assert(offsetof(struct task, context) == TASK_CONTEXT, "layout.h");
_Static_assert(sizeof(struct task) < TASK_BLOCK_BYTES / 4, "the stack needs the rest");

static inline struct trap_frame *task_frame(struct task *t) {
  return (struct trap_frame *)((char *)t + TASK_BLOCK_BYTES) - 1;
}

static inline void task_work_set(struct task *t, uint32_t bits) {
  atomic_fetch_or(&t->work, bits);
}

static inline void task_work_clear(struct task *t, uint32_t bits) {
  atomic_fetch_and(&t->work, ~bits);
}

/* A task block with everything empty and a fresh pid (0 for `kernel` threads). ERR_NOMEM. */
MUST_CHECK err_t task_alloc(bool kernel, struct task **out);
void task_free(struct task *t);
/* Fill in a block that is already there: the boot CPU's. */
void task_init(struct task *t, uint32_t pid);
void task_set_name(struct task *t, const char *name);
/* Make `t` begin at `entry` (task_first_return or, with `fn`, task_first_kernel) when it is first switched to. */
void task_set_entry(struct task *t, void (*entry)(void), void (*fn)(void));
void task_first_return(void);
void task_first_kernel(void);

/* Add up the faults of the current address space, and see how large it was, before it is left. `t` is current. */
void task_keep_usage(struct task *t);
/* What `t` has used so far, its children not counted; `t` is current or a zombie. */
void task_usage(const struct task *t, struct usage *out);
/* What a zombie and all that it has waited for have used: the rusage of wait4. */
void task_usage_with_children(const struct task *zombie, struct usage *out);
void usage_add(struct usage *to, const struct usage *more);
/*
 * Copy `usage` to user space as a struct rusage. All CPU time counts as user time: the clock is not read where the kernel is entered
 * and left. 0 or -EFAULT.
 */
int64_t usage_to_user(uint64_t user, const struct usage *usage);

#endif
