/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What policies are made of: the list of those there are, the division of memory, and hysteresis. Pure functions; no state, no lock.
 *
 * The division goes through layers of each claim, from the bottom up, and stops in the first one that cannot be had by all:
 *
 *      claim 1        claim 2        claim 3
 *   max |  .  |        |  .  |        |  .  |      4, 5: what is over, if all of it is to go (up to high, up to max)
 *  high |  .  |        |  .  |        |  .  |      3: wanted above high
 *       |#####| want   |     |        |     |      2: wanted up to high
 *   low |#####|        |#####| want   |  .  |
 *       |#####|        |#####|        |     |      1: wanted up to low
 *   min |#####|        |#####|        |#####|      0: in any case
 */
#include "core/bits.h"
#include "core/string.h"
#include "hyp/mem/policy.h"

#define LEVEL_SHIFT 10u /* of a level: frames for each unit of weight, in fractions */
#define LAYERS 6u
#define STEP_LEAST (16 * POLICY_BLOCK)

/* --- which there are ------------------------------------------------------------------------------------------------------------- */

extern const struct policy *const __start_policies[], *const __stop_policies[];

const struct policy *policy_number(unsigned i) {
  return i < (unsigned)(__stop_policies - __start_policies) ? __start_policies[i] : NULL;
}

const struct policy *policy_find(const char *name) {
  const struct policy *p;
  for (unsigned i = 0; (p = policy_number(i)) != NULL; i++)
    if (strcmp(p->name, name) == 0)
      return p;
  return NULL;
}

/* --- division -------------------------------------------------------------------------------------------------------------------- */

/* The top of a claim's layer; it never falls from layer to layer. */
static uint64_t top_of(const struct policy_claim *c, unsigned layer) {
  const struct vm_quota *q = &c->quota;
  uint64_t want = max_u64(c->want, q->min);
  const uint64_t tops[LAYERS] = {
      q->min, min_u64(want, q->low), min_u64(want, q->high), min_u64(want, q->max), max_u64(min_u64(want, q->max), q->high), q->max};
  return tops[layer];
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most) {
  return min_u64(max_u64(value, least), most);
}

/* What everybody has together when the water stands at `level`. */
static uint64_t sum_at(const struct policy_claim *c, unsigned count, unsigned layer, uint64_t level) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < count; i++)
    sum += clamp(level * c[i].weight >> LEVEL_SHIFT, c[i].share, top_of(&c[i], layer));
  return sum;
}

/* The last layer that gets anything: the highest level at which it can be had. */
static void fill(struct policy_claim *c, unsigned count, unsigned layer, uint64_t frames) {
  uint64_t below = 0, above = (frames + 1) << LEVEL_SHIFT;
  while (above - below > 1) {
    uint64_t middle = below + (above - below) / 2;
    if (sum_at(c, count, layer, middle) <= frames)
      below = middle;
    else
      above = middle;
  }
  for (unsigned i = 0; i < count; i++)
    c[i].share = clamp(below * c[i].weight >> LEVEL_SHIFT, c[i].share, top_of(&c[i], layer));
}

void policy_divide(struct policy_claim *claims, unsigned count, uint64_t frames, bool all) {
  for (unsigned i = 0; i < count; i++)
    claims[i].share = 0;
  for (unsigned layer = 0; layer < (all ? LAYERS : LAYERS - 2); layer++) {
    if (sum_at(claims, count, layer, ~(uint64_t)0 >> 16) > frames) {
      fill(claims, count, layer, frames);
      return;
    }
    for (unsigned i = 0; i < count; i++)
      claims[i].share = top_of(&claims[i], layer);
  }
}

struct policy_claim policy_claim_of(const struct policy_vm *v, uint64_t want) {
  if (v->asked)
    return (struct policy_claim){.quota = v->quota, .weight = v->weight, .want = want};
  return (struct policy_claim){.quota = {v->resident, v->resident, v->resident, v->resident}, .weight = v->weight, .want = v->resident};
}

/* --- hysteresis ------------------------------------------------------------------------------------------------------------------ */

static uint64_t within_quota(const struct policy_vm *v, uint64_t frames) {
  return clamp(align_down(frames, POLICY_BLOCK), v->quota.min, v->quota.max);
}

uint64_t policy_settle(const struct policy_vm *v, uint64_t goal, uint64_t *patience, bool tight) {
  uint64_t keep = clamp(v->keep, v->quota.min, v->quota.max), band = tight ? POLICY_SLACK : max_u64(keep / 16, POLICY_SLACK);
  goal = within_quota(v, goal);
  if (goal >= keep || keep - goal <= band) {
    *patience = 0;
    return max_u64(goal, keep);
  }
  if (tight)
    return goal;
  if ((*patience)++ == 0)
    return keep;
  return within_quota(v, max_u64(goal, keep - min_u64(keep, max_u64(keep / 4, STEP_LEAST))));
}
