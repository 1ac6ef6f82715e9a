/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What the memory core looks like, in the shapes of Linux's /proc and debugfs: buddyinfo, pagetypeinfo, zoneinfo, extfrag, slabinfo, and
 * numastat.
 *
 * What the core never opened is on none of its lists. buddyinfo names it apart, in frames; pagetypeinfo gives it a row of its own, as the
 * blocks it will be; the indexes count it. Counting it is a walk over pageblocks, so it goes in steps; two sessions that do it at the same
 * time begin again in turn. numastat walks a VM's stage 2, a few pages per hold of its lock.
 */

#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "mm/page_alloc.h"
#include "mm/slab.h"

#define ULL(x_) ((unsigned long long)(x_))
#define ORDERS (MAX_ORDER + 1)
#define ROW_MAX 160u
#define SURVEY_PAGEBLOCKS 4096u /* in one step: about ten instructions each */
#define LEAVES_PER_STEP 256u

/* --- buddyinfo, pagetypeinfo, extfrag --------------------------------------------------------------------------------------------- */

static const char *blocks_row(char row[ROW_MAX], const uint64_t blocks[ORDERS]) {
  size_t at = 0;
  for (unsigned order = 0; order < ORDERS; order++)
    at += (size_t)format(row + at, ROW_MAX - at, " %6llu", ULL(blocks[order]));
  return row;
}

static enum work_result cmd_buddyinfo(struct session *s) {
  struct buddyinfo info;
  char row[ROW_MAX];
  if (!page_buddyinfo((unsigned)s->state[0]++, &info))
    return WORK_DONE;
  hyp_printf("Node %u, zone %8s%s  unopened %llu cached %llu\n", info.node, info.zone_name, blocks_row(row, info.free_blocks),
             ULL(info.unopened_frames), ULL(info.cached_frames));
  return WORK_MORE;
}

/* Of the zone that state[0] names. */
static struct {
  const struct session *by;
  uint64_t zone;
  uint32_t at;
  struct pagetypeinfo types;
} survey;

/* True when all of the zone has been looked at. */
static bool survey_zone(const struct session *s) {
  if (survey.by != s || survey.zone != s->state[0] || survey.at == 0) {
    memset(&survey, 0, sizeof survey);
    survey.by = s;
    survey.zone = s->state[0];
  }
  bool more = page_typeinfo_step((unsigned)survey.zone, &survey.at, SURVEY_PAGEBLOCKS, &survey.types);
  if (!more)
    survey.at = 0;
  return !more;
}

static void add_unopened(uint64_t blocks[ORDERS]) {
  for (unsigned i = 0; i < ARRAY_SIZE(survey.types.unopened_blocks); i++)
    blocks[PAGEBLOCK_ORDER + i] += survey.types.unopened_blocks[i];
}

static void print_free_of_types(const struct buddyinfo *info) {
  uint64_t unopened[ORDERS] = {0};
  char row[ROW_MAX];
  for (unsigned type = 0; type < MIGRATE_TYPES; type++)
    hyp_printf("Node %4u, zone %8s, type %12s%s\n", info->node, info->zone_name, page_type_name((enum migratetype)type),
               blocks_row(row, info->free_blocks_of_type[type]));
  add_unopened(unopened);
  hyp_printf("Node %4u, zone %8s, type %12s%s\n", info->node, info->zone_name, "(unopened)", blocks_row(row, unopened));
}

static void print_pageblocks_of_types(const struct buddyinfo *info) {
  char row[ROW_MAX];
  size_t at = 0;
  for (unsigned type = 0; type < MIGRATE_TYPES; type++)
    at += (size_t)format(row + at, ROW_MAX - at, " %12llu", ULL(survey.types.pageblocks[type]));
  hyp_printf("Node %u, zone %8s%s\n", info->node, info->zone_name, row);
}

static void print_order_heads(void) {
  char row[ROW_MAX];
  uint64_t order[ORDERS];
  for (unsigned i = 0; i < ORDERS; i++)
    order[i] = i;
  hyp_printf("Page block order: %u\nPages per block:  %llu\n\n", PAGEBLOCK_ORDER, ULL(PAGEBLOCK_FRAMES));
  hyp_printf("Free pages count per migrate type at order%s\n", blocks_row(row, order));
}

static void print_type_heads(void) {
  char row[ROW_MAX];
  size_t at = 0;
  for (unsigned type = 0; type < MIGRATE_TYPES; type++)
    at += (size_t)format(row + at, ROW_MAX - at, " %12s", page_type_name((enum migratetype)type));
  hyp_printf("\nNumber of blocks type %s\n", row);
}

/* The next zone of a table, surveyed: true if `*info` is to be printed now. Behind the last zone the next phase begins. state[0]: zone. */
static bool zone_is_ready(struct session *s, struct buddyinfo *info) {
  if (!page_buddyinfo((unsigned)s->state[0], info)) {
    s->state[0] = 0;
    s->phase++;
    return false;
  }
  bool ready = survey_zone(s);
  s->state[0] += ready;
  return ready;
}

