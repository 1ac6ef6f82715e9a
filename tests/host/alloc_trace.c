/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The traces of alloc_trace.h. Blocks belong to the layout's owner, so that they can be moved while the trace goes on: a trace knows its
 * blocks by their numbers, never by place.
 *
 * The counts of unmovable frames by pageblock are kept here, by what the allocator answered, and nothing is asked of it.
 */
#include "alloc_trace.h"
#include "mm/port.h"
#include <stdlib.h>

#define DEAD (~(uint32_t)0)
#define YOUNG_MAX 8192u /* short-lived blocks at any time */
#define HIGH_TIDE 97u   /* percent */

const struct alloc_trace_mix alloc_trace_of_pages = {
    .order_weight = {70000, 12000, 7000, 4000, 3000, 2000, 1000, 600, 400}, .unmovable_max_order = 3, .runs = 16};

void alloc_trace_create(struct alloc_trace *t, struct layout *l, const struct alloc_trace_mix *mix) {
  *t = (struct alloc_trace){.l = l, .mix = mix};
  t->young = calloc(YOUNG_MAX, sizeof(*t->young));
  t->old = calloc(l->config.frames, sizeof(*t->old));
  t->unmovable_in = calloc(l->config.frames / PAGEBLOCK_FRAMES, sizeof(*t->unmovable_in));
}

void alloc_trace_destroy(struct alloc_trace *t) {
  free(t->young);
  free(t->old);
  free(t->unmovable_in);
}

/* --- births -------------------------------------------------------------------------------------------------------------------- */

static unsigned random_order(struct alloc_trace *t) {
  unsigned order = 0;
  for (uint64_t r = layout_below(t->l, 100000); order < MAX_ORDER && r >= t->mix->order_weight[order]; order++)
    r -= t->mix->order_weight[order];
  return order;
}

static bool is_short_of(struct alloc_trace *t, enum layout_mobility mobility, unsigned percent, uint64_t used_then) {
  return t->l->frames_of[mobility] * 100 < used_then * percent && layout_chance(t->l, percent * 3, 100);
}

static enum layout_mobility random_mobility(struct alloc_trace *t, unsigned order) {
  uint64_t then = t->l->used + ((uint64_t)1 << order);
  if (order > t->mix->unmovable_max_order)
    return LAYOUT_MOVABLE;
  if (is_short_of(t, LAYOUT_UNMOVABLE, t->l->config.unmovable, then))
    return LAYOUT_UNMOVABLE;
  return is_short_of(t, LAYOUT_PINNED, t->l->config.pinned, then) ? LAYOUT_PINNED : LAYOUT_MOVABLE;
}

/* The block's unmovable frames come (sign 1) or go (-1). */
static void note_unmovable(struct alloc_trace *t, uint32_t id, int sign) {
  const struct layout_block *b = &t->l->block[id];
  for (uint64_t left = (uint64_t)1 << b->order, at = b->at; left != 0;) {
    uint64_t here = left < PAGEBLOCK_FRAMES ? left : PAGEBLOCK_FRAMES;
    uint16_t *count = &t->unmovable_in[at / PAGEBLOCK_FRAMES];
    t->polluted -= *count != 0;
    *count = (uint16_t)(*count + sign * (int)here);
    t->polluted += *count != 0;
    left -= here;
    at += here;
  }
  if (t->l->frames_of[LAYOUT_UNMOVABLE] > t->peak_unmovable) {
    t->peak_unmovable = t->l->frames_of[LAYOUT_UNMOVABLE];
    t->polluted_at_peak = t->polluted;
  }
}

static bool allocate(struct alloc_trace *t, unsigned order, alloc_flags_t flags, pfn_t *out) {
  t->counts.operations++;
  t->counts.asked[order]++;
  if (page_alloc(order, flags, out) == ERR_OK) {
    t->counts.at_once[order]++;
    return true;
  }
  if (!t->help || !t->help(order) || page_alloc(order, flags, out) != ERR_OK)
    return false;
  t->counts.after_help[order]++;
  return true;
}

