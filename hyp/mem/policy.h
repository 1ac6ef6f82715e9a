/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_POLICY_H
#define HYP_MEM_POLICY_H

/*
 * Policies: who should have how much memory. A policy is one file in hyp/mem/: functions that look at a view of all VMs and write down a
 * target for each, and one POLICY() that makes its name known to scenarios and to the monitor. policyd.c gathers the view, calls the policy
 * and asks the balloons for its targets. All memory is in frames of 4 KiB. docs/policy.md has a whole one as an example.
 *
 * A policy's functions are pure but for what they keep in `memo`: no clock, no lock, no call into EL2. So they run in a host test as they
 * are.
 */

#include "core/compiler.h"
#include "core/types.h"
#include "hyp/mem/quota.h"

#define POLICY_MEMO_WORDS 4u
#define POLICY_VMS_MAX 32u
#define POLICY_BLOCK 512u  /* frames: targets are multiples of 2 MiB, so that stage-2 blocks can stay whole */
#define POLICY_SLACK 1024u /* frames by which a target may stand above what it should be; the cushion has room for it */

/* A VM as a policy sees it, and what the policy wants for it. */
struct policy_vm {
  unsigned id;
  uint32_t weight; /* memory-weight: 1..1000 */
  uint64_t memory; /* its RAM */
  struct vm_quota quota;

  /* Measured by EL2. */
  bool asked; /* its balloon has a driver: a target can be asked for. Else `target` is not looked at */
  bool working_set_known;
  uint64_t resident;    /* frames that back it now */
  uint64_t working_set; /* of them, accessed between the last two passes of ageing: age.h */
  uint64_t held;        /* memory less what is in its balloon: what the guest may use */
  uint64_t keep;        /* what the balloon was last asked to leave it; `memory` if never */
  unsigned waiting;     /* its vCPUs, and devices, that wait for a frame */

  /* The guest's word. It may be anything: let it change this VM's own target, and nobody else's. */
  bool says;          /* it has answered lately */
  uint64_t available; /* could do without, it says */

  uint64_t *memo; /* POLICY_MEMO_WORDS of the policy's own, kept between calls; zero for a new VM, and when the policy comes in */

  /* The answer. `keep` and NULL at first. */
  uint64_t target;
  const char *why; /* a few words for the monitor; constant */
};

struct policy_view {
  uint64_t frames; /* all that VMs may share: what is resident, and what is free above EL2's reserve, less `cushion` */
  uint64_t spare;  /* free above EL2's reserve */
  uint64_t
      cushion;  /* frames that should stay free: up to the high watermark, so that faults find some at once, and POLICY_SLACK for each VM */
  bool waiting; /* a vCPU of some VM waits for a frame */
  unsigned count;
  struct policy_vm vm[POLICY_VMS_MAX];
};

struct policy {
  const char *name;
  const char *what;   /* one line, for people */
  uint32_t period_ms; /* from tick to tick, unless the scenario says otherwise */
  bool needs_wss;     /* stage 2 is aged once a period while it is in force */
  /* Once a period, and when memory falls below the low watermark: set targets. NULL: never. */
  void (*tick)(struct policy_view *view);
  /*
   * `who`, one of the view's, should have `frames` more at once: a vCPU of it has found none, or it has passed its high mark. NULL: the
   * same as a tick. One of the two is there.
   */
  void (*pressure)(struct policy_view *view, struct policy_vm *who, uint64_t frames);
};

/* Make a policy known: POLICY(wss) = {.name = "wss", ...}; at file scope. */
#define POLICY(id_)                                                                                                                        \
  static const struct policy policy_##id_;                                                                                                 \
  static const struct policy *const policy_ref_##id_ __attribute__((section("policies"), used, aligned(8))) = &policy_##id_;               \
  static const struct policy policy_##id_

/* By name; NULL if there is none. policy_number(): visit all, `i` from 0; NULL behind the last. */
const struct policy *policy_find(const char *name);
const struct policy *policy_number(unsigned i);

/*
 * The one that most policies need: divide `frames` among claims. First everybody gets `min`; then up to `low` as far as it wants so much;
 * then up to `high`; then up to `max`; last, if `all`, what is left though nobody wants it, in the same order. Where a layer cannot be had
 * by all, it is shared so that those who get less than they could have the same part of memory for each unit of weight. The shares never
 * sum to more than `frames`.
 */
struct policy_claim {
  struct vm_quota quota;
  uint32_t weight;
  uint64_t want;
  uint64_t share; /* out */
};
/* The claim of a VM that wants so much. One that cannot be asked has what it has: that is in nobody's hands. */
struct policy_claim policy_claim_of(const struct policy_vm *v, uint64_t want);
void policy_divide(struct policy_claim *claims, unsigned count, uint64_t frames, bool all);

/*
 * Hysteresis: the target that follows `v->keep` on its way to `goal`. Up at once. Down only if it is worth it (more than a sixteenth, and
 * more than POLICY_SLACK) and was so twice in a row (`*patience`, a word of the memo), and at most by a quarter, or 32 MiB, at a time.
 * `tight`: if it is more than POLICY_SLACK, and at once. Never below the quota's min, never above its max; but for these a multiple of
 * POLICY_BLOCK, rounded down.
 */
uint64_t policy_settle(const struct policy_vm *v, uint64_t goal, uint64_t *patience, bool tight);

/* Room above what a VM uses: a sixteenth and 2 MiB. */
static inline uint64_t policy_headroom(uint64_t frames) {
  return frames / 16 + POLICY_BLOCK;
}

/* Not all can have what they want, which is `wanted` frames; or they have had so much that what should stay free does not. */
static inline bool policy_is_tight(const struct policy_view *view, uint64_t wanted) {
  return view->waiting || wanted > view->frames || view->spare < view->cushion / 2;
}

/* What a VM needs, by its guest's word: what it holds less what it could do without, and room. */
static inline uint64_t policy_need_by_word(const struct policy_vm *v) {
  uint64_t used = v->available < v->held ? v->held - v->available : 0;
  return used + policy_headroom(used);
}

#endif
