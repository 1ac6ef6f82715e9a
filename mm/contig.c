/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contiguous ranges by moving what lies in them (include/mm/compact.h; Linux: alloc_contig_range).
 *
 * A run claims every zone its search range touches, notes in each pageblock's `link` how many frames would have to move (none if something
 * there does not), and takes the window with the smallest sum. The window's pageblocks are set aside, emptied one after the other, and
 * taken out of the buddy; targets may be of any size, as whole pageblocks outside the window serve a range that cannot be had otherwise.
 * What turns out not to move rules its pageblock out, and the next best window is tried; what has moved stays moved.
 *
 *     SURVEYING -> CHOOSING -> ISOLATING -> EMPTYING -> TAKING -> RELEASING -> DONE (ERR_OK)
 *                   ^   |                      |           |
 *                   |   +-> DONE (ERR_NOSPC)   |           +-> RETURNING -+
 *                   +------ RELEASING <--------+--------------------------+
 *
 * Each arrow but those to DONE is a walk in pieces, charged to the step's budget (compaction.h), so that neither the zone's size nor the
 * range's is in a masked stretch. Whatever the end, no pageblock stays set aside. No lock but the zone's, for one pageblock or one block at
 * a time.
 */
#include "mm/compaction.h"

#define BUSY_ROUNDS 64u
#define NO_WINDOW INDEX_NONE

enum phase {
  SURVEYING,
  CHOOSING,
  ISOLATING,
  EMPTYING,
  TAKING,
  RETURNING,
  RELEASING,
  DONE
};

/* Pageblocks looked at, or blocks taken or given back, for the price of a move. */
#define WINDOW_GLANCES 32u
#define BLOCKS_PER_MOVE 4u

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

static void begin_choosing(struct contig_run *run) {
  run->phase = CHOOSING;
  run->window = (struct contig_window){.at = pfn(align_up(run->within_start.v, run->align)), .best = UINT64_MAX};
  run->rounds = 0;
}

/* The pageblock enters the sum (sign 1), or leaves it (-1). */
static void add_pageblock(struct contig_window *w, uint32_t pb, int sign) {
  if (pageblocks[pb].link == INDEX_NONE)
    w->ruled_out += (uint32_t)sign;
  else
    w->sum += (uint64_t)((int64_t)sign * pageblocks[pb].link);
}

/* The sum is that of the whole window. Is it the best so far, with nothing ruled out and all in one zone? Then the next. */
static void judge_window(struct contig_run *run) {
  struct contig_window *w = &run->window;
  uint32_t first = pfn_index(w->at), last = first + (uint32_t)run->frames - 1;
  if (w->ruled_out == 0 && w->sum < w->best && zone_of(first) == zone_of(last)) {
    w->best = w->sum;
    run->start = w->at;
  }
  w->at.v += run->align;
}

/*
 * The sum slides along with the window: pageblocks [head, tail) are in it, those before the window leave, those up to its end enter, so
 * that each enters and leaves once however the windows overlap. True when all windows have been judged.
 */