/* Close the gaps that deaths have left among the old. */
static void close_ranks(struct alloc_trace *t) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < t->old_count; i++) {
    if (t->old[i] != DEAD)
      t->old[n++] = t->old[i];
  }
  t->old_count = n;
  t->old_dead = 0;
}

static void add_old(struct alloc_trace *t, uint32_t id) {
  if (t->old_count == t->l->config.frames)
    close_ranks(t);
  t->old[t->old_count++] = id;
}

static bool give_birth(struct alloc_trace *t, unsigned order) {
  enum layout_mobility mobility = random_mobility(t, order);
  alloc_flags_t flags = mobility == LAYOUT_UNMOVABLE ? ALLOC_UNMOVABLE | ALLOC_RETURN_CORE : ALLOC_MOVABLE;
  pfn_t f;
  if (!allocate(t, order, flags | ALLOC_ATOMIC, &f))
    return false;
  uint32_t id = layout_add(t->l, f, order, mobility);
  if (mobility == LAYOUT_UNMOVABLE)
    note_unmovable(t, id, 1);
  if (t->young_count < YOUNG_MAX && layout_chance(t->l, 4, 5))
    t->young[(t->young_at + t->young_count++) % YOUNG_MAX] = id;
  else
    add_old(t, id);
  return true;
}

/* --- deaths -------------------------------------------------------------------------------------------------------------------- */

static void bury(struct alloc_trace *t, uint32_t id) {
  bool unmovable = t->l->block[id].mobility == LAYOUT_UNMOVABLE;
  t->counts.operations++;
  layout_remove(t->l, id); /* its place and order stay legible until the number is used again */
  if (unmovable)
    note_unmovable(t, id, -1);
}

/* The oldest of the young, more or less. */
static void end_young(struct alloc_trace *t) {
  uint32_t *first = &t->young[t->young_at], *other = &t->young[(t->young_at + layout_below(t->l, t->young_count)) % YOUNG_MAX];
  uint32_t id = *other;
  *other = *first;
  t->young_at = (t->young_at + 1) % YOUNG_MAX;
  t->young_count--;
  bury(t, id);
}

/* One of the old, or a run of them, until `target` frames are in use. */
static void end_old(struct alloc_trace *t, uint64_t target) {
  uint32_t run = layout_chance(t->l, t->mix->runs, 1024) ? 1u << layout_below(t->l, 12) : 1;
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

static void end_some(struct alloc_trace *t, uint64_t target) {
  if (t->young_count != 0 && (t->old_count == t->old_dead || layout_chance(t->l, 4, 5)))
    end_young(t);
  else
    end_old(t, target);
}

/* --- lives --------------------------------------------------------------------------------------------------------------------- */

void alloc_trace_grow(struct alloc_trace *t, uint64_t target) {
  while (t->l->used < target) {
    if (!give_birth(t, random_order(t)) && !give_birth(t, 0))
      port_host_die("a zone that is not full has no frame");
  }
}

void alloc_trace_live(struct alloc_trace *t, uint64_t target, uint64_t steps) {
  while (steps-- != 0) {
    if (!give_birth(t, random_order(t)))
      end_some(t, 0);
    while (t->l->used > target)
      end_some(t, target);
  }
}

void alloc_trace_shrink(struct alloc_trace *t, uint64_t target) {
  uint64_t step = t->l->config.frames / 100;
  for (uint64_t level = t->l->used; level > target;) {
    level = level > target + step ? level - step : target;
    while (t->l->used > level && t->old_count != t->old_dead)
      end_old(t, level);
    alloc_trace_live(t, level, 200);
  }
}

void alloc_trace_age(struct alloc_trace *t) {
  uint64_t frames = t->l->config.frames, target = frames * t->l->config.occupancy / 100, tide = frames * HIGH_TIDE / 100;
  alloc_trace_grow(t, tide > target ? tide : target);
  alloc_trace_live(t, tide > target ? tide : target, frames / 4);
  alloc_trace_shrink(t, target);
  while (t->l->used < target && give_birth(t, 0)) {
  }
}
