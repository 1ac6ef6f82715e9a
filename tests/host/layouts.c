/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The layouts of layouts.h: the zone, the placed kinds, and the owner that lets its blocks be moved. (The aged kind: alloc_trace.c.)
 *
 * Unmovable frames of the placed kinds lie together, a quarter of the frames of some pageblocks, as they do where an allocator groups
 * them by type; one in every pageblock would leave nothing to compact. Only the control spreads them evenly.
 *
 * Invariants: a block's entry names its place and order at any time outside freeze..thaw; a frame's tag is tag_of() of its block and its
 * distance from the block's start. Refuses a move of what is not, or no longer, what the core believes (ERR_NOENT).
 */
#include "layouts.h"
#include "alloc_trace.h"
#include "host_zone.h"
#include <stdlib.h>
#include <string.h>

#define RMAP_SHIFT 22 /* a logical address per block, room for the largest */
#define NOBODY (~(uint32_t)0)

static struct layout *current;

const char *layout_kind_name(enum layout_kind kind) {
  static const char *const names[LAYOUT_KINDS + 1] = {"bimodal", "clustered", "aged", "uniform", "empty"};
  return kind <= LAYOUT_EMPTY ? names[kind] : "?";
}

uint64_t layout_random(struct layout *l) {
  l->random ^= l->random >> 12;
  l->random ^= l->random << 25;
  l->random ^= l->random >> 27;
  return l->random * 0x2545f4914f6cdd1dull;
}

uint64_t layout_below(struct layout *l, uint64_t bound) {
  return (layout_random(l) >> 32) * bound >> 32;
}

bool layout_chance(struct layout *l, uint64_t part, uint64_t of) {
  return layout_below(l, of) < part;
}

/* --- what a block holds -------------------------------------------------------------------------------------------------------- */

static uint32_t tag_of(uint32_t id, uint64_t distance) {
  return (uint32_t)(((uint64_t)id * 1024 + distance + 1) * 0x9e3779b97f4a7c15ull >> 32);
}

static uint64_t rmap_of(uint32_t id) {
  return (uint64_t)id << RMAP_SHIFT;
}

uint32_t layout_add(struct layout *l, pfn_t f, unsigned order, enum layout_mobility mobility) {
  uint32_t id = l->unused_count != 0 ? l->unused[--l->unused_count] : l->blocks++;
  uint32_t at = (uint32_t)(f.v - l->base.v);
  l->block[id] = (struct layout_block){at, (uint8_t)order, (uint8_t)mobility};
  l->used += (uint64_t)1 << order;
  l->frames_of[mobility] += (uint64_t)1 << order;
  for (uint64_t i = 0; i < (uint64_t)1 << order; i++)
    l->tag[at + i] = tag_of(id, i);
  if (mobility != LAYOUT_UNMOVABLE)
    frame_set_state(f, order, FRAME_OWNED, LAYOUT_OWNER, rmap_of(id));
  if (mobility == LAYOUT_PINNED)
    frame_of(f)->pins = 1;
  return id;
}

void layout_remove(struct layout *l, uint32_t id) {
  struct layout_block *b = &l->block[id];
  pfn_t f = pfn_add(l->base, b->at);
  l->used -= (uint64_t)1 << b->order;
  l->frames_of[b->mobility] -= (uint64_t)1 << b->order;
  if (b->mobility == LAYOUT_PINNED)
    frame_of(f)->pins = 0;
  b->mobility = LAYOUT_NO_BLOCK;
  l->unused[l->unused_count++] = id;
  page_free(f, b->order);
}

/* --- the owner ----------------------------------------------------------------------------------------------------------------- */

static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  uint64_t id = rmap >> RMAP_SHIFT;
  if (owner != LAYOUT_OWNER || id >= current->blocks || rmap != rmap_of((uint32_t)id))
    return ERR_NOENT;
  const struct layout_block *b = &current->block[id];
  if (current->base.v + b->at != from.v || b->order != order)
    return ERR_NOENT;
  if (b->mobility != LAYOUT_MOVABLE || current->frozen != NOBODY)
    port_host_die("a block that must not move, or two at once");
  current->frozen = (uint32_t)id;
  return ERR_OK;
}

static void move(pfn_t from, pfn_t to, unsigned order) {
  struct layout *l = current;
  uint32_t a = (uint32_t)(from.v - l->base.v), b = (uint32_t)(to.v - l->base.v);
  if (l->frozen == NOBODY || l->block[l->frozen].at != a || l->block[l->frozen].order != order)
    port_host_die("a move of what was not frozen");
  memcpy(&l->tag[b], &l->tag[a], sizeof(*l->tag) << order);
  memset(&l->tag[a], 0, sizeof(*l->tag) << order);
  l->block[l->frozen].at = b;
  l->moved_frames += (uint64_t)1 << order;
  l->moved_blocks++;
}

