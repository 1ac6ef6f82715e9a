/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_CURRENT_H
#define GUEST_ARCH_CURRENT_H

/* Who runs here. TPIDR_EL1 holds the current task; its first words are what the hot paths need. */

#include "guest/arch/layout.h"
#include <stdint.h>

struct task;

static inline struct task *current_task(void) {
  struct task *t;
  __asm__("mrs %0, tpidr_el1" : "=r"(t));
  return t;
}

/* Not CSE-able across a context switch: schedule() may bring the task back on another CPU. */
static inline unsigned current_cpu_id(void) {
  return *(const volatile uint32_t *)((const char *)current_task() + TASK_CPU);
}

#endif
