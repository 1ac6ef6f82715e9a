/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The background compactor (Linux: kcompactd and khugepaged in one).
 *
 *      asleep --PERIOD_MS--> each zone: compact_begin(PROACTIVE) .. steps .. compact_end
 *        ^                     |
 *        |                     v
 *        +------------- each VM: its 2 MiB ranges in turn, at most one collapse under way
 *
 * It is EL2 work like any other: a bounded piece on CPU 0, then the others have their turn. All of its state is here and only its own step
 * changes it, but for `wanted`, which the monitor sets; compactd_wake() looks at it as a hint.
 *
 * A range is collapsed only while its zone has more free 2 MiB blocks than KEEP_BLOCKS: what compaction has won is not spent to the last.
 */
#include "hyp/mem/compactd.h"
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/mem/collapse.h"
#include "mm/compact.h"
#include "mm/page_alloc.h"

#define PERIOD_MS 20u
#define STEP_PAGES 24u
#define RANGES_PER_STEP 8u
#define KEEP_BLOCKS 8u

enum phase {
  ASLEEP = 0,
  ZONES,      /* begin with the next zone */
  COMPACTING, /* a run is under way */
  RANGES,     /* look for the next range */
  COLLAPSING, /* a range is under way */
};

static struct {
  struct work work;
  bool wanted;
  unsigned target_score;
  enum phase phase;
  unsigned zone;   /* next to look at */
  unsigned vm_id;  /* whose ranges are looked at */
  uint64_t offset; /* of the next range in its RAM */
  struct compact_run run;
  struct collapse collapse;
  struct compactd_stats stats;
} daemon;

static enum work_result sleep_a_while(void) {
  daemon.phase = ASLEEP;
  daemon.work.wake_at = time_now() + time_from_ms(PERIOD_MS);
  return WORK_WAIT;
}

/* ---- zones ---- */

static enum work_result next_zone(void) {
  struct compact_request request = {
      .mode = COMPACT_PROACTIVE,
      .zone = daemon.zone++,
      .order = PAGEBLOCK_ORDER,
      .owner = COMPACT_ANY_OWNER,
      .target_score = daemon.target_score,
  };
  err_t err = compact_begin(&daemon.run, &request);
  if (err == ERR_OK) {
    daemon.stats.runs++;
    daemon.phase = COMPACTING;
  } else if (err == ERR_INVAL) { /* no such zone: that was the last */
    daemon.phase = RANGES;
    daemon.vm_id = 1;
    daemon.offset = 0;
  }
  return WORK_MORE;
}

static enum work_result go_on_compacting(void) {
  if (!daemon.wanted)
    compact_stop(&daemon.run);
  if (compact_step(&daemon.run, STEP_PAGES) == ERR_AGAIN)
    return WORK_MORE;
  compact_end(&daemon.run);
  daemon.stats.moved_frames += daemon.run.report.moved_frames;
  daemon.stats.pageblocks_freed += daemon.run.report.pageblocks_freed;
  daemon.phase = ZONES;
  return WORK_MORE;
}

/* ---- ranges ---- */

static bool blocks_to_spare(void) {
  struct buddyinfo info;
  uint64_t blocks = 0;
  for (unsigned z = 0; page_buddyinfo(z, &info); z++)
    blocks += info.free_blocks[PAGEBLOCK_ORDER] + 2 * info.free_blocks[MAX_ORDER] + (info.unopened_frames >> PAGEBLOCK_ORDER);
  return blocks > KEEP_BLOCKS;
}

static void next_vm(void) {
  daemon.vm_id++;
  daemon.offset = 0;
}

static enum work_result next_range(void) {
  struct vm *vm = vm_by_id(daemon.vm_id);
  if (!vm || vm->config.force_4k || daemon.offset >= vm->config.memory_bytes) {
    next_vm();
    return WORK_MORE;
  }
  err_t err = collapse_begin(&daemon.collapse, vm, ipa(VM_RAM_BASE + daemon.offset));
  daemon.offset += SZ_2M;
  daemon.stats.leaves_collapsed += err == ERR_EXIST;
  if (err == ERR_OK)
    daemon.phase = COLLAPSING;
  return WORK_MORE;
}

static enum work_result look_at_ranges(void) {
  if (!daemon.wanted || daemon.vm_id > VMS_MAX || !blocks_to_spare())
    return sleep_a_while();
  for (unsigned i = 0; i < RANGES_PER_STEP && daemon.phase == RANGES && daemon.vm_id <= VMS_MAX; i++)
    (void)next_range();
  return WORK_MORE;
}

static enum work_result go_on_collapsing(void) {
  err_t err = ERR_BUSY;
  if (daemon.wanted)
    err = collapse_step(&daemon.collapse, STEP_PAGES);
  else
    collapse_cancel(&daemon.collapse);
  daemon.stats.leaves_collapsed += err == ERR_OK;
  if (err != ERR_AGAIN)
    daemon.phase = RANGES;
  return WORK_MORE;
}

/* ---- the work ---- */

static enum work_result wake_up(void) {
  if (!daemon.wanted)
    return WORK_DONE;
  daemon.phase = ZONES;
  daemon.zone = 0;
  return WORK_MORE;
}

static enum work_result step(struct work *w) {
  (void)w;
  switch (daemon.phase) {
  case ASLEEP:
    return wake_up();
  case ZONES:
    return daemon.wanted ? next_zone() : sleep_a_while();
  case COMPACTING:
    return go_on_compacting();
  case RANGES:
    return look_at_ranges();
  default:
    return go_on_collapsing();
  }
}

void compactd_init(void) {
  daemon.work.step = step;
  list_init(&daemon.work.node);
}

void compactd_on(unsigned target_score) {
  daemon.target_score = target_score;
  daemon.wanted = true;
  work_wake(&daemon.work);
}

void compactd_off(void) {
  daemon.wanted = false;
  work_wake(&daemon.work);
}

void compactd_wake(void) {
  if (daemon.wanted && daemon.phase == ASLEEP)
    work_wake(&daemon.work);
}

void compactd_read(struct compactd_stats *out) {
  *out = daemon.stats;
  out->on = daemon.wanted;
}
