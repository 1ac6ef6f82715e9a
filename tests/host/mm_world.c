/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine and the oracle of mm_world.h. */
#include "mm_world.h"
#include <stdlib.h>
#include <string.h>

static unsigned count_ranges(const struct mem_range *r, unsigned max) {
  unsigned n = 0;
  while (n < max && r[n].end.v != 0)
    n++;
  return n;
}

static void paint(struct world *w, const struct mem_range *r, uint8_t what) {
  for (uint64_t f = r->start.v; f < r->end.v; f++) {
    if (f - w->base < w->frames && (what == WORLD_FREE || w->what[f - w->base] == WORLD_FREE))
      w->what[f - w->base] = what;
  }
}

static void count(struct world *w) {
  w->ram = w->reserved = w->free = 0;
  for (uint64_t i = 0; i < w->frames; i++) {
    w->ram += w->what[i] != WORLD_NONE;
    w->reserved += w->what[i] == WORLD_RESERVED;
    w->free += w->what[i] == WORLD_FREE;
  }
}

/* What memory held before: in every entry the head of a single frame that may be freed, the worst that could stand there. */
static void plant(void *table, uint64_t bytes) {
  struct frame *frame = table;
  memset(table, 0xa5, bytes);
  for (uint64_t i = 0; i < bytes / sizeof(*frame); i++)
    frame[i].word = (struct frame){.state = FRAME_CORE, .flags = FRAME_F_HEAD}.word;
}

void world_create(struct world *w, const struct world_config *c) {
  unsigned ram_count = count_ranges(c->ram, 8), reserved_count = count_ranges(c->reserved, 8);
  uint64_t bytes = frame_table_bytes(c->ram, ram_count), end = c->ram[ram_count - 1].end.v;
  uint64_t table = c->table ? c->table : bytes < SZ_1M * 4 ? end + 1024 : end - (bytes >> PAGE_SHIFT);
  struct mem_range reserved[9];
  w->base = c->ram[0].start.v & ~(uint64_t)1023;
  w->frames = end - w->base + 1024;
  uint64_t table_end = table + (bytes >> PAGE_SHIFT) + 1;
  port_host_ram_create(w->base, (table_end > end ? table_end : end) - w->base);
  plant(port_frame_ptr(pfn(table)), bytes);
  memcpy(reserved, c->reserved, sizeof(c->reserved));
  reserved[reserved_count++] = (struct mem_range){pfn(table), pfn(table + (bytes >> PAGE_SHIFT))};
  w->what = calloc(w->frames, 1);
  for (unsigned i = 0; i < ram_count; i++)
    paint(w, &c->ram[i], WORLD_FREE);
  for (unsigned i = 0; i < reserved_count; i++)
    paint(w, &reserved[i], WORLD_RESERVED);
  count(w);
  assert_int_equal(page_alloc_init(c->ram, ram_count, reserved, reserved_count, port_frame_ptr(pfn(table))), ERR_OK);
}

void world_destroy(struct world *w) {
  free(w->what);
  port_host_ram_destroy();
}

bool world_all_free(const struct world *w, pfn_t f, unsigned order) {
  for (uint64_t i = 0; i < (uint64_t)1 << order; i++) {
    if (f.v + i - w->base >= w->frames || w->what[f.v + i - w->base] != WORLD_FREE)
      return false;
  }
  return true;
}

void world_note_alloc(struct world *w, pfn_t f, unsigned order) {
  assert_true((f.v & (((uint64_t)1 << order) - 1)) == 0);
  assert_true(world_all_free(w, f, order));
  memset(&w->what[f.v - w->base], WORLD_USED, (size_t)1 << order);
  w->free -= (uint64_t)1 << order;
}

void world_note_free(struct world *w, pfn_t f, unsigned order) {
  for (uint64_t i = 0; i < (uint64_t)1 << order; i++) {
    assert_int_equal(w->what[f.v + i - w->base], WORLD_USED);
    w->what[f.v + i - w->base] = WORLD_FREE;
  }
  w->free += (uint64_t)1 << order;
}

