/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Zones: built from the map of RAM less what is reserved, the nodes they belong to, and the types of their pageblocks.
 *
 * A zone is a bank of RAM; banks that share a 4 MiB chunk are one zone, so a block never belongs to two. Set-up writes eight bytes per
 * pageblock: those wholly free stay unopened (fallback.c opens them when they are first needed), and only those that are partly
 * reserved, at most two per reserved range, get their entries and free blocks at once. So boot costs the same whatever the size of RAM.
 *
 * Memory of the frame table: struct frame per frame of [base, base + frame_count). The pageblocks lie in those entries that would describe
 * the table's own frames: reserved for good, in pageblocks of kind NONE, they are never looked at. Only a table too small to be sure
 * of a whole pageblock of its own has them behind it.
 *
 *    table                pageblock P (2 MiB)                    end
 *     |........|xxxxxxxxxxxxxxxxxxxxxxxxxxxx|.....................|       x: frames of the table that fill whole pageblocks
 *     |  |pppppppp|...............................................|       p: their entries, 16 KiB for each
 */
#include "mm/zone.h"
#include "core/string.h"

struct zone zones[ZONES_MAX];
unsigned zone_count;
uint8_t zone_order[NODES_MAX][ZONES_MAX + 1];

/* --- the map ------------------------------------------------------------------------------------------------------------------- */

struct span {
  uint64_t base, end; /* frame numbers, chunk-aligned outwards */
};

static err_t measure(const struct mem_range *ram, unsigned count, struct span *out) {
  if (count == 0)
    return ERR_INVAL;
  if (count > RAM_RANGES_MAX)
    return ERR_NOSPC;
  for (unsigned i = 0; i < count; i++) {
    if (ram[i].start.v >= ram[i].end.v || (i != 0 && ram[i].start.v < ram[i - 1].end.v))
      return ERR_INVAL;
  }
  out->base = align_down(ram[0].start.v, CHUNK_FRAMES);
  out->end = align_up(ram[count - 1].end.v, CHUNK_FRAMES);
  return out->end - out->base <= UINT32_MAX - CHUNK_FRAMES ? ERR_OK : ERR_NOSPC;
}

/*
 * A table of at least 4 MiB, wherever it starts, covers one pageblock, whose entries hold the pageblocks of 4 GiB: more than it describes.
 */
#define TABLE_HOLDS_PAGEBLOCKS ((uint64_t)2 * PAGEBLOCK_FRAMES * PAGE_SIZE / sizeof(struct frame))

static uint64_t pageblock_bytes(uint64_t frames) {
  return (frames >> PAGEBLOCK_ORDER) * sizeof(struct pageblock);
}

uint64_t frame_table_bytes(const struct mem_range *ram, unsigned ram_count) {
  struct span span;
  if (measure(ram, ram_count, &span) != ERR_OK)
    return 0;
  uint64_t frames = span.end - span.base;
  return frames * sizeof(struct frame) + (frames < TABLE_HOLDS_PAGEBLOCKS ? align_up(pageblock_bytes(frames), PAGE_SIZE) : 0);
}

/* Insertion sort by start of what is not empty; returns how many. */
static unsigned sort_ranges(const struct mem_range *from, unsigned count, struct mem_range *to) {
  unsigned n = 0;
  for (unsigned i = 0; i < count; i++) {
    unsigned at = n;
    if (from[i].start.v >= from[i].end.v)
      continue;
    for (; at > 0 && to[at - 1].start.v > from[i].start.v; at--)
      to[at] = to[at - 1];
    to[at] = from[i];
    n++;
  }
  return n;
}

/* --- free ranges --------------------------------------------------------------------------------------------------------------- */

