/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Auto-balloon by working set. What a VM claims is what it touches:
 *
 *      working set of the last pass ──> at once up, half of the way down a tick ──┐
 *      resident, and it grew ─────────> that, and as much growth again ───────────┼─> + room = claim ──> divided by weight and quota
 *      it took memory out of its balloon, or waits ─> what it holds, and more ────┘                         │
 *                                                                                                         share
 *      the guest says what it could do without ──> less than its share, or, if nobody needs it, as before <──────┘──> hysteresis ──> target
 *
 * Only what EL2 has measured is divided. The guest's word moves its own target afterwards: down as it likes; up only as far as it has had
 * so much before, and only while there is enough for all, so that what is in use but idle stays where it is until somebody needs it.
 * Whoever lies can lose its own memory only.
 */
#include "core/bits.h"
#include "hyp/mem/policy.h"

#define GREW_LEAST 256u           /* frames in a tick that count as growth: 1 MiB */
#define HUNGER (4 * POLICY_BLOCK) /* a VM that waits, or took back, wants so much more */

enum {
  ESTIMATE,
  RESIDENT,
  HELD,
  PATIENCE
};

/* Why a VM claims what it claims. */
enum need {
  NEED_WORKING_SET,
  NEED_RESIDENT, /* its working set is not known */
  NEED_GROWS,
  NEED_TOOK_BACK,
  NEED_WAITS
};

static const char *const need_words[] = {"its working set", "what is resident", "it grows", "it took memory back", "it waits for memory"};

/* Falls by halves: a set that is touched now and then is not given up after one quiet tick. */
static uint64_t estimate(struct policy_vm *v) {
  uint64_t now = v->working_set_known ? min_u64(v->working_set, v->resident) : v->resident, *known = &v->memo[ESTIMATE];
  *known = now >= *known ? now : *known - (*known - now + 1) / 2;
  return *known;
}

static enum need need_of(const struct policy_vm *v) {
  uint64_t resident = v->memo[RESIDENT], held = v->memo[HELD];
  if (v->waiting > 0)
    return NEED_WAITS;
  if (held != 0 && v->held > held && v->held > v->keep)
    return NEED_TOOK_BACK;
  if (resident != 0 && v->resident > resident + GREW_LEAST)
    return NEED_GROWS;
  return v->working_set_known ? NEED_WORKING_SET : NEED_RESIDENT;
}

static uint64_t want_of(struct policy_vm *v, enum need need) {
  uint64_t want = estimate(v);
  if (need == NEED_GROWS)
    want = max_u64(want, v->resident + (v->resident - v->memo[RESIDENT]));
  if (need == NEED_TOOK_BACK || need == NEED_WAITS)
    want = max_u64(want, max_u64(v->held, v->resident) + HUNGER);
  v->memo[RESIDENT] = v->resident;
  v->memo[HELD] = v->held;
  return want + policy_headroom(want);
}

/* The guest's word about its own share. */
static uint64_t heed(struct policy_vm *v, uint64_t share, bool tight) {
  uint64_t need = policy_need_by_word(v);
  if (!v->says || need == share)
    return share;
  if (need < share) {
    v->why = "it says that the rest is free";
    return need;
  }
  if (tight || v->keep <= share)
    return share;
  v->why = "in use if idle, it says; nobody needs it";
  return min_u64(need, v->keep);
}

static void answer(struct policy_vm *v, enum need need, uint64_t share, bool tight) {
  v->why = need_words[need];
  if (need <= NEED_RESIDENT)
    share = heed(v, share, tight);
  v->target = policy_settle(v, share, &v->memo[PATIENCE], tight);
}

static void decide(struct policy_view *view, struct policy_vm *pressed, uint64_t frames) {
  struct policy_claim claims[POLICY_VMS_MAX];
  enum need needs[POLICY_VMS_MAX];
  uint64_t wanted = 0;
  for (unsigned i = 0; i < view->count; i++) {
    struct policy_vm *v = &view->vm[i];
    needs[i] = need_of(v);
    uint64_t want = want_of(v, needs[i]);
    claims[i] = policy_claim_of(v, want + (v == pressed ? frames : 0));
    wanted += max_u64(claims[i].want, claims[i].quota.min);
  }
  bool tight = policy_is_tight(view, wanted);
  policy_divide(claims, view->count, view->frames, false);
  for (unsigned i = 0; i < view->count; i++)
    answer(&view->vm[i], needs[i], claims[i].share, tight);
}

static void tick(struct policy_view *view) {
  decide(view, NULL, 0);
}

POLICY(wss) = {
    .name = "wss",
    .what = "each VM keeps its working set, found by ageing stage 2, and some room",
    .period_ms = 20,
    .needs_wss = true,
    .tick = tick,
    .pressure = decide,
};
