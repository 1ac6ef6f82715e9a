/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a compaction run (include/mm/compact.h): what is common to both policies.
 *
 * A run claims its zone (`compacting`), so that there is one at a time, works in steps, and lets the zone go with nothing set aside and no
 * mark left but the classic policy's skip hints. The policy decides what moves where; here stand the modes' goals, the score, the
 * counts before and after, and the sweeps with which a run opens and closes:
 *
 *     compact_begin -> OPENING -> WORKING -> CLOSING -> CLOSED -> compact_end     walks over all pageblocks, in pieces, drop stale marks
 *                         |          |         ^                                  and put back what is set aside
 *                         +----------+---------+  compact_stop
 *
 * `compacting` is under the zone's lock; everything else of a run is its caller's. Refuses a second run, and one that has nothing to win.
 */
#include "core/string.h"
#include "mm/compaction.h"

/* --- policies ------------------------------------------------------------------------------------------------------------------- */

static const struct compact_policy *const policies[] = {&compact_occupancy, &compact_classic};

const struct compact_policy *compact_policy_by_name(const char *name) {
  for (unsigned i = 0; i < ARRAY_SIZE(policies); i++) {
    if (strcmp(policies[i]->name, name) == 0)
      return policies[i];
  }
  return NULL;
}

const char *compact_policy_name(const struct compact_policy *policy) {
  return policy->name;
}

/* --- goals ---------------------------------------------------------------------------------------------------------------------- */

static unsigned score_of(struct zone *z) {
  uint64_t whole = (uint64_t)zone_whole_pageblocks(z) << PAGEBLOCK_ORDER, free = zone_free_now(z);
  return free == 0 || whole >= free ? 0 : (unsigned)(100 - 100 * whole / free);
}

unsigned compact_score(unsigned zone) {
  return zone < zone_count ? score_of(&zones[zone]) : 0;
}

bool compact_is_satisfied(const struct compact_run *run, struct zone *z) {
  switch (run->request.mode) {
  case COMPACT_ASYNC:
    return zone_has_block(z, run->request.order);
  case COMPACT_PROACTIVE:
    return score_of(z) <= run->request.target_score;
  default:
    return false;
  }
}

struct move_counts compact_counts(struct compact_run *run) {
  return (struct move_counts){&run->report.moved_frames, &run->report.moved_blocks, run->report.failed_blocks};
}

/* --- a run ---------------------------------------------------------------------------------------------------------------------- */

bool zone_claim(struct zone *z) {
  port_flags_t flags = zone_lock(z);
  bool claimed = !z->compacting;
  z->compacting = true;
  zone_unlock(z, flags);
  return claimed;
}

void zone_unclaim(struct zone *z) {
  port_flags_t flags = zone_lock(z);
  z->compacting = false;
  zone_unlock(z, flags);
}

static bool request_is_good(const struct compact_request *r) {
  if (r->zone >= zone_count || r->mode > COMPACT_PROACTIVE || r->target_score > 100)
    return false;
  return r->mode == COMPACT_ASYNC ? r->order >= 1 && r->order <= MAX_ORDER : r->order == PAGEBLOCK_ORDER;
}

/* --- sweeps --------------------------------------------------------------------------------------------------------------------- */

/* One pageblock has its marks dropped, and is no longer set aside. What that takes, in moves; 0 if there was nothing to do. */
static int put_back(struct zone *z, uint32_t pb, unsigned marks) {
  unsigned flags = atomic_load_relaxed(&pageblocks[pb].flags) & (marks | PB_ISOLATED);
  if (flags & PB_ISOLATED)
    isolate_release(z, pb);
  if (flags & marks)
    pageblock_mark(z, pb, 0, marks);
  return flags & PB_ISOLATED ? COST_RETYPE : flags != 0;
}

/* On with the walk over the zone. True when it has come to the end. */
static bool sweep(struct compact_run *run, struct zone *z, int *budget) {
  for (; run->sweep < pageblock_of(z->end) && *budget > 0; run->sweep++)
    *budget -= put_back(z, run->sweep, run->stale) + glance_cost(run->sweep);
  return run->sweep == pageblock_of(z->end);
}

static void begin_sweep(struct compact_run *run, const struct zone *z, enum compact_stage stage, unsigned marks) {
  run->stage = stage;
  run->stale = (uint8_t)marks;
  run->sweep = pageblock_of(z->start);
}

static void begin_closing(struct compact_run *run, const struct zone *z, err_t result) {
  run->result = result;
  begin_sweep(run, z, COMPACT_CLOSING, run->request.policy->marks_left(run));
}

/* --- steps ---------------------------------------------------------------------------------------------------------------------- */

err_t compact_begin(struct compact_run *run, const struct compact_request *request) {
  *run = (struct compact_run){.request = *request};
  if (!request_is_good(request))
    return ERR_INVAL;
  if (!run->request.policy)
    run->request.policy = &compact_occupancy;
  struct zone *z = &zones[request->zone];
  if (!zone_claim(z))
    return ERR_BUSY;
  page_drain_local();
  page_drain_others();
  err_t err = compact_is_satisfied(run, z) ? ERR_NOENT : run->request.policy->begin(run, z);
  if (err != ERR_OK) {
    zone_unclaim(z);
    *run = (struct compact_run){.request = *request};
    return err;
  }
  run->active = true;
  begin_sweep(run, z, run->stale != 0 ? COMPACT_OPENING : COMPACT_WORKING, run->stale);
  run->report.pageblocks_before = zone_whole_pageblocks(z);
  return ERR_OK;
}

err_t compact_step(struct compact_run *run, unsigned max_moves) {
  CHECK(run->active);
  struct zone *z = &zones[run->request.zone];
  int budget = max_moves == 0 ? 1 : max_moves > INT32_MAX ? INT32_MAX : (int)max_moves;
  if (run->stage == COMPACT_OPENING && sweep(run, z, &budget))
    run->stage = COMPACT_WORKING;
  if (run->stage == COMPACT_WORKING && budget > 0) {
    err_t err = run->request.policy->step(run, z, &budget);
    if (err != ERR_AGAIN)
      begin_closing(run, z, err);
  }
  if (run->stage == COMPACT_CLOSING && budget > 0 && sweep(run, z, &budget))
    run->stage = COMPACT_CLOSED;
  return run->stage == COMPACT_CLOSED ? run->result : ERR_AGAIN;
}

void compact_stop(struct compact_run *run) {
  if (run->active && run->stage < COMPACT_CLOSING)
    begin_closing(run, &zones[run->request.zone], ERR_OK);
}

void compact_end(struct compact_run *run) {
  if (!run->active)
    return;
  struct zone *z = &zones[run->request.zone];
  compact_stop(run);
  while (run->stage != COMPACT_CLOSED && compact_step(run, INT32_MAX) == ERR_AGAIN)
    continue;
  run->active = false;
  uint64_t after = zone_whole_pageblocks(z), before = run->report.pageblocks_before;
  run->report.pageblocks_freed = after > before ? after - before : 0; /* others may have taken more than was won */
  zone_unclaim(z);
}

err_t compact_zone(const struct compact_request *request, struct compact_report *out) {
  struct compact_run run;
  err_t err = compact_begin(&run, request);
  if (err == ERR_OK) {
    while ((err = compact_step(&run, 1024)) == ERR_AGAIN)
      ;
    compact_end(&run);
  }
  *out = run.report;
  return err;
}