/* A part of a pageblock. */
static void add_frayed(struct zone *z, uint32_t start, uint32_t end) {
  uint32_t pb = pageblock_of(start);
  if (pageblock_kind(pb) == PAGEBLOCK_NONE) {
    pageblocks[pb].state = PAGEBLOCK_STATE(PAGEBLOCK_NONE, z->node) | MIGRATE_MOVABLE;
    pageblock_write_entries(pb);
  }
  buddy_give_run(z, start, end - start);
  z->events[ZONE_GIVEN] = 0; /* nothing came back: it begins */
}

/* Whole pageblocks: stay unopened. */
static void add_whole(struct zone *z, uint32_t start, uint32_t end) {
  for (uint32_t pb = pageblock_of(start); pb < pageblock_of(end); pb++)
    pageblocks[pb] =
        (struct pageblock){.state = PAGEBLOCK_STATE(PAGEBLOCK_UNOPENED, z->node) | MIGRATE_MOVABLE, .free_frames = PAGEBLOCK_FRAMES};
  z->unopened += end - start;
  z->free += end - start;
}

static void add_free(struct zone *z, uint32_t start, uint32_t end) {
  uint32_t whole_start = (uint32_t)align_up(start, PAGEBLOCK_FRAMES), whole_end = (uint32_t)align_down(end, PAGEBLOCK_FRAMES);
  z->managed += end - start;
  if (whole_start > whole_end) { /* within one pageblock */
    add_frayed(z, start, end);
    return;
  }
  if (start < whole_start)
    add_frayed(z, start, whole_start);
  if (whole_start < whole_end)
    add_whole(z, whole_start, whole_end);
  if (whole_end < end)
    add_frayed(z, whole_end, end);
}

/* RAM [start, end) less the reserved ranges, sorted. */
static void add_ram(struct zone *z, uint64_t start, uint64_t end, const struct mem_range *reserved, unsigned reserved_count) {
  for (unsigned i = 0; i < reserved_count && start < end; i++) {
    uint64_t hole_start = min_u64(reserved[i].start.v, end), hole_end = min_u64(reserved[i].end.v, end);
    if (start < hole_start)
      add_free(z, pfn_index(pfn(start)), pfn_index(pfn(hole_start)));
    start = max_u64(start, hole_end);
  }
  if (start < end)
    add_free(z, pfn_index(pfn(start)), pfn_index(pfn(end)));
}

/* --- nodes --------------------------------------------------------------------------------------------------------------------- */

#define DISTANCE_LOCAL 10u
#define DISTANCE_REMOTE 20u

static struct {
  uint64_t start, end;
  unsigned node;
} node_ranges[RAM_RANGES_MAX]; /* what page_set_node() named for the next page_alloc_init() */
static unsigned node_range_count;
static uint8_t distances[NODES_MAX][NODES_MAX]; /* 0: not set */

err_t page_set_node(pfn_t start, pfn_t end, unsigned node) {
  if (start.v >= end.v || node >= NODES_MAX)
    return ERR_INVAL;
  if (node_range_count == RAM_RANGES_MAX)
    return ERR_NOSPC;
  node_ranges[node_range_count].start = start.v;
  node_ranges[node_range_count].end = end.v;
  node_ranges[node_range_count++].node = node;
  return ERR_OK;
}

static unsigned node_of(uint64_t f) {
  for (unsigned i = 0; i < node_range_count; i++) {
    if (f >= node_ranges[i].start && f < node_ranges[i].end)
      return node_ranges[i].node;
  }
  return 0;
}

unsigned page_distance(unsigned from, unsigned to) {
  CHECK(from < NODES_MAX && to < NODES_MAX);
  return distances[from][to] ? distances[from][to] : from == to ? DISTANCE_LOCAL : DISTANCE_REMOTE;
}

/* Insertion sort: by distance, then as they lie. */
static void order_zones(unsigned node) {
  uint8_t *order = zone_order[node];
  for (unsigned z = 0; z < zone_count; z++) {
    unsigned at = z;
    for (; at > 0 && page_distance(node, zones[order[at - 1]].node) > page_distance(node, zones[z].node); at--)
      order[at] = order[at - 1];
    order[at] = (uint8_t)z;
  }
  order[zone_count] = (uint8_t)zone_count;
}

