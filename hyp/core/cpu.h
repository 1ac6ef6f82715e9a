/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_CPU_H
#define HYP_CORE_CPU_H

/*
 * One struct cpu per physical CPU, found through TPIDR_EL2. EL2 runs with interrupts masked; each CPU has one stack, empty whenever a
 * guest runs, because everything about a guest is in its struct vcpu.
 */

#include "arch/lock.h"
#include "core/list.h"
#include "core/types.h"

#define CPUS_MAX 16u

struct vcpu;

struct cpu {
  /* Offsets known to assembly (hyp/arch/offsets.h checks them). */
  uint8_t *stack_top;
  struct vcpu *current; /* whose EL1 state is in this CPU's registers; NULL: nobody's. Written by this CPU (load.c), atomic */
  uint64_t emergency[4];

  unsigned id;         /* dense, 0 is the boot CPU */
  uint64_t mpidr;      /* affinity fields only */
  uint64_t sgi_target; /* the same as ICC_SGI1R_EL1 wants it, TargetList included */
  bool online;
  volatile void *gicr; /* this CPU's redistributor */

  /* Run queue; rq_lock. */
  struct spinlock rq_lock;
  struct list_node rq;       /* ready vCPUs, least virtual runtime first */
  struct list_node sleepers; /* blocked vCPUs whose timer must be watched here */
  uint64_t rq_least;         /* virtual runtime of the first in rq, ~0 if empty; read without the lock as a hint */
  uint64_t slice_end;        /* CNTPCT; ~0: nobody else wants this CPU. This CPU only */
  uint64_t timer_at;         /* what CNTHP is set to; ~0: off. This CPU only */

  struct vcpu *fp_owner; /* whose FP/SIMD registers are live here; NULL: nobody's */

  /* Statistics, written by this CPU only. */
  uint64_t masked_since; /* CNTPCT when interrupts were last masked for more than a fast exit */
  uint64_t masked_max;   /* ticks */
  uint64_t idle_ticks;
  uint32_t cost_el2, cost_guest; /* what the counters showed last (cost.c), */
  uint32_t cost_tlbis;           /* and TLBIs since */
};

extern struct cpu cpus[CPUS_MAX];
extern unsigned cpu_count; /* CPUs in the DTB that came up */

static inline struct cpu *this_cpu(void) {
  struct cpu *c;
  __asm__("mrs %0, tpidr_el2" : "=r"(c));
  return c;
}

#endif