enum {
  TABLE_HEAD = 0, /* of the first of two tables */
  TABLE,
  TABLE_2_HEAD,
  TABLE_2
};

static enum work_result cmd_pagetypeinfo(struct session *s) {
  struct buddyinfo info;
  switch (s->phase) {
  case TABLE_HEAD:
    print_order_heads();
    s->phase++;
    return WORK_MORE;
  case TABLE:
    if (zone_is_ready(s, &info))
      print_free_of_types(&info);
    return WORK_MORE;
  case TABLE_2_HEAD:
    print_type_heads();
    s->phase++;
    return WORK_MORE;
  case TABLE_2:
    if (zone_is_ready(s, &info))
      print_pageblocks_of_types(&info);
    return WORK_MORE;
  default:
    return WORK_DONE;
  }
}

static void print_index(const struct buddyinfo *info, bool unusable) {
  uint64_t blocks[ORDERS];
  char row[ROW_MAX];
  size_t at = 0;
  memcpy(blocks, info->free_blocks, sizeof blocks);
  add_unopened(blocks);
  for (unsigned order = 0; order < ORDERS; order++) {
    int index = unusable ? extfrag_unusable(blocks, order) : extfrag_index(blocks, order);
    at += (size_t)format(row + at, ROW_MAX - at, " %s%d.%03d", index < 0 ? "-" : "", (index < 0 ? -index : index) / 1000,
                         (index < 0 ? -index : index) % 1000);
  }
  hyp_printf("Node %u, zone %8s%s\n", info->node, info->zone_name, row);
}

static enum work_result cmd_extfrag(struct session *s) {
  struct buddyinfo info;
  switch (s->phase) {
  case TABLE_HEAD:
  case TABLE_2_HEAD:
    hyp_printf("%s\n", s->phase == TABLE_HEAD ? "extfrag_index" : "unusable_index");
    s->phase++;
    return WORK_MORE;
  case TABLE:
  case TABLE_2:
    if (zone_is_ready(s, &info))
      print_index(&info, s->phase == TABLE_2);
    return WORK_MORE;
  default:
    return WORK_DONE;
  }
}

/* --- zoneinfo -------------------------------------------------------------------------------------------------------------------- */

static void print_zone(const struct buddyinfo *b, const struct zoneinfo *z) {
  static const char *const events[ZONE_EVENTS] = {"pgalloc", "pgfree", "pgfallback", "pgsteal_block", "compact_stall", "allocstall"};
  const struct {
    const char *name;
    uint64_t value;
  } rows[] = {
      {"pages free", b->free_frames},
      {"      boost", z->boost},
      {"      min", z->min},
      {"      low", z->low},
      {"      high", z->high},
      {"      spanned", b->end.v - b->start.v},
      {"      managed", b->managed_frames},
      {"    nr_unopened", b->unopened_frames},
      {"    nr_cached", b->cached_frames},
      {"    nr_zeroed", b->zeroed_frames},
      {"    nr_highatomic", z->highatomic},
  };
  hyp_printf("Node %u, zone %8s\n", b->node, b->zone_name);
  for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
    hyp_printf("  %-16s %llu\n", rows[i].name, ULL(rows[i].value));
  for (unsigned i = 0; i < ZONE_EVENTS; i++)
    hyp_printf("      %-12s %llu\n", events[i], ULL(z->events[i]));
  hyp_printf("  start_pfn:       %llu\n", ULL(b->start.v));
}

static enum work_result cmd_zoneinfo(struct session *s) {
  struct buddyinfo b;
  struct zoneinfo z;
  unsigned zone = (unsigned)s->state[0]++;
  if (!page_buddyinfo(zone, &b) || !page_zoneinfo(zone, &z))
    return WORK_DONE;
  print_zone(&b, &z);
  return WORK_MORE;
}

/* --- numastat -------------------------------------------------------------------------------------------------------------------- */

/* Nodes that have a zone or a CPU. */
static bool node_exists(unsigned node) {
  struct zoneinfo z;
  for (unsigned zone = 0; page_zoneinfo(zone, &z); zone++)
    if (z.node == node)
      return true;
  for (unsigned cpu = 0; cpu < cpu_count; cpu++)
    if (page_cpu_node(cpu) == node)
      return true;
  return false;
}

static void print_node(unsigned node) {
  struct buddyinfo b;
  struct zoneinfo z;
  char row[ROW_MAX];
  size_t at = 0;
  uint64_t managed = 0, free = 0;
  for (unsigned zone = 0; page_zoneinfo(zone, &z); zone++) {
    if (z.node != node || !page_buddyinfo(zone, &b))
      continue;
    managed += b.managed_frames;
    free += b.free_frames + b.cached_frames + b.zeroed_frames;
  }
  row[0] = '\0';
  for (unsigned cpu = 0; cpu < cpu_count; cpu++)
    if (page_cpu_node(cpu) == node)
      at += (size_t)format(row + at, ROW_MAX - at, " %u", cpu);
  at += (size_t)format(row + at, ROW_MAX - at, "; distances");
  for (unsigned to = 0; to < NODES_MAX; to++)
    if (node_exists(to))
      at += (size_t)format(row + at, ROW_MAX - at, " %u", page_distance(node, to));
  hyp_printf("numastat: node %u: %llu frames, %llu free; cpus%s\n", node, ULL(managed), ULL(free), row);
}