static void order_all_zones(void) {
  for (unsigned node = 0; node < NODES_MAX; node++)
    order_zones(node);
}

err_t page_set_distance(unsigned from, unsigned to, unsigned d) {
  if (from >= NODES_MAX || to >= NODES_MAX || d < DISTANCE_LOCAL || d > UINT8_MAX || (from != to && d == DISTANCE_LOCAL))
    return ERR_INVAL;
  distances[from][to] = (uint8_t)d;
  order_all_zones();
  return ERR_OK;
}

/* --- zones --------------------------------------------------------------------------------------------------------------------- */

static uint32_t square_root(uint64_t n) {
  uint64_t root = 0;
  for (uint64_t bit = BIT(20); bit != 0; bit >>= 1) {
    if ((root + bit) * (root + bit) <= n)
      root += bit;
  }
  return (uint32_t)root;
}

/* Linux's min_free_kbytes, 4 * sqrt(KiB of RAM), but never more than 1/64 of a small zone; low and high as in __setup_per_zone_wmarks. */
static void set_watermarks(struct zone *z) {
  uint32_t min = square_root((uint64_t)z->managed * 4);
  z->min = min < z->managed / 64 ? min : z->managed / 64;
  z->low = z->min + z->min / 4;
  z->high = z->min + z->min / 2;
}

static void empty_lists(struct zone *z) {
  for (unsigned type = 0; type < FREE_LISTS; type++) {
    for (unsigned order = 0; order <= MAX_ORDER; order++)
      z->list[type][order].head = INDEX_NONE;
  }
  z->zeroed[0].head = z->zeroed[1].head = INDEX_NONE;
}

static struct zone *new_zone(uint64_t start) {
  struct zone *z = &zones[zone_count];
  memset(z, 0, sizeof(*z));
  empty_lists(z);
  z->node = node_of(start);
  z->start = (uint32_t)align_down(pfn_index(pfn(start)), CHUNK_FRAMES);
  z->open_cursor = pageblock_of(z->start);
  memcpy(z->name, "ram", 3);
  z->name[3] = (char)('0' + zone_count / 10);
  z->name[zone_count < 10 ? 3 : 4] = (char)('0' + zone_count % 10);
  zone_count++;
  return z;
}

/* Adjacent ranges of a node count as one, or a pageblock across their border would be taken for frayed. */
static void build_zones(const struct mem_range *ram, unsigned ram_count, const struct mem_range *reserved, unsigned reserved_count) {
  struct zone *z = NULL;
  for (unsigned i = 0; i < ram_count; i++) {
    uint64_t start = ram[i].start.v;
    while (i + 1 < ram_count && ram[i + 1].start.v == ram[i].end.v && node_of(ram[i + 1].start.v) == node_of(start))
      i++;
    if (!z || pfn_index(pfn(start)) >= z->end)
      z = new_zone(start);
    z->end = (uint32_t)align_up(pfn_index(ram[i].end), CHUNK_FRAMES);
    add_ram(z, start, ram[i].end.v, reserved, reserved_count);
  }
}

/* Where the pageblocks of `span` go. NULL: the table is to hold them and does not lie in RAM it describes. */
static struct pageblock *place_pageblocks(const struct span *span, const struct mem_range *ram, unsigned ram_count, struct frame *table) {
  uint64_t frames = span->end - span->base, start, end;
  if (frames < TABLE_HOLDS_PAGEBLOCKS)
    return (struct pageblock *)(table + frames);
  start = port_ptr_frame(table).v;
  end = start + (frames * sizeof(struct frame) >> PAGE_SHIFT);
  for (unsigned i = 0; i < ram_count; i++) {
    if (start >= ram[i].start.v && end <= ram[i].end.v)
      return (struct pageblock *)&table[align_up(start, PAGEBLOCK_FRAMES) - span->base];
  }
  return NULL;
}

