/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contiguous ranges by moving what lies in them (include/mm/compact.h; Linux: alloc_contig_range).
 *
 * A run claims every zone its search range touches, notes in each pageblock's `link` how many frames would have to move (none if something
 * there does not), and takes the window with the smallest sum. The window's pageblocks are set aside, emptied one after the other, and
 * taken out of the buddy; targets may be of any size, as whole pageblocks outside the window serve a range that cannot be had otherwise.
 * What turns out not to move rules its pageblock out, and the next best window is tried; what has moved stays moved.
 *
 * Whatever the end, no pageblock stays set aside. No lock but the zone's, for one pageblock or one block at a time.
 */
#include "mm/compaction.h"

#define SCAN_PAGEBLOCKS 16u
#define BUSY_ROUNDS 64u
#define NO_WINDOW INDEX_NONE

enum phase {
  SURVEYING,
  CHOOSING,
  ISOLATING,
  EMPTYING,
  DONE
};

static uint32_t first_pageblock(const struct contig_run *run) {
  return pageblock_of(pfn_index(run->within_start));
}

static uint32_t end_pageblock(const struct contig_run *run) {
  return pageblock_of(pfn_index(run->within_end));
}

static uint32_t window_first(const struct contig_run *run) {
  return pageblock_of(pfn_index(run->start));
}

static uint32_t window_count(const struct contig_run *run) {
  return (uint32_t)(run->frames >> PAGEBLOCK_ORDER);
}

static struct zone *zone_of_window(const struct contig_run *run) {
  return zone_of(pfn_index(run->start));
}

/* --- zones ----------------------------------------------------------------------------------------------------------------------- */

static bool touches(const struct contig_run *run, const struct zone *z) {
  return pfn_index(run->within_start) < z->end && z->start < pfn_index(run->within_end);
}

static void unclaim(const struct contig_run *run, const struct zone *end) {
  for (struct zone *z = zones; z < end; z++) {
    if (touches(run, z))
      zone_unclaim(z);
  }
}

static bool claim(const struct contig_run *run) {
  for (struct zone *z = zones; z < zones + zone_count; z++) {
    if (touches(run, z) && !zone_claim(z)) {
      unclaim(run, z);
      return false;
    }
  }
  return true;
}

/* --- the window ------------------------------------------------------------------------------------------------------------------ */

static bool is_in_zone(uint32_t pb) {
  uint32_t index = pb << PAGEBLOCK_ORDER;
  for (const struct zone *z = zones; z < zones + zone_count; z++) {
    if (index >= z->start && index < z->end)
      return pageblock_kind(pb) != PAGEBLOCK_NONE;
  }
  return false;
}

static bool may_go(const struct part *p) {
  return p->free || p->can == MOVE_DONE || p->can == MOVE_BUSY;
}

/* Frames to move out of the pageblock; INDEX_NONE if something in it stays. */
static uint32_t cost_of(uint32_t pb) {
  uint32_t cost = 0;
  struct part p;
  if (!is_in_zone(pb))
    return INDEX_NONE;
  for (uint32_t at = pb << PAGEBLOCK_ORDER; at < (pb + 1) << PAGEBLOCK_ORDER; at = part_end(&p)) {
    part_read(at, &p);
    if (!may_go(&p))
      return INDEX_NONE;
    cost += p.free ? 0 : 1u << p.order;
  }
  return cost;
}

/* Sum over a window; INDEX_NONE if one of its pageblocks is ruled out, or lies in another zone. */
static uint32_t window_cost(const struct contig_run *run, uint32_t first) {
  uint32_t sum = 0, last = first + window_count(run) - 1;
  for (uint32_t pb = first; pb <= last; pb++) {
    if (pageblocks[pb].link == INDEX_NONE)
      return INDEX_NONE;
    sum += pageblocks[pb].link;
  }
  return zone_of(first << PAGEBLOCK_ORDER) == zone_of(last << PAGEBLOCK_ORDER) ? sum : INDEX_NONE;
}

