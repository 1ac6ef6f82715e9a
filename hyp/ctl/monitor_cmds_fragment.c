/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Memory falls to pieces, and is put together in the background: fragment, compactd.
 *
 * `fragment` takes frames for itself in steps of some blocks, after a pattern that its seed names, and looks after them until `fragment
 * free`. `compactd` says or sets how much of free memory may be of no use for a block of 2 MiB before compaction starts of its own accord.
 */

#include "core/string.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/mem/compactd.h"
#include "hyp/mem/move.h"
#include "mm/fragment.h"
#include "mm/page_alloc.h"

#define BLOCKS_PER_STEP 32u
#define FRAGMENT_WORDS 8u  /* of pattern per frame */
#define COMPACTD_SCORE 20u /* percent of free memory */

enum {
  FRAGMENT_BEGIN = 0,
  FRAGMENT_FILLING,
  FRAGMENT_FREEING
};

static bool percent(struct session *s, unsigned n, uint64_t *out) {
  if (session_number(s, n, out) && *out > 100)
    session_fail(s, "`%s`: at most 100", s->argv[n]);
  return !s->failed;
}

static enum work_result fragment_start(struct session *s) {
  uint64_t seed, occupancy, unmovable;
  if (s->argc == 2 && strcmp(s->argv[1], "free") == 0) {
    s->phase = FRAGMENT_FREEING;
    return WORK_MORE;
  }
  if (s->argc != 4)
    return session_fail_done(s, "usage: fragment SEED OCCUPANCY UNMOVABLE, or fragment free");
  if (!session_number(s, 1, &seed) || !percent(s, 2, &occupancy) || !percent(s, 3, &unmovable))
    return WORK_DONE;
  const struct fragment_config config = {
      .seed = seed,
      .frames = page_free_frames(),
      .occupancy = (unsigned)occupancy,
      .unmovable = (unsigned)unmovable,
      .words = FRAGMENT_WORDS,
      .owner = OWNER_FRAGMENTER,
  };
  err_t err = fragment_begin(&config);
  if (err == ERR_BUSY)
    return session_fail_done(s, "memory is fragmented already; `fragment free` gives it back");
  if (err != ERR_OK)
    return session_fail_done(s, "%s", err_name(err));
  s->phase = FRAGMENT_FILLING;
  return WORK_MORE;
}

static enum work_result fragment_fill(struct session *s) {
  struct fragment_report r;
  err_t err = fragment_step(BLOCKS_PER_STEP);
  if (err == ERR_AGAIN)
    return WORK_MORE;
  if (err != ERR_OK)
    return session_fail_done(s, "%s", err_name(err));
  fragment_report(&r);
  hyp_printf("sluice: fragment: %llu frames in %llu blocks, %llu of them unmovable; %u %% of free memory is of no use for 2 MiB\n",
             (unsigned long long)r.frames, (unsigned long long)r.blocks, (unsigned long long)r.unmovable_frames, r.score);
  return WORK_DONE;
}

static enum work_result cmd_fragment(struct session *s) {
  switch (s->phase) {
  case FRAGMENT_BEGIN:
    return fragment_start(s);
  case FRAGMENT_FILLING:
    return fragment_fill(s);
  default:
    return fragment_free_step(BLOCKS_PER_STEP) == ERR_AGAIN ? WORK_MORE : WORK_DONE;
  }
}

static void print_compactd(void) {
  struct compactd_stats d;
  compactd_read(&d);
  hyp_printf("sluice: compactd: %s; %llu runs, %llu frames moved, %llu blocks of 2 MiB won, %llu leaves collapsed\n", d.on ? "on" : "off",
             (unsigned long long)d.runs, (unsigned long long)d.moved_frames, (unsigned long long)d.pageblocks_freed,
             (unsigned long long)d.leaves_collapsed);
}

static enum work_result cmd_compactd(struct session *s) {
  uint64_t score = COMPACTD_SCORE;
  if (s->argc == 1) {
    print_compactd();
    return WORK_DONE;
  }
  bool on = strcmp(s->argv[1], "on") == 0;
  if (!on && strcmp(s->argv[1], "off") != 0)
    return session_fail_done(s, "on or off?");
  if (s->argc == 3 && !percent(s, 2, &score))
    return WORK_DONE;
  if (on)
    compactd_on((unsigned)score);
  else
    compactd_off();
  return WORK_DONE;
}

const struct command monitor_fragment_commands[] = {
    {"fragment", "SEED OCCUPANCY UNMOVABLE | free", "fill memory, then leave OCCUPANCY % of it, UNMOVABLE % of that unmovable",
     cmd_fragment, 1, 3},
    {"compactd", "[on [SCORE]|off]", "compact in the background, while over SCORE % of free memory is of no use for 2 MiB", cmd_compactd, 0,
     2},
    {0},
};
