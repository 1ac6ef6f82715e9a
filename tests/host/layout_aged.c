/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The aged layouts: a zone is filled nearly to the brim, lives on for a while, and shrinks to its occupancy, all by allocations and
 * frees of orders 0 to 8 that the allocator itself places. Then what is left lies where history put it.
 *
 * The trace: four of five blocks are short lived and go roughly in the order in which they came; the others live until a random end or
 * until the "process" that had allocated them ends, which takes a run of neighbours in time with it. The share of unmovable frames is kept
 * all along. Every throw comes from the layout's seed, so a trace depends on the seed and on what the allocator answers only.
 */
#include "layouts_priv.h"
#include "mm/port.h"
#include <stdlib.h>

#define DEAD (~(uint32_t)0)
#define YOUNG_MAX 8192u /* short-lived blocks at any time */
#define HIGH_TIDE 97u   /* percent */

struct trace {
  struct layout *l;
  uint32_t *young, *old; /* block numbers, or DEAD; old in the order of birth */
  uint32_t young_count, young_at, old_count, old_dead;
  uint32_t *unused; /* numbers of blocks that died */
  uint32_t unused_count;
  uint64_t frames_of[3]; /* by mobility */
};

/* Per 1000 requests: the most for single frames, about as many frames in all for the larger orders. */
static unsigned random_order(struct layout *l) {
  static const unsigned weight[LAYOUT_MAX_ORDER + 1] = {700, 120, 70, 40, 30, 20, 10, 6, 4};
  unsigned order = 0;
  for (uint64_t r = layout_below(l, 1000); r >= weight[order]; order++)
    r -= weight[order];
  return order;
}

static enum layout_mobility random_mobility(struct trace *t, unsigned order) {
  struct layout *l = t->l;
  uint64_t then = l->used + ((uint64_t)1 << order);
  if (t->frames_of[LAYOUT_UNMOVABLE] * 100 < then * l->config.unmovable && order <= 3 && layout_chance(l, l->config.unmovable * 3, 100))
    return LAYOUT_UNMOVABLE;
  if (t->frames_of[LAYOUT_PINNED] * 100 < then * l->config.pinned && order <= 3 && layout_chance(l, l->config.pinned * 3, 100))
    return LAYOUT_PINNED;
  return LAYOUT_MOVABLE;
}

static uint32_t take_number(struct trace *t) {
  return t->unused_count != 0 ? t->unused[--t->unused_count] : t->l->blocks++;
}

/* Close the gaps that deaths have left among the old. */
static void close_ranks(struct trace *t) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < t->old_count; i++) {
    if (t->old[i] != DEAD)
      t->old[n++] = t->old[i];
  }
  t->old_count = n;
  t->old_dead = 0;
}

static void add_old(struct trace *t, uint32_t id) {
  if (t->old_count == t->l->config.frames)
    close_ranks(t);
  t->old[t->old_count++] = id;
}

static bool give_birth(struct trace *t, unsigned order) {
  struct layout *l = t->l;
  enum layout_mobility mobility = random_mobility(t, order);
  alloc_flags_t flags = mobility == LAYOUT_UNMOVABLE ? ALLOC_UNMOVABLE | ALLOC_RETURN_CORE : ALLOC_MOVABLE;
  pfn_t f;
  if (page_alloc(order, flags | ALLOC_ATOMIC, &f) != ERR_OK)
    return false;
  uint32_t id = take_number(t);
  layout_claim(l, id, f, order, mobility);
  t->frames_of[mobility] += (uint64_t)1 << order;
  if (t->young_count < YOUNG_MAX && layout_chance(l, 4, 5))
    t->young[(t->young_at + t->young_count++) % YOUNG_MAX] = id;
  else
    add_old(t, id);
  return true;
}

