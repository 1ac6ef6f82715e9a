/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler. Owns the run queue, the list of sleepers and sched_lock.
 *
 * Invariants: a task is in the run queue if and only if it is RUNNABLE and on no CPU; idle tasks are never in it. A CPU whose `sleeping`
 * is set stands in WFI, or is about to with interrupts masked, so an SGI sent after that always wakes it.
 */
#include "guest/kernel/sched.h"

#include "core/check.h"
#include "guest/arch/cpu.h"
#include "guest/arch/fp.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/gic.h"
#include "guest/drivers/timer.h"
#include "guest/drivers/virtio/balloon.h"
#include "guest/kernel/irq.h"
#include "mm/page_alloc.h"

#define SLICES_PER_S 100u

void cpu_switch_to(struct task *prev, struct task *next);

struct vlock sched_lock;
static struct list_node run_queue = {&run_queue, &run_queue};
static struct list_node sleepers = {&sleepers, &sleepers};
static struct list_node all_tasks = {&all_tasks, &all_tasks};

/* ---- Timer ---- */

static uint64_t first_deadline(void) {
  struct list_node *n = list_first(&sleepers);
  return n == NULL ? TIMER_NEVER : list_entry(n, struct task, sleep_node)->deadline;
}

static void arm_for(const struct cpu *cpu, const struct task *t) {
  uint64_t deadline = first_deadline();
  if (t != cpu->idle_task && cpu->slice_end < deadline)
    deadline = cpu->slice_end;
  timer_arm(deadline);
}

static void wake_sleepers(uint64_t now) {
  struct list_node *n;
  while ((n = list_first(&sleepers)) != NULL && list_entry(n, struct task, sleep_node)->deadline <= now)
    sched_wake(list_entry(n, struct task, sleep_node));
}

/* ---- Switching ---- */

static struct task *pick_next(struct cpu *cpu, struct task *prev) {
  struct list_node *n = list_first(&run_queue);
  if (n != NULL) {
    list_remove(n);
    return list_entry(n, struct task, run_node);
  }
  return prev->state == TASK_RUNNABLE ? prev : cpu->idle_task;
}

static void charge(struct task *prev, struct task *next, uint64_t now) {
  prev->cpu_ticks += now - prev->run_since;
  next->run_since = now;
}

static void switch_to(struct cpu *cpu, struct task *prev, struct task *next) {
  CHECK(prev->canary == TASK_CANARY);
  prev->switches[prev->state == TASK_RUNNABLE]++;
  if (prev->state == TASK_RUNNABLE && prev != cpu->idle_task)
    list_push_back(&run_queue, &prev->run_node);
  fp_switch_out();
  next->cpu = cpu->id;
  if (next->mm != prev->mm || next->mm != NULL)
    mmu_switch_mm(next->mm);
  cpu_switch_to(prev, next);
}

/* sched_lock held. Returns when the current task runs again, maybe on another CPU. */
static void switch_away(void) {
  struct cpu *cpu = this_cpu();
  struct task *prev = current_task();
  struct task *next = pick_next(cpu, prev);
  uint64_t now = timer_now();
  task_work_clear(prev, TASK_WORK_RESCHED);
  charge(prev, next, now);
  cpu->slice_end = now + timer_hz / SLICES_PER_S;
  arm_for(cpu, next);
  if (next != prev)
    switch_to(cpu, prev, next);
}

void schedule(void) {
  vlock_acquire(&sched_lock);
  switch_away();
  vlock_release(&sched_lock);
}

bool sched_others_ready(void) {
  return atomic_load_relaxed(&run_queue.next) != &run_queue;
}

void schedule_tail(void) {
  vlock_release(&sched_lock);
}

void sched_leave(void) {
  switch_away();
  CHECK(!"a task that left came back");
  for (;;)
    ;
}

/* ---- Ready and blocked ---- */

