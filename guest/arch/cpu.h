/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_CPU_H
#define GUEST_ARCH_CPU_H

/*
 * CPUs of the machine and what they can do. struct cpu is written by its own CPU with interrupts masked (which they always are at
 * EL1), except where a lock is named.
 */

#include "core/err.h"
#include "core/types.h"
#include "guest/arch/current.h"

struct task;
struct machine;

struct cpu {
  uint32_t id;     /* dense; 0 is the boot CPU */
  uint32_t online; /* set last in its start, read by the CPU that starts it */
  uint64_t mpidr;  /* affinity fields */
  struct task *idle_task;
  struct task *fp_owner; /* whose FP/SIMD registers were last loaded here; NULL: nobody's */
  bool fp_enabled;       /* EL0 may use FP/SIMD: the registers hold the current task's state */
  bool sleeping;         /* sched_lock; stands in WFI or is about to: wants an SGI when there is work */
  uint64_t slice_end;    /* CNTVCT */
  volatile void *gicr;
};

extern struct cpu cpus[CPUS_MAX];
extern unsigned cpu_count;

static inline struct cpu *this_cpu(void) {
  return &cpus[current_cpu_id()];
}

/* What the ID registers of the boot CPU say; constant after cpu_probe(). The machine is taken to be symmetric. */
struct cpu_features {
  bool pan;      /* FEAT_PAN: EL1 cannot touch user memory by plain loads and stores */
  bool idc, dic; /* CTR_EL0: no need to clean to PoU, to invalidate instruction caches */
  unsigned asid_bits;
  unsigned dline, iline; /* smallest cache lines in bytes */
  uint64_t hwcap;        /* AT_HWCAP */
};
extern struct cpu_features cpu_features;

void cpu_probe(void);
/* Per CPU: what EL0 may do (counter reads), PAN, FP trapped. */
void cpu_setup_el0(void);

/* Bring up every CPU of `m` but this one. Those that fail are reported and left out. */
void smp_boot(const struct machine *m);
/* The resched SGI for every other CPU, asleep or not. Any context. */
void smp_kick_others(void);
/* Entered by assembly on a secondary CPU's idle task. */
_Noreturn void secondary_main(void);

/* Clean [p, p + bytes) to the point of coherency: for readers with their caches off. */
void cache_clean_poc(const void *p, uint64_t bytes);

#endif