static void thaw(pfn_t at, unsigned order, owner_t owner) {
  const struct layout_block *b = &current->block[current->frozen];
  if (current->base.v + b->at != at.v || b->order != order || owner != LAYOUT_OWNER)
    port_host_die("a thaw of another block than was frozen");
  current->frozen = NOBODY;
}

static const struct migrate_ops ops = {.freeze = freeze, .move = move, .thaw = thaw};

const struct migrate_ops *layout_migrate_ops(void) {
  return &ops;
}

/* --- placed kinds -------------------------------------------------------------------------------------------------------------- */

struct painter {
  struct layout *l;
  uint8_t *what; /* per frame: 0 free, else 1 + enum layout_mobility */
};

static void paint_pageblock(struct painter *p, uint64_t first, uint64_t used_of_1000) {
  for (uint64_t i = first; i < first + PAGEBLOCK_FRAMES; i++)
    p->what[i] = layout_chance(p->l, used_of_1000, 1000) ? 1 + LAYOUT_MOVABLE : 0;
}

static void paint_bimodal(struct painter *p) {
  uint64_t occupancy = p->l->config.occupancy * 10;
  for (uint64_t first = 0; first < p->l->config.frames; first += PAGEBLOCK_FRAMES) {
    bool dense = layout_chance(p->l, occupancy - 80, 970 - 80); /* means of the two kinds: 97 and 8 percent */
    paint_pageblock(p, first, dense ? 940 + layout_below(p->l, 61) : 20 + layout_below(p->l, 121));
  }
}

/* From 1 to 8191 frames, each power of two as likely as the next. */
static uint64_t run_length(struct layout *l) {
  uint64_t scale = (uint64_t)1 << layout_below(l, 13);
  return scale + layout_below(l, scale);
}

static void paint_clustered(struct painter *p) {
  uint64_t frames = p->l->config.frames, percent = p->l->config.occupancy, at = 0;
  while (at < frames) {
    uint64_t used = run_length(p->l) * percent / 50, hole = run_length(p->l) * (100 - percent) / 50;
    for (uint64_t i = 0; i < used && at < frames; i++)
      p->what[at++] = 1 + LAYOUT_MOVABLE;
    at += hole;
  }
}

static void paint_uniform(struct painter *p) {
  for (uint64_t first = 0; first < p->l->config.frames; first += PAGEBLOCK_FRAMES)
    paint_pageblock(p, first, p->l->config.occupancy * 10);
}

static uint64_t count_used(const struct painter *p) {
  uint64_t have = 0;
  for (uint64_t i = 0; i < p->l->config.frames; i++)
    have += p->what[i] != 0;
  return have;
}

/* The throws give roughly the occupancy; a few more runs (for the control: single frames) make it exact. */
static void correct(struct painter *p) {
  uint64_t frames = p->l->config.frames, want = frames * p->l->config.occupancy / 100, have = count_used(p);
  uint8_t more = have < want;
  while (have != want) {
    uint64_t at = layout_below(p->l, frames), run = p->l->config.kind == LAYOUT_UNIFORM ? 1 : run_length(p->l);
    for (; run != 0 && at < frames && have != want; run--, at++) {
      have += p->what[at] == more ? 0 : more ? 1 : -(uint64_t)1;
      p->what[at] = more;
    }
  }
}

/* Frames that do not move: a quarter of those used in some pageblocks, or for the control of all frames alike. */
static void spoil(struct painter *p, unsigned percent, enum layout_mobility mobility) {
  bool even = p->l->config.kind == LAYOUT_UNIFORM;
  for (uint64_t first = 0; first < p->l->config.frames; first += PAGEBLOCK_FRAMES) {
    if (!even && !layout_chance(p->l, percent * 4, 100))
      continue;
    for (uint64_t i = first; i < first + PAGEBLOCK_FRAMES; i++) {
      if (p->what[i] != 0 && layout_chance(p->l, even ? percent : 25, 100))
        p->what[i] = (uint8_t)(1 + mobility);
    }
  }
}

static void place(struct painter *p) {
  struct layout *l = p->l;
  for (uint64_t i = 0; i < l->config.frames; i++) {
    if (p->what[i] == 0)
      continue;
    enum layout_mobility mobility = (enum layout_mobility)(p->what[i] - 1);
    alloc_flags_t flags = mobility == LAYOUT_UNMOVABLE ? ALLOC_UNMOVABLE | ALLOC_RETURN_CORE : ALLOC_MOVABLE;
    if (page_alloc_at(pfn_add(l->base, i), 0, flags | ALLOC_ATOMIC) != ERR_OK)
      port_host_die("a layout's frame is not to be had");
    layout_add(l, pfn_add(l->base, i), 0, mobility);
  }
}

static void make_placed(struct layout *l) {
  static void (*const paint[LAYOUT_KINDS])(struct painter *) = {paint_bimodal, paint_clustered, NULL, paint_uniform};
  struct painter p = {.l = l, .what = calloc(l->config.frames, 1)};
  paint[l->config.kind](&p);
  correct(&p);
  spoil(&p, l->config.unmovable, LAYOUT_UNMOVABLE);
  spoil(&p, l->config.pinned, LAYOUT_PINNED);
  place(&p);
  free(p.what);
}