static void kick_sleeping_cpu(void) {
  for (unsigned i = 0; i < cpu_count; i++) {
    if (!cpus[i].sleeping)
      continue;
    cpus[i].sleeping = false;
    if (i != current_cpu_id())
      gic_send_sgi(i, SGI_RESCHED);
    return;
  }
}

static void make_ready(struct task *t) {
  list_push_back(&run_queue, &t->run_node);
  kick_sleeping_cpu();
}

void sched_start(struct task *t) {
  vlock_acquire(&sched_lock);
  list_push_back(&all_tasks, &t->all_node);
  make_ready(t);
  vlock_release(&sched_lock);
}

void sched_wake(struct task *t) {
  if (t->state != TASK_BLOCKED)
    return;
  t->state = TASK_RUNNABLE;
  t->wait_on = WAIT_NONE;
  list_remove(&t->sleep_node);
  make_ready(t);
}

void sched_block(enum task_wait why) {
  struct task *t = current_task();
  if (t->work & TASK_WORK_KILL)
    return; /* it is on its way out: callers loop and see this too */
  t->state = TASK_BLOCKED;
  t->wait_on = why;
  switch_away();
}

bool sched_sleep_until(uint64_t deadline) {
  struct task *t = current_task();
  struct list_node *n = sleepers.prev;
  t->deadline = deadline;
  while (n != &sleepers && list_entry(n, struct task, sleep_node)->deadline > deadline)
    n = n->prev;
  list_insert_between(&t->sleep_node, n, n->next);
  sched_block(WAIT_SLEEP);
  list_remove(&t->sleep_node);
  return timer_now() >= deadline;
}

struct task *sched_next_task(struct task *t) {
  struct list_node *n = t ? t->all_node.next : all_tasks.next;
  return n == &all_tasks ? NULL : list_entry(n, struct task, all_node);
}

void sched_wake_all(enum task_wait why) {
  for (struct task *t = sched_next_task(NULL); t; t = sched_next_task(t))
    if (t->wait_on == why)
      sched_wake(t);
}

struct task *sched_find(uint32_t pid) {
  struct task *t = sched_next_task(NULL);
  while (t && t->pid != pid)
    t = sched_next_task(t);
  return t;
}

/* ---- Interrupts and idling ---- */

void sched_tick(void) {
  page_drain_poll();
  balloon_poll();
  struct cpu *cpu = this_cpu();
  struct task *t = current_task();
  vlock_acquire(&sched_lock);
  uint64_t now = timer_now();
  wake_sleepers(now);
  if (t != cpu->idle_task && now >= cpu->slice_end) {
    cpu->slice_end = now + timer_hz / SLICES_PER_S;
    if (!list_is_empty(&run_queue))
      task_work_set(t, TASK_WORK_RESCHED);
  }
  arm_for(cpu, t);
  vlock_release(&sched_lock);
}

void sched_kicked(void) {
  page_drain_poll(); /* another CPU may be short of memory */
  task_work_set(current_task(), TASK_WORK_RESCHED);
}

void sched_cpu_init(struct task *idle) {
  struct cpu *cpu = this_cpu();
  cpu->idle_task = idle;
  idle->run_since = timer_now();
}

void sched_idle(void) {
  struct cpu *cpu = this_cpu();
  for (;;) {
    irq_poll();
    balloon_poll();
    vlock_acquire(&sched_lock);
    if (!list_is_empty(&run_queue)) {
      cpu->sleeping = false;
      switch_away();
      vlock_release(&sched_lock);
      continue;
    }
    if (page_background_is_due()) {
      vlock_release(&sched_lock);
      err_t e = page_background_step(); /* one at a time: somebody may have become ready */
      (void)e;                          /* it is due again only if there is more */
      continue;
    }
    cpu->sleeping = true;
    arm_for(cpu, cpu->idle_task);
    vlock_release(&sched_lock);
    wfi(); /* a pending interrupt ends it although it is masked (Arm ARM D1.7.2) */
  }
}