/* What has been counted of the VM that state[1] names, up to the IPA in state[2]. */
static struct {
  const struct session *by;
  uint64_t frames[NODES_MAX];
} share;

static void print_share(const struct vm *vm) {
  char row[ROW_MAX];
  size_t at = 0;
  row[0] = '\0';
  for (unsigned node = 0; node < NODES_MAX; node++)
    if (node_exists(node))
      at += (size_t)format(row + at, ROW_MAX - at, "%s node %u %llu", at ? "," : "", node, ULL(share.frames[node]));
  hyp_printf("numastat: %s:%s\n", vm->config.name, row);
}

/* From state[2] on; true at the end of the VM's memory. */
static bool count_leaves(struct session *s, struct vm *vm) {
  struct pt_leaf leaf;
  spin_lock(&vm->s2.lock);
  for (unsigned i = 0; i < LEAVES_PER_STEP && s->state[2] < vm->s2.ram_bytes; i++) {
    uint64_t at = vm->s2.ram_base.v + s->state[2];
    err_t err = vm->s2.pt.root ? pt_lookup(&vm->s2.pt, at, &leaf) : ERR_NOENT;
    uint64_t frames = err == ERR_OK && leaf.level == 2 ? PAGEBLOCK_FRAMES - at / PAGE_SIZE % PAGEBLOCK_FRAMES : 1;
    if (err == ERR_OK)
      share.frames[page_node(pa_pfn(leaf.out))] += frames;
    s->state[2] += frames * PAGE_SIZE;
  }
  spin_unlock(&vm->s2.lock);
  return s->state[2] >= vm->s2.ram_bytes;
}

/* Nodes first, then the VMs. state[0]: node, state[1]: VM, state[2]: byte of its memory. */
static enum work_result cmd_numastat(struct session *s) {
  if (s->state[0] < NODES_MAX) {
    if (node_exists((unsigned)s->state[0]))
      print_node((unsigned)s->state[0]);
    s->state[0]++;
    return WORK_MORE;
  }
  if (s->state[1] > VMS_MAX)
    return WORK_DONE;
  struct vm *vm = vm_by_id((unsigned)s->state[1]);
  if (s->state[2] == 0 || share.by != s) {
    memset(&share, 0, sizeof share);
    share.by = s;
    s->state[2] = 0;
  }
  if (vm && !count_leaves(s, vm))
    return WORK_MORE;
  if (vm)
    print_share(vm);
  s->state[1]++;
  s->state[2] = 0;
  return WORK_MORE;
}

/* --- slabinfo -------------------------------------------------------------------------------------------------------------------- */

/* As Linux's /proc/slabinfo 2.1 has it; see docs/monitor.md. */
static void print_slab(const struct slab_info *info) {
  unsigned magazine = info->magazine_objects;
  hyp_printf("%-17s %6llu %6llu %6u %4u %4u : tunables %4u %4u %4u : slabdata %6llu %6llu %6u%s%s\n", info->name, ULL(info->used_objects),
             ULL(info->slabs) * info->per_slab, info->object_bytes, info->per_slab, 1u << info->slab_order, 2 * magazine, magazine,
             magazine ? SLAB_DEPOT_MAGAZINES : 0, ULL(info->slabs - info->empty_slabs), ULL(info->slabs), info->depot_magazines * magazine,
             info->debug & SLAB_POISON ? " poison" : "", info->debug & SLAB_RED_ZONE ? " red-zone" : "");
}

/* One cache per step. state[0]: its number, from 1. */
static enum work_result cmd_slabinfo(struct session *s) {
  struct slab_info info;
  if (s->state[0]++ == 0) {
    hyp_printf("slabinfo - version: 2.1\n");
    hyp_printf("# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
               " : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n");
    return WORK_MORE;
  }
  if (!slab_describe_nth((unsigned)s->state[0] - 2, &info))
    return WORK_DONE;
  print_slab(&info);
  return WORK_MORE;
}

const struct command monitor_mm_commands[] = {
    {"buddyinfo", "", "free blocks of each order", cmd_buddyinfo, 0, 0},
    {"pagetypeinfo", "", "free blocks and pageblocks by migrate type", cmd_pagetypeinfo, 0, 0},
    {"zoneinfo", "", "watermarks and events of each zone", cmd_zoneinfo, 0, 0},
    {"extfrag", "", "fragmentation and unusable-space index of each order", cmd_extfrag, 0, 0},
    {"numastat", "", "nodes, and where the VMs' memory lies", cmd_numastat, 0, 0},
    {"slabinfo", "", "EL2's own objects, cache by cache", cmd_slabinfo, 0, 0},
    {0},
};
