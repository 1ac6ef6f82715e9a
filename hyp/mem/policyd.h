/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_POLICYD_H
#define HYP_MEM_POLICYD_H

/* The work that has a policy decide, and does what it says. What a policy is: policy.h. */

#include "hyp/mem/policy.h"

struct vm;

/* What is kept for a VM between ticks; zero in a new one, and in one that starts anew. EL2 work only; others may glimpse. */
struct policy_state {
  uint64_t memo[POLICY_MEMO_WORDS];
  uint64_t changes;      /* targets that were set for it */
  uint64_t decided_at;   /* CNTPCT of the last change */
  uint64_t before, goal; /* its target until then, and since */
  uint64_t last_target;  /* of the last decision, changed or not */
  const char *why;       /* of the last decision; NULL: none yet */
};

/* Once, at boot, after work_init() and age_init(). `policy` NULL: "none"; `period_ms` 0: the policy's own. */
void policyd_init(const struct policy *policy, uint32_t period_ms);

/* Change the policy, or only its period, from now on. Targets stay until it sets others. EL2 work. */
void policyd_set(const struct policy *policy, uint32_t period_ms);

/*
 * A vCPU of `vm` has found no frame, or it has passed its high mark: the policy is to see that it gets `frames` more. Before its next tick,
 * but not more often than every PRESSURE_MS. Any CPU, any lock held but work.c's.
 */
void policyd_pressure(struct vm *vm, uint64_t frames);

/* Memory runs low: the next tick is due now, if the last one is PRESSURE_MS ago. Any CPU, any lock held but work.c's. */
void policyd_hint(void);

/* Frames by which targets were ever lowered. A glimpse. */
uint64_t policyd_asked_frames(void);

/* A glimpse for people. */
struct policyd_stats {
  const struct policy *policy;
  uint32_t period_ms;
  uint64_t ticks, pressures;          /* decisions */
  uint64_t changes;                   /* targets set */
  uint64_t decide_ticks, apply_ticks; /* CNTPCT ticks that the last decision took, and the last step of asking */
  uint64_t refused;                   /* targets that a policy may not set: below min, above max; they were not asked for */
};
void policyd_read(struct policyd_stats *out);

#endif
