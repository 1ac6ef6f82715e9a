/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine on paper of policy_world.h. */
#include "policy_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

void world_make(struct world *w, uint64_t ram_mib, unsigned count, uint64_t mib) {
  memset(w, 0, sizeof(*w));
  w->ram = ram_mib * MIB;
  w->cushion = 4 * MIB + count * POLICY_SLACK;
  w->count = count;
  w->seed = 1;
  w->rate = 64 * MIB;
  for (unsigned i = 0; i < count; i++)
    w->guest[i] =
        (struct guest){.memory = mib * MIB, .quota = {0, 0, mib * MIB, mib * MIB}, .weight = 100, .held = mib * MIB, .keep = mib * MIB};
}

uint64_t world_random(struct world *w, uint64_t below) {
  w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
  return (w->seed >> 33) % below;
}

uint64_t world_spare(const struct world *w) {
  uint64_t resident = 0;
  for (unsigned i = 0; i < w->count; i++)
    resident += w->guest[i].resident;
  assert_true(resident <= w->ram);
  return w->ram - resident;
}

bool world_is_asked(const struct guest *g) {
  return !g->off && !g->no_balloon && g->boots == 0;
}

void world_start(struct world *w, unsigned i, unsigned boots) {
  struct guest *g = &w->guest[i];
  memset(g->memo, 0, sizeof(g->memo));
  g->held = g->keep = g->memory;
  g->resident = g->used = g->busy = 0;
  g->waiting = 0;
  g->off = false;
  g->boots = boots;
}

void world_stop(struct world *w, unsigned i) {
  w->guest[i].off = true;
  w->guest[i].resident = w->guest[i].used = w->guest[i].busy = w->guest[i].waiting = 0;
}

uint64_t world_promised(const struct world *w) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < w->count; i++)
    sum += world_is_asked(&w->guest[i]) ? w->guest[i].keep : w->guest[i].resident;
  return sum;
}

unsigned world_changes(const struct world *w) {
  unsigned sum = 0;
  for (unsigned i = 0; i < w->count; i++)
    sum += w->guest[i].changes;
  return sum;
}

/* ---- guests ---- */

/* Deflates by itself when it has no page (DEFLATE_ON_OOM); frames come as long as there are some, up to its quota. */
static void touch(struct world *w, struct guest *g) {
  g->boots -= g->boots > 0;
  if (g->held < g->used)
    g->held = g->used;
  uint64_t want = least(g->used, g->quota.max), lacks = want > g->resident ? want - g->resident : 0, gets = least(lacks, world_spare(w));
  g->resident += gets;
  g->waiting = gets < lacks;
  g->waited += g->waiting;
}

/* What it gives is free in the guest; frames that back free pages go with them. */
static void move_balloon(const struct world *w, struct guest *g) {
  if (!world_is_asked(g) || g->greedy)
    return;
  if (g->held < g->keep)
    g->held += least(w->rate, g->keep - g->held);
  else
    g->held -= least(w->rate, least(g->held - g->keep, g->held - least(g->used, g->held)));
  g->resident = least(g->resident, g->held);
}

/* ---- the policy's side ---- */

static uint64_t working_set(struct world *w, const struct guest *g) {
  uint64_t set = g->busy;
  if (g->noise)
    set = set - least(set, g->noise) + world_random(w, 2 * g->noise + 1);
  return least(set, g->resident);
}

void world_show(struct world *w) {
  struct policy_view *v = &w->view;
  *v = (struct policy_view){.spare = world_spare(w), .cushion = w->cushion, .frames = w->ram - w->cushion};
  for (unsigned i = 0; i < w->count; i++) {
    struct guest *g = &w->guest[i];
    if (g->off)
      continue;
    v->vm[v->count++] = (struct policy_vm){.id = i + 1,
                                           .weight = g->weight,
                                           .memory = g->memory,
                                           .quota = g->quota,
                                           .asked = world_is_asked(g),
                                           .working_set_known = true,
                                           .resident = g->resident,
                                           .working_set = working_set(w, g),
                                           .held = g->held,
                                           .keep = g->keep,
                                           .waiting = g->waiting,
                                           .says = !g->silent,
                                           .available = g->lie ? g->lie : g->held - least(g->used, g->held),
                                           .memo = g->memo,
                                           .target = g->keep};
    v->waiting |= g->waiting != 0;
  }
}

static void decide(struct world *w, const struct policy *p) {
  struct policy_vm *who = NULL;
  for (unsigned i = 0; i < w->view.count; i++)
    if (w->view.vm[i].waiting)
      who = &w->view.vm[i];
  if (who && p->pressure)
    p->pressure(&w->view, who, 2 * MIB);
  else if (p->tick)
    p->tick(&w->view);
}

static void follow(struct guest *g, uint64_t target) {
  if (!world_is_asked(g) || target == g->keep)
    return;
  assert_true(target >= g->quota.min && target <= g->quota.max);
  g->turns += g->changes > 0 && g->fell != (target < g->keep);
  g->fell = target < g->keep;
  g->keep = target;
  g->changes++;
}

void world_step(struct world *w, const struct policy *p) {
  for (unsigned i = 0; i < w->count; i++) {
    touch(w, &w->guest[i]);
    move_balloon(w, &w->guest[i]);
  }
  world_show(w);
  decide(w, p);
  for (unsigned i = 0; i < w->view.count; i++)
    follow(&w->guest[w->view.vm[i].id - 1], w->view.vm[i].target);
}

void world_run(struct world *w, const struct policy *p, unsigned steps) {
  for (unsigned i = 0; i < steps; i++)
    world_step(w, p);
}