/* --- whole layouts ------------------------------------------------------------------------------------------------------------- */

static void make_aged(struct layout *l) {
  struct alloc_trace t;
  alloc_trace_create(&t, l, &alloc_trace_of_pages);
  alloc_trace_age(&t);
  alloc_trace_destroy(&t);
}

void layout_create(struct layout *l, const struct layout_config *config) {
  *l = (struct layout){.config = *config, .frozen = NOBODY};
  l->random = config->seed * 0x9e3779b97f4a7c15ull + config->kind * 977 + config->occupancy * 31 + config->unmovable + 1;
  l->block = calloc(config->frames, sizeof(*l->block));
  l->unused = calloc(config->frames, sizeof(*l->unused));
  l->tag = calloc(config->frames, sizeof(*l->tag));
  for (unsigned i = 0; i < 8; i++)
    layout_random(l);
  l->base = host_zone_create(config->frames);
  current = l;
  migrate_set_ops(&ops);
  if (config->kind == LAYOUT_AGED)
    make_aged(l);
  else if (config->kind != LAYOUT_EMPTY)
    make_placed(l);
  page_drain_local();
}

void layout_destroy(struct layout *l) {
  port_host_ram_destroy();
  free(l->block);
  free(l->unused);
  free(l->tag);
  current = NULL;
}

/* --- looking at them ----------------------------------------------------------------------------------------------------------- */

static const char *verify_block(const struct layout *l, uint32_t id, uint8_t *seen) {
  const struct layout_block *b = &l->block[id];
  struct frame_info info;
  pfn_t f = pfn_add(l->base, b->at);
  if ((b->at & ((1u << b->order) - 1)) != 0 || b->at + (1u << b->order) > l->config.frames)
    return "a block is not aligned or outside the zone";
  for (uint64_t i = 0; i < (uint64_t)1 << b->order; i++) {
    if (seen[b->at + i]++)
      return "a frame is in two blocks";
    if (l->tag[b->at + i] != tag_of(id, i))
      return "contents were lost";
  }
  frame_describe(f, &info);
  if (!pfn_eq(info.head, f) || info.order != b->order || info.pins != (b->mobility == LAYOUT_PINNED))
    return "an entry has another order or pins than its block";
  if (info.state != (b->mobility == LAYOUT_UNMOVABLE ? FRAME_CORE : FRAME_OWNED))
    return "an entry is in the wrong state";
  if (b->mobility != LAYOUT_UNMOVABLE && (info.owner != LAYOUT_OWNER || info.rmap != rmap_of(id)))
    return "an entry has lost its owner or reverse mapping";
  return NULL;
}

static const char *verify_free(const struct layout *l, const uint8_t *seen) {
  for (uint64_t i = 0; i < l->config.frames; i++) {
    if (!seen[i] && frame_state(pfn_add(l->base, i)) != FRAME_FREE)
      return "a frame that nobody has is not free";
  }
  return page_free_frames() + l->used == l->config.frames ? NULL : "free frames and used ones do not sum to the zone";
}

const char *layout_verify(const struct layout *l) {
  uint8_t *seen = calloc(l->config.frames, 1);
  const char *wrong = l->frozen == NOBODY ? NULL : "a block is still frozen";
  for (uint32_t id = 0; id < l->blocks && !wrong; id++)
    wrong = l->block[id].mobility == LAYOUT_NO_BLOCK ? NULL : verify_block(l, id, seen);
  if (!wrong)
    wrong = verify_free(l, seen);
  free(seen);
  return wrong;
}

void layout_describe(const struct layout *l, struct layout_pageblock *out) {
  for (uint32_t id = 0; id < l->blocks; id++) {
    const struct layout_block *b = &l->block[id];
    for (uint64_t left = (uint64_t)1 << b->order, at = b->at; b->mobility != LAYOUT_NO_BLOCK && left != 0;) {
      uint64_t here = left < PAGEBLOCK_FRAMES ? left : PAGEBLOCK_FRAMES;
      out[at / PAGEBLOCK_FRAMES].used += (uint16_t)here;
      out[at / PAGEBLOCK_FRAMES].unmovable += b->mobility == LAYOUT_MOVABLE ? 0 : (uint16_t)here;
      left -= here;
      at += here;
    }
  }
}

unsigned layout_free_pageblocks(const struct layout *l) {
  unsigned count = (unsigned)(l->config.frames / PAGEBLOCK_FRAMES), free_ones = 0;
  struct layout_pageblock *pb = calloc(count, sizeof(*pb));
  layout_describe(l, pb);
  for (unsigned i = 0; i < count; i++)
    free_ones += pb[i].used == 0;
  free(pb);
  return free_ones;
}
