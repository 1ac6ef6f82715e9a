/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * No policy: targets are people's, by the monitor's `balloon`. Only when a vCPU finds no frame, guests that say they have memory to spare
 * are asked for what it needs, those with the most first, none below its low mark. Who lies gives nothing, and nobody else gives more than
 * it said it could.
 */
#include "core/bits.h"
#include "hyp/mem/policy.h"

#define ASK_LEAST (4 * POLICY_BLOCK) /* 8 MiB: who is out of frames will want another soon */

/* What it can give, by its own word. What it was asked for and has not given yet it cannot give twice. */
static uint64_t to_spare(const struct policy_vm *v) {
  uint64_t held = min_u64(v->held, v->target), floor = max_u64(v->quota.low, v->quota.min);
  if (!v->asked || !v->says || held <= floor)
    return 0;
  return min_u64(min_u64(v->available, v->held) - min_u64(min_u64(v->available, v->held), v->held - held), held - floor);
}

static struct policy_vm *richest(struct policy_view *view, const struct policy_vm *but) {
  struct policy_vm *found = NULL;
  for (unsigned i = 0; i < view->count; i++) {
    struct policy_vm *v = &view->vm[i];
    if (v != but && to_spare(v) > (found ? to_spare(found) : 0))
      found = v;
  }
  return found;
}

static void pressure(struct policy_view *view, struct policy_vm *who, uint64_t frames) {
  uint64_t left = max_u64(frames, ASK_LEAST);
  struct policy_vm *v;
  if (who->waiting == 0)
    return; /* it has only passed its high mark */
  while (left > 0 && (v = richest(view, who)) != NULL) {
    uint64_t take = min_u64(left, to_spare(v));
    v->target = min_u64(v->held, v->target) - take;
    v->why = "says it has memory to spare, and a vCPU waits";
    left -= take;
  }
}

POLICY(none) = {
    .name = "none",
    .what = "targets are set by hand; who can spare memory is asked when a vCPU finds none",
    .pressure = pressure,
};
