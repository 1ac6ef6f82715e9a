/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the allocator looks like: the numbers behind buddyinfo, pagetypeinfo, zoneinfo, numastat and the two fragmentation indexes. Writes
 * nothing; reads a zone's lists under its lock, pageblocks and per-CPU lists without (a glimpse).
 *
 * Pageblocks never opened are on no list. The indexes count them as what they will be: blocks of 2 MiB, or of 4 MiB in pairs.
 * To count them is a walk over pageblocks, so it comes in steps for whoever must not be long.
 */
#include "mm/zone.h"

static void read_lists(const struct zone *z, struct buddyinfo *out) {
  for (unsigned type = 0; type < MIGRATE_TYPES; type++) {
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
      out->free_blocks_of_type[type][order] = z->list[type][order].count;
      out->free_blocks[order] += z->list[type][order].count;
    }
  }
  for (unsigned order = PAGEBLOCK_ORDER; order <= MAX_ORDER; order++) {
    uint64_t reported = z->list[LIST_REPORTED][order].count;
    out->free_blocks_of_type[MIGRATE_MOVABLE][order] += reported;
    out->free_blocks[order] += reported;
    out->reported_frames += reported << order;
  }
  out->free_frames = z->free;
  out->unopened_frames = z->unopened;
  out->zeroed_frames = z->zeroed[0].count + ((uint64_t)z->zeroed[1].count << PAGEBLOCK_ORDER);
}

bool page_buddyinfo(unsigned zone, struct buddyinfo *out) {
  struct zone *z = &zones[zone];
  if (zone >= zone_count)
    return false;
  *out = (struct buddyinfo){
      .zone_name = z->name,
      .node = z->node,
      .start = index_pfn(z->start),
      .end = index_pfn(z->end),
      .managed_frames = z->managed,
      .cached_frames = percpu_cached(index_pfn(z->start), index_pfn(z->end)),
      .min_frames = z->min,
      .low_frames = z->low,
      .high_frames = z->high,
  };
  port_flags_t flags = zone_lock(z);
  read_lists(z, out);
  zone_unlock(z, flags);
  return true;
}

uint64_t page_free_frames(void) {
  uint64_t sum = percpu_cached(pfn(0), PFN_NONE) + page_zero_pool_frames();
  for (struct zone *z = zones; z < zones + zone_count; z++) {
    port_flags_t flags = zone_lock(z);
    sum += z->free;
    zone_unlock(z, flags);
  }
  return sum;
}

uint64_t page_spare_frames(void) {
  uint64_t sum = 0;
  for (const struct zone *z = zones; z < zones + zone_count; z++) {
    uint64_t free = atomic_load_relaxed(&z->free), kept = zone_reserve(z, MARK_MIN);
    sum += free > kept ? free - kept : 0;
  }
  return sum + page_zero_pool_frames();
}

const char *page_type_name(enum migratetype type) {
  static const char *const names[MIGRATE_TYPES] = {"Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"};
  return type < MIGRATE_TYPES ? names[type] : "?";
}

/* Will it be opened with the other one of its chunk, as one block (fallback.c)? */
static bool is_unopened_pair(uint32_t pb) {
  return pageblock_kind(pb ^ 1) == PAGEBLOCK_UNOPENED && pageblock_type(pb ^ 1) == pageblock_type(pb);
}

static void count_pageblock(uint32_t pb, struct pagetypeinfo *sum) {
  enum pageblock_kind kind = pageblock_kind(pb);
  if (kind != PAGEBLOCK_NONE)
    sum->pageblocks[pageblock_type(pb)]++;
  if (kind == PAGEBLOCK_UNOPENED && !is_unopened_pair(pb))
    sum->unopened_blocks[0]++;
  else if (kind == PAGEBLOCK_UNOPENED && (pb & 1) == 0)
    sum->unopened_blocks[1]++;
}

bool page_typeinfo_step(unsigned zone, uint32_t *at, unsigned count, struct pagetypeinfo *sum) {
  const struct zone *z = &zones[zone];
  uint32_t pb = pageblock_of(z->start) + *at, end = pageblock_of(z->end);
  if (zone >= zone_count)
    return false;
  *at += count;
  for (; count-- != 0 && pb < end; pb++)
    count_pageblock(pb, sum);
  return pb < end;
}

