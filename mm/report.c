/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the allocator looks like: the numbers behind buddyinfo, pagetypeinfo, zoneinfo and the two fragmentation indexes. Writes nothing; reads a
 * zone's lists under its lock, pageblocks and per-CPU lists without (a glimpse).
 *
 * Pageblocks never opened are on no list. The indexes count them as what they will be: blocks of 2 MiB, or of 4 MiB in pairs.
 */
#include "mm/zone.h"

static void read_lists(const struct zone *z, struct buddyinfo *out) {
  for (unsigned type = 0; type < MIGRATE_TYPES; type++) {
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
      out->free_blocks_of_type[type][order] = z->list[type][order].count;
      out->free_blocks[order] += z->list[type][order].count;
    }
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
      .start = index_pfn(z->start),
      .end = index_pfn(z->end),
      .managed_frames = z->managed,
      .cached_frames = percpu_cached(index_pfn(z->start), index_pfn(z->end)),
      .min_frames = z->min,
      .low_frames = z->low,
      .high_frames = z->high,
  };
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&z->lock);
  read_lists(z, out);
  port_lock_release(&z->lock);
  port_irq_restore(irq);
  return true;
}

uint64_t page_free_frames(void) {
  uint64_t sum = percpu_cached(pfn(0), PFN_NONE) + page_zero_pool_frames();
  for (struct zone *z = zones; z < zones + zone_count; z++) {
    port_flags_t irq = port_irq_save();
    port_lock_acquire(&z->lock);
    sum += z->free;
    port_lock_release(&z->lock);
    port_irq_restore(irq);
  }
  return sum;
}

const char *page_type_name(enum migratetype type) {
  static const char *const names[MIGRATE_TYPES] = {"Unmovable", "Movable", "Reclaimable", "HighAtomic", "Isolate"};
  return type < MIGRATE_TYPES ? names[type] : "?";
}

bool page_typeinfo(unsigned zone, struct pagetypeinfo *out) {
  if (zone >= zone_count)
    return false;
  *out = (struct pagetypeinfo){0};
  for (uint32_t pb = pageblock_of(zones[zone].start); pb < pageblock_of(zones[zone].end); pb++) {
    if (pageblock_kind(pb) != PAGEBLOCK_NONE)
      out->pageblocks[pageblock_type(pb)]++;
  }
  return true;
}

bool page_zoneinfo(unsigned zone, struct zoneinfo *out) {
  struct zone *z = &zones[zone];
  if (zone >= zone_count)
    return false;
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&z->lock);
  *out = (struct zoneinfo){.node = z->node, .min = z->min, .low = z->low, .high = z->high, .boost = z->boost, .highatomic = z->highatomic};
  for (unsigned i = 0; i < ZONE_EVENTS; i++)
    out->events[i] = z->events[i];
  port_lock_release(&z->lock);
  port_irq_restore(irq);
  return true;
}

/* --- indexes ------------------------------------------------------------------------------------------------------------------------- */

struct tally {
  uint64_t free_frames, blocks, suitable; /* suitable: blocks of the order asked for that could be cut */
};

static bool is_unopened_pair(uint32_t pb) {
  return (pb & 1) == 0 && pageblock_kind(pb) == PAGEBLOCK_UNOPENED && pageblock_kind(pb + 1) == PAGEBLOCK_UNOPENED;
}

static void count_unopened(const struct zone *z, unsigned order, struct tally *t) {
  for (uint32_t pb = pageblock_of(z->start); pb < pageblock_of(z->end); pb++) {
    if (pageblock_kind(pb) != PAGEBLOCK_UNOPENED)
      continue;
    unsigned have = PAGEBLOCK_ORDER + is_unopened_pair(pb);
    t->blocks++;
    t->free_frames += (uint64_t)1 << have;
    t->suitable += have >= order ? (uint64_t)1 << (have - order) : 0;
    pb += have - PAGEBLOCK_ORDER;
  }
}

static struct tally count(unsigned zone, unsigned order) {
  struct tally t = {0};
  struct buddyinfo info;
  CHECK(order <= MAX_ORDER && page_buddyinfo(zone, &info));
  for (unsigned o = 0; o <= MAX_ORDER; o++) {
    t.blocks += info.free_blocks[o];
    t.free_frames += info.free_blocks[o] << o;
    t.suitable += o >= order ? info.free_blocks[o] << (o - order) : 0;
  }
  count_unopened(&zones[zone], order, &t);
  return t;
}

/* Linux: __fragmentation_index. */
int page_fragmentation_index(unsigned zone, unsigned order) {
  struct tally t = count(zone, order);
  if (t.blocks == 0)
    return 0;
  if (t.suitable != 0)
    return -1000;
  return 1000 - (int)((1000 + (t.free_frames * 1000 >> order)) / t.blocks);
}

/* Linux: unusable_free_index. */
int page_unusable_index(unsigned zone, unsigned order) {
  struct tally t = count(zone, order);
  if (t.free_frames == 0)
    return 1000;
  return (int)((t.free_frames - (t.suitable << order)) * 1000 / t.free_frames);
}