static bool slide(struct contig_run *run, int *budget) {
  struct contig_window *w = &run->window;
  for (unsigned i = 1; *budget > 0; i++) {
    if (w->at.v + run->frames > run->within_end.v)
      return true;
    uint32_t first = pageblock_of(pfn_index(w->at));
    if (w->head == w->tail && w->head < first)
      w->head = w->tail = first;
    else if (w->head < first)
      add_pageblock(w, w->head++, -1);
    else if (w->tail < first + window_count(run))
      add_pageblock(w, w->tail++, 1);
    else
      judge_window(run);
    *budget -= i % WINDOW_GLANCES == 0;
  }
  return false;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

static void survey_step(struct contig_run *run, int *budget) {
  uint32_t end = end_pageblock(run);
  for (; *budget > 0 && run->cursor < end; run->cursor++) {
    pageblocks[run->cursor].link = cost_of(run->cursor);
    *budget -= pageblock_kind(run->cursor) == PAGEBLOCK_SPLIT ? COST_LOOK : 1;
  }
  if (run->cursor == end)
    begin_choosing(run);
}

static uint32_t window_end(const struct contig_run *run) {
  return window_first(run) + window_count(run);
}

/*
 * The window's pageblocks below the cursor have been set aside: put them back, and then answer `result`, or choose again if it is
 * ERR_AGAIN.
 */
static void begin_releasing(struct contig_run *run, uint32_t set_aside, err_t result) {
  run->phase = RELEASING;
  run->cursor = set_aside;
  run->result = result;
}

static err_t finish(struct contig_run *run, err_t result) {
  unclaim(run, zones + zone_count);
  run->phase = DONE;
  return result;
}

/* Downwards, so that the cursor says what is left. */
static err_t release_step(struct contig_run *run, int *budget) {
  for (; *budget > 0 && run->cursor > window_first(run); *budget -= COST_RETYPE)
    isolate_release(zone_of_window(run), --run->cursor);
  if (run->cursor > window_first(run))
    return ERR_AGAIN;
  if (run->result != ERR_AGAIN)
    return finish(run, run->result);
  begin_choosing(run);
  return ERR_AGAIN;
}

/* The pageblock does not yield: never again in this run. */
static void give_up_window(struct contig_run *run, uint32_t pb) {
  pageblocks[pb].link = INDEX_NONE;
  begin_releasing(run, window_end(run), ERR_AGAIN);
}

static void isolate_step(struct contig_run *run, int *budget) {
  for (; *budget > 0 && run->cursor < window_end(run); *budget -= COST_RETYPE)
    isolate_pageblock(zone_of_window(run), run->cursor++, PB_CONTIG);
  if (run->cursor < window_end(run))
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

/* The largest block that can be had at the cursor; its pageblocks, or 0 if a frame has slipped out of the buddy. */
static uint32_t take_next(struct contig_run *run) {
  uint32_t index = run->cursor << PAGEBLOCK_ORDER;
  unsigned order = order_at(index, window_end(run) << PAGEBLOCK_ORDER);
  for (; order >= PAGEBLOCK_ORDER; order--) {
    if (take_block(zone_of_window(run), index, order))
      return 1u << (order - PAGEBLOCK_ORDER);
  }
  return 0;
}

/* All of the window, or nothing: what slips out, which the isolation allows only for a per-CPU list, makes the rest go back. */
static void take_step(struct contig_run *run, int *budget) {
  for (unsigned blocks = 1; *budget > 0 && run->cursor < window_end(run); blocks++) {
    uint32_t taken = take_next(run);
    if (taken == 0) {
      run->culprit = run->cursor;
      run->phase = RETURNING;
      return;
    }
    run->cursor += taken;
    *budget -= blocks % BLOCKS_PER_MOVE == 0;
  }
  if (run->cursor == window_end(run))
    begin_releasing(run, window_end(run), ERR_OK);
}

/* What has been taken, up to the cursor, goes back; downwards. */
static void return_step(struct contig_run *run, int *budget) {
  for (unsigned blocks = 1; *budget > 0 && run->cursor > window_first(run); blocks++) {
    uint32_t head = entry_find_head((run->cursor - 1) << PAGEBLOCK_ORDER);
    unsigned order = word_order(word_load(frame_at(head)));
    page_free_direct(index_pfn(head), order);
    run->cursor -= 1u << (order - PAGEBLOCK_ORDER);
    *budget -= blocks % BLOCKS_PER_MOVE == 0;
  }
  if (run->cursor == window_first(run))
    give_up_window(run, run->culprit);
}

static void begin_taking(struct contig_run *run) {
  run->phase = TAKING;
  run->cursor = window_first(run);
}

static void empty_step(struct contig_run *run, int *budget) {
  const struct move_counts counts = {&run->moved_frames, &run->moved_blocks, run->failed_blocks};
  if (run->cursor == window_end(run)) {
    begin_taking(run);
    return;
  }
  switch (evacuate_step(zone_of_window(run), &run->evacuee, &counts, budget)) {
  case EVACUATION_MORE:
    return;
  case EVACUATED:
    --*budget; /* an empty pageblock was looked at, too */
    run->cursor++;
    run->rounds = 0;
    evacuate_begin(&run->evacuee, run->cursor << PAGEBLOCK_ORDER, PAGEBLOCK_ORDER, MAX_ORDER, COMPACT_ANY_OWNER);
    return;
  case EVACUATION_BUSY:
    *budget = 0; /* let time pass */
    if (++run->rounds < BUSY_ROUNDS)
      return;
    break;
  default:
    break;
  }
  give_up_window(run, run->cursor);
}

static err_t choose_step(struct contig_run *run, int *budget) {
  if (!slide(run, budget))
    return ERR_AGAIN;
  if (run->window.best == UINT64_MAX)
    return finish(run, ERR_NOSPC);
  run->phase = ISOLATING;
  run->cursor = window_first(run);
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
  page_drain_others();
  return ERR_OK;
}

/* Stopped: what the phase has done is undone, which leads to CHOOSING. */
static void turn_back(struct contig_run *run) {
  if (run->phase == ISOLATING || run->phase == EMPTYING)
    begin_releasing(run, run->phase == ISOLATING ? run->cursor : window_end(run), ERR_AGAIN);
  if (run->phase == RELEASING && run->result == ERR_OK) { /* all of it was taken */
    run->phase = TAKING;
    run->cursor = window_end(run);
  }
  if (run->phase == TAKING) {
    run->phase = RETURNING;
    run->culprit = window_first(run);
  }
}

/* A piece of the phase. Anything but ERR_AGAIN: the run is DONE. */
static err_t advance(struct contig_run *run, int *budget) {
  switch (run->phase) {
  case SURVEYING:
    if (run->stopping)
      return finish(run, ERR_NOENT);
    survey_step(run, budget);
    return ERR_AGAIN;
  case CHOOSING:
    return run->stopping ? finish(run, ERR_NOENT) : choose_step(run, budget);
  case ISOLATING:
    isolate_step(run, budget);
    return ERR_AGAIN;
  case EMPTYING:
    empty_step(run, budget);
    return ERR_AGAIN;
  case TAKING:
    take_step(run, budget);
    return ERR_AGAIN;
  case RETURNING:
    return_step(run, budget);
    return ERR_AGAIN;
  default:
    CHECK(run->phase == RELEASING);
    return release_step(run, budget);
  }
}

err_t contig_step(struct contig_run *run, unsigned max_moves) {
  int budget = max_moves == 0 ? 1 : max_moves > INT32_MAX ? INT32_MAX : (int)max_moves;
  err_t err = ERR_AGAIN;
  if (run->stopping)
    turn_back(run);
  while (err == ERR_AGAIN && budget > 0)
    err = advance(run, &budget);
  return err;
}

void contig_stop(struct contig_run *run) {
  run->stopping = true;
}

void contig_cancel(struct contig_run *run) {
  contig_stop(run);
  while (run->phase != DONE && contig_step(run, INT32_MAX) == ERR_AGAIN)
    continue;
}

void contig_free(pfn_t start, uint64_t frames) {
  for (uint64_t done = 0; done < frames;) {
    unsigned order = frame_of(pfn_add(start, done))->order;
    page_free_direct(pfn_add(start, done), order);
    done += (uint64_t)1 << order;
  }
}