bool page_typeinfo(unsigned zone, struct pagetypeinfo *out) {
  uint32_t at = 0;
  *out = (struct pagetypeinfo){0};
  (void)page_typeinfo_step(zone, &at, UINT32_MAX, out); /* all of it: nothing is left */
  return zone < zone_count;
}

bool page_zoneinfo(unsigned zone, struct zoneinfo *out) {
  struct zone *z = &zones[zone];
  if (zone >= zone_count)
    return false;
  port_flags_t flags = zone_lock(z);
  *out = (struct zoneinfo){.node = z->node, .min = z->min, .low = z->low, .high = z->high, .boost = z->boost, .highatomic = z->highatomic};
  for (unsigned i = 0; i < ZONE_EVENTS; i++)
    out->events[i] = atomic_load_relaxed(&z->events[i]);
  zone_unlock(z, flags);
  return true;
}

/* --- nodes --------------------------------------------------------------------------------------------------------------------------- */

unsigned page_node(pfn_t f) {
  CHECK(f.v - frame_base_pfn < frame_count);
  return zone_of(pfn_index(f))->node;
}

unsigned page_cpu_node(unsigned cpu) {
  CHECK(cpu < PORT_CPUS_MAX);
  return pageblock_state_node((uint8_t)percpus[cpu].local);
}

/* --- indexes ------------------------------------------------------------------------------------------------------------------------- */

struct tally {
  uint64_t free_frames, blocks, suitable; /* suitable: blocks of the order asked for that could be cut */
};

static struct tally count(const uint64_t free_blocks[MAX_ORDER + 1], unsigned order) {
  struct tally t = {0};
  CHECK(order <= MAX_ORDER);
  for (unsigned o = 0; o <= MAX_ORDER; o++) {
    t.blocks += free_blocks[o];
    t.free_frames += free_blocks[o] << o;
    t.suitable += o >= order ? free_blocks[o] << (o - order) : 0;
  }
  return t;
}

/* Linux: __fragmentation_index. */
int extfrag_index(const uint64_t free_blocks[MAX_ORDER + 1], unsigned order) {
  struct tally t = count(free_blocks, order);
  if (t.blocks == 0)
    return 0;
  if (t.suitable != 0)
    return -1000;
  return 1000 - (int)((1000 + (t.free_frames * 1000 >> order)) / t.blocks);
}

/* Linux: unusable_free_index. */
int extfrag_unusable(const uint64_t free_blocks[MAX_ORDER + 1], unsigned order) {
  struct tally t = count(free_blocks, order);
  if (t.free_frames == 0)
    return 1000;
  return (int)((t.free_frames - (t.suitable << order)) * 1000 / t.free_frames);
}

void zone_free_blocks(struct zone *z, uint64_t out[MAX_ORDER + 1]) {
  struct pagetypeinfo types;
  port_flags_t flags = zone_lock(z);
  bool unopened = z->unopened != 0;
  for (unsigned order = 0; order <= MAX_ORDER; order++) {
    out[order] = 0;
    for (unsigned type = 0; type < FREE_LISTS; type++)
      out[order] += z->list[type][order].count;
  }
  zone_unlock(z, flags);
  if (!unopened || !page_typeinfo((unsigned)(z - zones), &types))
    return;
  out[PAGEBLOCK_ORDER] += types.unopened_blocks[0];
  out[MAX_ORDER] += types.unopened_blocks[1];
}

int page_fragmentation_index(unsigned zone, unsigned order) {
  uint64_t blocks[MAX_ORDER + 1];
  CHECK(zone < zone_count);
  zone_free_blocks(&zones[zone], blocks);
  return extfrag_index(blocks, order);
}

int page_unusable_index(unsigned zone, unsigned order) {
  uint64_t blocks[MAX_ORDER + 1];
  CHECK(zone < zone_count);
  zone_free_blocks(&zones[zone], blocks);
  return extfrag_unusable(blocks, order);
}
