/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_POLICY_WORLD_H
#define TESTS_HOST_POLICY_WORLD_H

/*
 * A machine on paper for policies: guests that use memory, balloons that take their time, a hypervisor that gives frames as long as there
 * are some. A step is one period. It knows nothing of how a policy decides; what it shows it is what policyd.c would.
 */

#include "hyp/mem/policy.h"

#define MIB 256ull /* frames */
#define GUESTS_MAX 16u

struct guest {
  /* What it is. */
  uint64_t memory;
  struct vm_quota quota;
  uint32_t weight;
  bool no_balloon, silent; /* silent: says nothing of itself */
  bool greedy;             /* ignores its balloon */
  bool off;                /* there is no such VM now */
  unsigned boots;          /* steps until its balloon has a driver */
  uint64_t noise;          /* of its working set, up and down, frames */
  uint64_t lie;            /* says that so much is available; 0: the truth */
  /* What it does now: allocated, and of that in use. */
  uint64_t used, busy;
  /* How it stands. */
  uint64_t held, resident, keep;
  unsigned waiting, waited; /* now; steps so far */
  unsigned changes;         /* targets that were set */
  unsigned turns;           /* of them, those that went the other way than the one before */
  bool fell;                /* the last one */
  uint64_t memo[POLICY_MEMO_WORDS];
};

struct world {
  uint64_t ram, cushion; /* frames */
  unsigned count;
  struct guest guest[GUESTS_MAX];
  uint64_t seed, rate; /* frames that a balloon moves in a step */
  struct policy_view view;
};

/* RAM for `count` guests of `mib` each, all of weight 100, without quotas, that use nothing yet. */
void world_make(struct world *w, uint64_t ram_mib, unsigned count, uint64_t mib);
/* What `p` would be shown now: VMs that are there, in order; their number as id, from 1. */
void world_show(struct world *w);
/*
 * A VM comes, or goes and gives all back. One that comes has all of its memory promised, has touched none, and no driver for so many steps.
 */
void world_start(struct world *w, unsigned i, unsigned boots);
void world_stop(struct world *w, unsigned i);
/*
 * Guests run for a period, then `p` decides, with pressure if somebody waits, and balloons are asked. Every answer must keep to the quota.
 */
void world_step(struct world *w, const struct policy *p);
void world_run(struct world *w, const struct policy *p, unsigned steps);

uint64_t world_spare(const struct world *w);
/* Targets of those that can be asked, and what the others have. */
uint64_t world_promised(const struct world *w);
bool world_is_asked(const struct guest *g);
unsigned world_changes(const struct world *w);
uint64_t world_random(struct world *w, uint64_t below);

#endif
