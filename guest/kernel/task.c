/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Task blocks: made, named, freed. Owns pids. A block is 2^TASK_BLOCK_ORDER frames of the kernel's own; only the struct is cleared, not
 * the stack.
 */
#include "guest/kernel/task.h"

#include "core/check.h"
#include "core/string.h"
#include "guest/kernel/sched.h"
#include "guest/vm/gfp.h"
#include "guest/vm/vm.h"
#include "mm/page_alloc.h"

static uint32_t next_pid = 1;

void task_init(struct task *t, uint32_t pid) {
  memset(t, 0, offsetof(struct task, fp));
  t->pid = pid;
  t->canary = TASK_CANARY;
  list_init(&t->run_node);
  list_init(&t->sleep_node);
  list_init(&t->all_node);
  list_init(&t->children);
  list_init(&t->sibling);
}

err_t task_alloc(bool kernel, struct task **out) {
  pfn_t block;
  err_t e = page_alloc(TASK_BLOCK_ORDER, GFP_KERNEL | ALLOC_RETURN_CORE, &block);
  if (e != ERR_OK)
    return e;
  *out = port_frame_ptr(block);
  task_init(*out, kernel ? 0 : __atomic_fetch_add(&next_pid, 1, __ATOMIC_RELAXED));
  return ERR_OK;
}

void task_free(struct task *t) {
  CHECK(t->canary == TASK_CANARY);
  page_free(port_ptr_frame(t), TASK_BLOCK_ORDER);
}

void task_set_name(struct task *t, const char *name) {
  const char *slash = strrchr(name, '/');
  strlcpy(t->name, slash != NULL ? slash + 1 : name, sizeof t->name);
}

void task_set_entry(struct task *t, void (*entry)(void), void (*fn)(void)) {
  t->context.x19_x29[0] = (uint64_t)fn;
  t->context.x19_x29[10] = 0; /* x29: the end of a back trace */
  t->context.lr = (uint64_t)entry;
  t->context.sp = (uint64_t)task_frame(t);
}