/* Order of the largest naturally aligned, wholly free block that holds `f`. */
static unsigned largest_free(const struct world *w, uint64_t f) {
  unsigned order = 0;
  while (order < MAX_ORDER && world_all_free(w, pfn(f & ~(((uint64_t)2 << order) - 1)), order + 1))
    order++;
  return order;
}

static void audit_free(const struct world *w, uint64_t f, bool drained) {
  struct frame_info info;
  frame_describe(pfn(f), &info);
  if (drained)
    assert_int_equal(info.state, FRAME_FREE);
  else
    assert_true(info.state == FRAME_FREE || (info.state == FRAME_CACHED && (frame_of(info.head)->flags & FRAME_F_PERCPU)) ||
                info.state == FRAME_ZEROED);
  if (pfn_is_none(info.head))
    return; /* in a chunk never opened */
  assert_true(info.head.v <= f && f < info.head.v + ((uint64_t)1 << info.order));
  if (f != info.head.v)
    return; /* what follows is asked once for each block: its head is seen too, as free or as an error */
  assert_true(world_all_free(w, info.head, info.order));
  if (drained)
    assert_int_equal(info.order, largest_free(w, info.head.v));
}

static void audit_frames(const struct world *w, bool drained) {
  for (uint64_t f = w->base; f < w->base + w->frames; f++) {
    enum frame_state state = frame_state(pfn(f));
    switch (w->what[f - w->base]) {
    case WORLD_FREE:
      audit_free(w, f, drained);
      break;
    case WORLD_USED:
      assert_true(state >= FRAME_CACHED);
      break;
    default:
      assert_int_equal(state, FRAME_RESERVED);
    }
  }
}

static void audit_zones(const struct world *w, bool drained) {
  uint64_t free = 0, cached = 0, managed = 0;
  struct buddyinfo info;
  for (unsigned zone = 0; page_buddyinfo(zone, &info); zone++) {
    uint64_t in_lists = 0, of_types = 0;
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
      in_lists += info.free_blocks[order] << order;
      for (unsigned type = 0; type < MIGRATE_TYPES; type++)
        of_types += info.free_blocks_of_type[type][order] << order;
    }
    assert_int_equal(in_lists, of_types);
    assert_int_equal(in_lists + info.unopened_frames, info.free_frames);
    free += info.free_frames;
    cached += info.cached_frames;
    managed += info.managed_frames;
  }
  assert_int_equal(managed, w->ram - w->reserved);
  assert_int_equal(free + cached + page_zero_pool_frames(), w->free);
  assert_int_equal(page_free_frames(), w->free);
  if (drained)
    assert_int_equal(cached, 0);
}

static void audit_ledger(const struct world *w) {
  struct ledger l, owner, sum = {0};
  uint64_t total = 0, want[FRAME_STATES] = {0};
  ledger_read(&l);
  for (uint64_t f = w->base; f < w->base + w->frames; f++)
    want[frame_state(pfn(f))] += w->what[f - w->base] != WORLD_NONE;
  for (unsigned s = 0; s < FRAME_STATES; s++) {
    assert_int_equal(l.frames[s], want[s]);
    total += l.frames[s];
  }
  for (owner_t o = 0; o < OWNERS_MAX; o++) {
    ledger_read_owner(o, &owner);
    for (unsigned s = 0; s < FRAME_STATES; s++)
      sum.frames[s] += owner.frames[s];
  }
  assert_memory_equal(&sum, &l, sizeof(l));
  assert_int_equal(total, ledger_total());
  assert_int_equal(total, w->ram);
}

/* Frames of each pageblock that are in the buddy, counted one by one. */
static void audit_pageblocks(const struct world *w) {
  for (uint64_t pb = w->base; pb < w->base + w->frames - 1024; pb += PAGEBLOCK_FRAMES) {
    unsigned free = 0;
    for (uint64_t f = pb; f < pb + PAGEBLOCK_FRAMES; f++)
      free += frame_state(pfn(f)) == FRAME_FREE;
    assert_int_equal(page_block_free(pfn(pb)), free);
  }
}

void world_audit(const struct world *w, bool drained) {
  audit_zones(w, drained);
  audit_frames(w, drained);
  audit_pageblocks(w);
  audit_ledger(w);
}
