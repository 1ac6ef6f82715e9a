/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory core under any string of operations: allocations, frees, placements, pins, drains, and among them runs of compaction and
 * contiguous ranges, step by step, with an owner that may refuse. mm_world.h holds what the core says of itself against a byte per
 * frame; the owner holds each block's place and a tag in each of its frames.
 *
 *     operation  operand  (operand)
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c mm/ mm/lib/format.c
// libs: -lcmocka
#include "mm/compact.h"
#include "mm/migrate.h"
#include "mm_world.h"
#include <stdlib.h>
#include <string.h>

enum {
  HELD_MAX = 256,
  RMAP_SHIFT = 22,
  OWNER = 3,
  BASE = 0x40000,
};

struct held {
  pfn_t at;
  uint8_t order;
  bool used, owned, pinned;
};

struct input {
  const uint8_t *at, *end;
};

static const struct world_config map = {"fuzz", {{{BASE}, {BASE + F(8) + 37}}}, {{{BASE + 700}, {BASE + 705}}}, 0};
static struct world w;
static struct held held[HELD_MAX];
static struct compact_run run;
static bool running;
static uint8_t busy, never; /* numbers with all these bits set are refused */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t next(struct input *in) {
  return in->at < in->end ? *in->at++ : 0;
}

/* --- contents ------------------------------------------------------------------------------------------------------------------ */

static uint64_t tag_of(unsigned id, uint64_t distance) {
  return (id + 1) * 0x9e3779b97f4a7c15ull ^ distance;
}

static uint64_t *word_of(pfn_t f, uint64_t distance) {
  return port_frame_ptr(pfn_add(f, distance));
}

static void fill(unsigned id) {
  for (uint64_t i = 0; i < (uint64_t)1 << held[id].order; i++)
    *word_of(held[id].at, i) = tag_of(id, i);
}

static void check(unsigned id) {
  const struct held *h = &held[id];
  const struct frame *f = frame_of(h->at);
  assert_int_equal(f->state, h->owned ? FRAME_OWNED : FRAME_CORE);
  assert_int_equal(f->order, h->order);
  assert_int_equal(f->pins, h->pinned);
  if (h->owned)
    assert_int_equal(f->rmap, (uint64_t)id << RMAP_SHIFT);
  for (uint64_t i = 0; i < (uint64_t)1 << h->order; i++)
    assert_int_equal(*word_of(h->at, i), tag_of(id, i));
}

/* --- the owner ----------------------------------------------------------------------------------------------------------------- */

static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  uint64_t id = rmap >> RMAP_SHIFT;
  if (owner != OWNER || id >= HELD_MAX || !held[id].used || !held[id].owned || !pfn_eq(held[id].at, from) || held[id].order != order)
    return ERR_NOENT;
  assert_false(held[id].pinned);
  if (never != 0 && (id & never) == never)
    return ERR_PERM;
  return busy != 0 && (id & busy) == busy ? ERR_BUSY : ERR_OK;
}

static void move(pfn_t from, pfn_t to, unsigned order) {
  unsigned id = (unsigned)(frame_of(to)->rmap >> RMAP_SHIFT);
  assert_true(pfn_eq(held[id].at, from) && held[id].order == order);
  world_note_alloc(&w, to, order);
  world_note_free(&w, from, order);
  for (uint64_t i = 0; i < (uint64_t)1 << order; i++) {
    *word_of(to, i) = *word_of(from, i);
    *word_of(from, i) = 0;
  }
  held[id].at = to;
}

static void thaw(pfn_t at, unsigned order, owner_t owner) {
  assert_true(frame_of(at)->order == order && owner == OWNER);
}

static const struct migrate_ops ops = {.freeze = freeze, .move = move, .thaw = thaw};

/* --- operations ---------------------------------------------------------------------------------------------------------------- */

static void keep(unsigned id, pfn_t f, unsigned order, bool owned) {
  world_note_alloc(&w, f, order);
  held[id] = (struct held){.at = f, .order = (uint8_t)order, .used = true, .owned = owned};
  fill(id);
}

static void drop(unsigned id) {
  check(id);
  frame_of(held[id].at)->pins = 0;
  page_free(held[id].at, held[id].order);
  world_note_free(&w, held[id].at, held[id].order);
  held[id].used = false;
}