static bool choose(struct contig_run *run) {
  uint32_t best = INDEX_NONE;
  pfn_t at = pfn(align_up(run->within_start.v, run->align));
  for (; at.v + run->frames <= run->within_end.v; at.v += run->align) {
    uint32_t cost = window_cost(run, pageblock_of(pfn_index(at)));
    if (cost < best) {
      best = cost;
      run->start = at;
    }
  }
  return best != INDEX_NONE;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

static void survey_step(struct contig_run *run) {
  uint32_t end = end_pageblock(run);
  for (unsigned i = 0; i < SCAN_PAGEBLOCKS && run->cursor < end; i++, run->cursor++)
    pageblocks[run->cursor].link = cost_of(run->cursor);
  if (run->cursor == end)
    run->phase = CHOOSING;
}

static void release_window(struct contig_run *run) {
  if (run->phase != ISOLATING && run->phase != EMPTYING)
    return;
  for (uint32_t pb = window_first(run); pb < window_first(run) + window_count(run); pb++)
    isolate_release(zone_of_window(run), pb);
}

static void finish(struct contig_run *run) {
  release_window(run);
  unclaim(run, zones + zone_count);
  run->phase = DONE;
}

/* The pageblock under the cursor does not yield: never again in this run. */
static void give_up_window(struct contig_run *run) {
  pageblocks[run->cursor].link = INDEX_NONE;
  release_window(run);
  run->phase = CHOOSING;
}

static void isolate_step(struct contig_run *run) {
  uint32_t end = window_first(run) + window_count(run);
  for (unsigned i = 0; i < SCAN_PAGEBLOCKS && run->cursor < end; i++, run->cursor++)
    isolate_pageblock(zone_of_window(run), run->cursor, PB_CONTIG);
  if (run->cursor < end)
    return;
  run->phase = EMPTYING;
  run->cursor = window_first(run);
  evacuate_begin(&run->evacuee, run->cursor << PAGEBLOCK_ORDER, PAGEBLOCK_ORDER, MAX_ORDER, COMPACT_ANY_OWNER);
}

/* --- taking it ------------------------------------------------------------------------------------------------------------------- */

/* The largest block that starts at `index` within [index, end). */
static unsigned order_at(uint32_t index, uint32_t end) {
  return is_aligned(index_pfn(index).v, CHUNK_FRAMES) && end - index >= CHUNK_FRAMES ? MAX_ORDER : PAGEBLOCK_ORDER;
}

static bool take_block(struct zone *z, uint32_t index, unsigned order) {
  port_flags_t flags = zone_lock(z);
  bool taken = buddy_take_at(z, index, order);
  if (taken) {
    word_store(frame_at(index), word_make(FRAME_CORE, order, MIGRATE_UNMOVABLE, FRAME_F_HEAD));
    ledger_move(percpu_this(), ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(FRAME_CORE, OWNER_CORE), 1u << order);
  }
  zone_unlock(z, flags);
  return taken;
}

/* All of the window, or nothing: false if a frame has slipped out of the buddy, which the isolation allows only for a per-CPU list. */
static bool take_window(struct contig_run *run) {
  uint32_t index = pfn_index(run->start), end = index + (uint32_t)run->frames;
  while (index < end) {
    unsigned order = order_at(index, end);
    if (order == MAX_ORDER && !take_block(zone_of_window(run), index, order))
      order = PAGEBLOCK_ORDER;
    else if (order == MAX_ORDER) {
      index += 1u << order;
      continue;
    }
    if (!take_block(zone_of_window(run), index, order)) {
      contig_free(run->start, index - pfn_index(run->start));
      run->cursor = pageblock_of(index);
      return false;
    }
    index += 1u << order;
  }
  return true;
}

static err_t empty_step(struct contig_run *run, int *budget) {
  const struct move_counts counts = {&run->moved_frames, &run->moved_blocks, run->failed_blocks};
  if (run->cursor == window_first(run) + window_count(run)) {
    if (take_window(run)) {
      finish(run);
      return ERR_OK;
    }
    give_up_window(run);
    return ERR_AGAIN;
  }
  switch (evacuate_step(zone_of_window(run), &run->evacuee, &counts, budget)) {
  case EVACUATION_MORE:
    return ERR_AGAIN;
  case EVACUATED:
    run->cursor++;
    run->rounds = 0;
    evacuate_begin(&run->evacuee, run->cursor << PAGEBLOCK_ORDER, PAGEBLOCK_ORDER, MAX_ORDER, COMPACT_ANY_OWNER);
    return ERR_AGAIN;
  case EVACUATION_BUSY:
    *budget = 0; /* let time pass */
    if (++run->rounds < BUSY_ROUNDS)
      return ERR_AGAIN;
    break;
  default:
    break;
  }
  give_up_window(run);
  return ERR_AGAIN;
}

static err_t choose_step(struct contig_run *run) {
  if (!choose(run)) {
    finish(run);
    return ERR_NOSPC;
  }
  run->phase = ISOLATING;
  run->cursor = window_first(run);
  run->rounds = 0;
  return ERR_AGAIN;
}

/* --- doors ----------------------------------------------------------------------------------------------------------------------- */

err_t contig_begin(struct contig_run *run, uint64_t frames, uint64_t align_frames, pfn_t start, pfn_t end) {
  if (frames == 0 || !is_aligned(frames, PAGEBLOCK_FRAMES) || !is_pow2(align_frames) || align_frames < PAGEBLOCK_FRAMES || start.v >= end.v)
    return ERR_INVAL;
  uint64_t limit = frame_base_pfn + frame_count;
  *run = (struct contig_run){.frames = frames, .align = align_frames};
  run->within_start = pfn(align_up(max_u64(start.v, frame_base_pfn), PAGEBLOCK_FRAMES));
  run->within_end = pfn(align_down(min_u64(end.v, limit), PAGEBLOCK_FRAMES));
  if (run->within_start.v >= run->within_end.v || run->within_end.v - run->within_start.v < frames)
    return ERR_NOSPC;
  run->start = PFN_NONE;
  if (!claim(run))
    return ERR_BUSY;
  run->cursor = first_pageblock(run);
  page_drain_local();
  return ERR_OK;
}

err_t contig_step(struct contig_run *run, unsigned max_moves) {
  int budget = max_moves == 0 ? 1 : max_moves > INT32_MAX ? INT32_MAX : (int)max_moves;
  switch (run->phase) {
  case SURVEYING:
    survey_step(run);
    return ERR_AGAIN;
  case CHOOSING:
    return choose_step(run);
  case ISOLATING:
    isolate_step(run);
    return ERR_AGAIN;
  default:
    CHECK(run->phase == EMPTYING);
  }
  err_t err = ERR_AGAIN;
  while (err == ERR_AGAIN && budget > 0 && run->phase == EMPTYING) {
    err = empty_step(run, &budget);
    budget--; /* an empty pageblock was looked at, too */
  }
  return err;
}

void contig_cancel(struct contig_run *run) {
  if (run->phase != DONE)
    finish(run);
}

void contig_free(pfn_t start, uint64_t frames) {
  for (uint64_t done = 0; done < frames;) {
    unsigned order = frame_of(pfn_add(start, done))->order;
    page_free_direct(pfn_add(start, done), order);
    done += (uint64_t)1 << order;
  }
}