static void lay_table(const struct span *span, void *table) {
  frame_table = table;
  frame_base_pfn = span->base;
  frame_count = (uint32_t)(span->end - span->base);
  frame_table_bias = (uintptr_t)table - span->base * sizeof(struct frame);
  pageblocks_bias = pageblocks - (span->base >> PAGEBLOCK_ORDER);
  memset(pageblocks, 0, pageblock_bytes(frame_count)); /* PAGEBLOCK_NONE */
}

static void count_frames(const struct mem_range *ram, unsigned ram_count) {
  uint64_t total = 0;
  uint32_t managed = 0;
  for (unsigned i = 0; i < ram_count; i++)
    total += ram[i].end.v - ram[i].start.v;
  for (unsigned i = 0; i < zone_count; i++) {
    set_watermarks(&zones[i]);
    managed += zones[i].managed;
  }
  ledger_reset(managed, (uint32_t)(total - managed));
}

err_t page_alloc_init(const struct mem_range *ram, unsigned ram_count, const struct mem_range *reserved, unsigned reserved_count,
                      void *table) {
  struct mem_range sorted[RESERVED_RANGES_MAX];
  struct span span;
  err_t err = measure(ram, ram_count, &span);
  if (err)
    return err;
  if (reserved_count > RESERVED_RANGES_MAX)
    return ERR_NOSPC;
  if (!table || !is_aligned((uintptr_t)table, PAGE_SIZE))
    return ERR_INVAL;
  struct pageblock *blocks = place_pageblocks(&span, ram, ram_count, table);
  if (!blocks)
    return ERR_INVAL;
  pageblocks = blocks;
  reserved_count = sort_ranges(reserved, reserved_count, sorted);
  zone_count = 0;
  memset(distances, 0, sizeof(distances));
  lay_table(&span, table);
  percpu_reset();
  slab_reset();
  slowpath_reset();
  zero_pool_reset();
  poison_generation = 0;
  build_zones(ram, ram_count, sorted, reserved_count);
  node_range_count = 0;
  order_all_zones();
  percpu_set_enabled(true);
  count_frames(ram, ram_count);
  return ERR_OK;
}

/* --- pageblock types ----------------------------------------------------------------------------------------------------------- */

enum migratetype page_block_type(pfn_t f) {
  CHECK(f.v - frame_base_pfn < frame_count);
  return pageblock_type(pageblock_of(pfn_index(f)));
}

unsigned page_block_free(pfn_t f) {
  CHECK(f.v - frame_base_pfn < frame_count);
  return pageblock_free(pageblock_of(pfn_index(f)));
}

/* A wholly free pageblock leaves the lists, changes and comes back, so that it parts from or joins its neighbour as the types say. */
static bool retype_free(struct zone *z, uint32_t pb, enum migratetype type) {
  uint32_t index = pb << PAGEBLOCK_ORDER;
  if (!buddy_take_at(z, index, PAGEBLOCK_ORDER))
    return false;
  pageblock_set(pb, pageblock_kind(pb), type);
  buddy_give(z, index, PAGEBLOCK_ORDER);
  return true;
}

void pageblock_retype(struct zone *z, uint32_t pb, enum migratetype type) {
  fallback_open_at(z, pb << PAGEBLOCK_ORDER);
  if (retype_free(z, pb, type))
    return;
  pageblock_set(pb, pageblock_kind(pb), type);
  buddy_move_pageblock(z, pb, type);
}

void page_set_block_type(pfn_t f, enum migratetype type) {
  CHECK(f.v - frame_base_pfn < frame_count && type < MIGRATE_TYPES);
  uint32_t pb = pageblock_of(pfn_index(f));
  struct zone *z = zone_of(pfn_index(f));
  CHECK(pageblock_kind(pb) != PAGEBLOCK_NONE);
  port_flags_t flags = zone_lock(z);
  pageblock_retype(z, pb, type);
  zone_unlock(z, flags);
}