static void do_alloc(unsigned id, uint8_t what) {
  unsigned order = what % (MAX_ORDER + 1);
  bool owned = what < 200;
  err_t err;
  pfn_t f;
  if (held[id].used)
    drop(id);
  if (owned)
    err = page_alloc_owned(order, ALLOC_MOVABLE | ALLOC_ATOMIC, OWNER, (uint64_t)id << RMAP_SHIFT, &f);
  else
    err = page_alloc(order, (what & 1 ? ALLOC_RECLAIMABLE : ALLOC_UNMOVABLE) | ALLOC_RETURN_CORE, &f);
  if (err == ERR_OK)
    keep(id, f, order, owned);
  else
    assert_int_equal(err, ERR_NOMEM);
}

static void do_alloc_at(unsigned id, uint8_t where, uint8_t what) {
  unsigned order = what % 4;
  pfn_t f = pfn(BASE + (((uint64_t)where << 4 | what >> 4) & ~(((uint64_t)1 << order) - 1)));
  if (held[id].used || page_alloc_at(f, order, ALLOC_MOVABLE | ALLOC_ATOMIC) != ERR_OK)
    return;
  frame_set_state(f, order, FRAME_OWNED, OWNER, (uint64_t)id << RMAP_SHIFT);
  keep(id, f, order, true);
}

static void do_pin(unsigned id) {
  if (!held[id].used || !held[id].owned)
    return;
  held[id].pinned = !held[id].pinned;
  frame_of(held[id].at)->pins = held[id].pinned;
}

static void end_run(void) {
  if (running)
    compact_end(&run);
  running = false;
}

static void do_begin(uint8_t what) {
  struct compact_request request = {
      .policy = what & 1 ? &compact_classic : &compact_occupancy,
      .mode = (enum compact_mode)((what >> 1) % 3),
      .order = PAGEBLOCK_ORDER,
      .owner = what & 0x40 ? OWNER : COMPACT_ANY_OWNER,
      .target_score = what >> 3 & 7,
  };
  if (request.mode == COMPACT_ASYNC)
    request.order = 1 + (what >> 3) % MAX_ORDER;
  end_run();
  running = compact_begin(&run, &request) == ERR_OK;
}

static void do_step(uint8_t moves) {
  if (running && compact_step(&run, 1 + moves) != ERR_AGAIN)
    end_run();
}

static void do_contig(uint8_t what, uint8_t steps) {
  struct contig_run contig;
  uint64_t frames = (1 + what % 3) * PAGEBLOCK_FRAMES;
  err_t err;
  end_run();
  if (contig_begin(&contig, frames, PAGEBLOCK_FRAMES << (what >> 2 & 1), pfn(BASE), pfn(BASE + F(8))) != ERR_OK)
    return;
  do
    err = contig_step(&contig, 1 + what);
  while (err == ERR_AGAIN && steps-- != 0);
  if (err == ERR_AGAIN)
    contig_cancel(&contig);
  if (err != ERR_OK)
    return;
  for (uint64_t i = 0; i < frames; i += PAGEBLOCK_FRAMES)
    world_note_alloc(&w, pfn_add(contig.start, i), PAGEBLOCK_ORDER);
  contig_free(contig.start, frames);
  for (uint64_t i = 0; i < frames; i += PAGEBLOCK_FRAMES)
    world_note_free(&w, pfn_add(contig.start, i), PAGEBLOCK_ORDER);
}

static void audit(bool drained) {
  end_run();
  if (drained)
    page_drain_local();
  world_audit(&w, drained);
}

static void do_one(struct input *in) {
  uint8_t what = next(in), id = next(in), operand;
  switch (what % 16) {
  case 0:
    operand = next(in);
    do_alloc_at(id, operand, next(in));
    break;
  case 1:
    do_pin(id);
    break;
  case 2:
    do_begin(id);
    break;
  case 3:
  case 4:
    do_step(id);
    break;
  case 5:
    do_contig(id, next(in));
    break;
  case 6:
    busy = id;
    never = next(in);
    break;
  case 7:
    if (id < 16) /* it costs as much as a hundred others */
      audit(id & 1);
    break;
  case 8:
  case 9:
  case 10:
  case 11:
    if (held[id].used)
      drop(id);
    break;
  default:
    do_alloc(id, next(in));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, data + size};
  world_create(&w, &map);
  migrate_set_ops(&ops);
  memset(held, 0, sizeof(held));
  busy = never = 0;
  while (in.at < in.end)
    do_one(&in);
  audit(true);
  for (unsigned id = 0; id < HELD_MAX; id++) {
    if (held[id].used)
      drop(id);
  }
  audit(true);
  assert_int_equal(page_free_frames(), w.ram - w.reserved);
  world_destroy(&w);
  return 0;
}
