/* SPDX-License-Identifier: BSD-2-Clause */
/* Equal parts for all, whatever they use: never below a VM's min, never above its max. */
#include "core/bits.h"
#include "hyp/mem/policy.h"

static void tick(struct policy_view *view) {
  struct policy_claim claims[POLICY_VMS_MAX];
  for (unsigned i = 0; i < view->count; i++) {
    claims[i] = policy_claim_of(&view->vm[i], view->vm[i].memory); /* everybody wants everything */
    claims[i].weight = 1;
  }
  policy_divide(claims, view->count, view->frames, false);
  for (unsigned i = 0; i < view->count; i++) {
    struct policy_vm *v = &view->vm[i];
    v->target = policy_settle(v, claims[i].share, &v->memo[0], view->waiting);
    v->why = "as much as everybody";
  }
}

POLICY(equal) = {
    .name = "equal",
    .what = "equal parts for all",
    .period_ms = 100,
    .tick = tick,
};