static void bury(struct trace *t, uint32_t id) {
  struct layout_block *b = &t->l->block[id];
  pfn_t f = pfn_add(t->l->base, b->at);
  frame_of(f)->pins = 0;
  page_free(f, b->order);
  t->l->used -= (uint64_t)1 << b->order;
  t->frames_of[b->mobility] -= (uint64_t)1 << b->order;
  t->unused[t->unused_count++] = id;
}

/* The oldest of the young, more or less. */
static void end_young(struct trace *t) {
  uint32_t *first = &t->young[t->young_at], *other = &t->young[(t->young_at + layout_below(t->l, t->young_count)) % YOUNG_MAX];
  uint32_t id = *other;
  *other = *first;
  t->young_at = (t->young_at + 1) % YOUNG_MAX;
  t->young_count--;
  bury(t, id);
}

/* One of the old, or a run of them, until `target` frames are in use. */
static void end_old(struct trace *t, uint64_t target) {
  uint32_t run = layout_chance(t->l, 1, 64) ? 1u << layout_below(t->l, 12) : 1;
  for (uint32_t i = (uint32_t)layout_below(t->l, t->old_count); i < t->old_count && run != 0 && t->l->used > target; i++) {
    if (t->old[i] == DEAD)
      continue;
    bury(t, t->old[i]);
    t->old[i] = DEAD;
    t->old_dead++;
    run--;
  }
  if (t->old_dead * 2 > t->old_count)
    close_ranks(t);
}

static void end_some(struct trace *t, uint64_t target) {
  if (t->young_count != 0 && (t->old_count == t->old_dead || layout_chance(t->l, 4, 5)))
    end_young(t);
  else
    end_old(t, target);
}

/* `steps` births, each paid for by deaths down to `target`. */
static void live(struct trace *t, uint64_t target, uint64_t steps) {
  while (steps-- != 0) {
    if (!give_birth(t, random_order(t->l)))
      end_some(t, 0);
    while (t->l->used > target)
      end_some(t, target);
  }
}

static void fill_up(struct trace *t, uint64_t target) {
  while (t->l->used < target) {
    if (!give_birth(t, random_order(t->l)) && !give_birth(t, 0))
      port_host_die("a zone that is not full has no frame");
  }
}

static void shrink(struct trace *t, uint64_t target) {
  uint64_t step = t->l->config.frames / 100;
  for (uint64_t level = t->l->used; level > target;) {
    level = level > target + step ? level - step : target;
    while (t->l->used > level)
      end_old(t, level);
    live(t, level, 200);
  }
  while (t->l->used < target && give_birth(t, 0)) {
  }
}

/* Numbers without a block are filled by the last ones, so that 0 .. blocks - 1 are all in use. */
static void renumber(struct trace *t) {
  struct layout *l = t->l;
  for (uint32_t i = 0; i < t->unused_count; i++)
    l->block[t->unused[i]].order = UINT8_MAX;
  for (uint32_t id = 0; id < l->blocks; id++) {
    while (l->blocks > id && l->block[l->blocks - 1].order == UINT8_MAX)
      l->blocks--;
    if (id >= l->blocks || l->block[id].order != UINT8_MAX)
      continue;
    l->block[id] = l->block[--l->blocks];
    if (l->block[id].mobility != LAYOUT_UNMOVABLE)
      frame_of(pfn_add(l->base, l->block[id].at))->rmap = layout_rmap(id);
  }
}

void layout_make_aged(struct layout *l) {
  uint64_t target = l->config.frames * l->config.occupancy / 100, tide = l->config.frames * HIGH_TIDE / 100;
  struct trace t = {.l = l};
  t.young = calloc(YOUNG_MAX, sizeof(*t.young));
  t.old = calloc(l->config.frames, sizeof(*t.old));
  t.unused = calloc(l->config.frames, sizeof(*t.unused));
  tide = tide > target ? tide : target;
  fill_up(&t, tide);
  live(&t, tide, l->config.frames / 4);
  shrink(&t, target);
  renumber(&t);
  free(t.young);
  free(t.old);
  free(t.unused);
}
