/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proportional share: all memory is divided at every tick, so that targets together never exceed it. A VM's claim is what is resident and
 * some room to grow; what is over goes to all by weight. As long as there is enough, everybody has more than it uses; when it is tight,
 * those that use most for their weight are asked first, above `high` before others, below `low` after them, below `min` never.
 *
 * It ages nothing and takes no guest's word for what it needs. Only while it is tight, who says that it has memory to spare is asked for
 * that too: it may say so, and nobody else's target changes by it. Memory that is kept and not used is the wss policy's business.
 */
#include "core/bits.h"
#include "hyp/mem/policy.h"

#define GROWTH (4 * POLICY_BLOCK) /* 8 MiB and an eighth: as fast as a VM may grow between two ticks before its balloon is in its way */

enum {
  PATIENCE
};

/* While it is tight: no more than it says it needs. */
static uint64_t heed(struct policy_vm *v, uint64_t share) {
  uint64_t need = policy_need_by_word(v);
  v->why = "its part by weight: not all can have what they want";
  if (!v->says || need >= share)
    return share;
  v->why = "not all can have what they want, and it says it has some to spare";
  return need;
}

static void decide(struct policy_view *view, struct policy_vm *pressed, uint64_t frames) {
  struct policy_claim claims[POLICY_VMS_MAX];
  uint64_t wanted = 0;
  for (unsigned i = 0; i < view->count; i++) {
    const struct policy_vm *v = &view->vm[i];
    claims[i] = policy_claim_of(v, v->resident + v->resident / 8 + GROWTH + (v == pressed ? frames : 0));
    wanted += max_u64(claims[i].want, claims[i].quota.min);
  }
  bool tight = policy_is_tight(view, wanted);
  policy_divide(claims, view->count, view->frames, true);
  for (unsigned i = 0; i < view->count; i++) {
    struct policy_vm *v = &view->vm[i];
    v->why = "its part by weight: there is enough";
    uint64_t goal = tight ? heed(v, claims[i].share) : claims[i].share;
    v->target = policy_settle(v, goal, &v->memo[PATIENCE], tight);
  }
}

static void tick(struct policy_view *view) {
  decide(view, NULL, 0);
}

POLICY(proportional) = {
    .name = "proportional",
    .what = "memory divided by weight within quotas, as far as VMs use it",
    .period_ms = 20,
    .tick = tick,
    .pressure = decide,
};
