/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a compaction run (include/mm/compact.h): what is common to both policies.
 *
 * A run claims its zone (`compacting`), so that there is one at a time, works in steps, and lets the zone go with nothing set aside and no
 * mark left but the classic policy's skip hints. The policy decides what moves where; here stand the modes' goals, the score, and the
 * counts before and after.
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
  uint64_t whole = (uint64_t)zone_whole_pageblocks(z) << PAGEBLOCK_ORDER, free = atomic_load_relaxed(&z->free);
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
  err_t err = compact_is_satisfied(run, z) ? ERR_NOENT : run->request.policy->begin(run, z);
  if (err != ERR_OK) {
    zone_unclaim(z);
    *run = (struct compact_run){.request = *request};
    return err;
  }
  run->active = true;
  run->report.pageblocks_before = zone_whole_pageblocks(z);
  return ERR_OK;
}

err_t compact_step(struct compact_run *run, unsigned max_moves) {
  CHECK(run->active);
  struct zone *z = &zones[run->request.zone];
  int budget = max_moves == 0 ? 1 : max_moves > INT32_MAX ? INT32_MAX : (int)max_moves;
  return run->request.policy->step(run, z, budget);
}

void compact_end(struct compact_run *run) {
  if (!run->active)
    return;
  struct zone *z = &zones[run->request.zone];
  run->active = false;
  run->request.policy->end(run, z);
  isolate_release_all(z);
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
