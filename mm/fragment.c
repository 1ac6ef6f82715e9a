/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The seeded fragmenter (include/mm/fragment.h).
 *
 * Its blocks form one chain through their entries (next, prev), in the order they were allocated; rmap is the block's number, private says
 * that it is on the chain. A block's number never changes and never comes twice, so a chain whose numbers add up, with patterns that
 * answer to them, proves that no move lost or doubled anything.
 *
 * The lock covers chain, counts and cursor, and is what freeze holds until thaw: a block is taken off the chain under it, and from then on
 * cannot be moved any more. Allocating and freeing go on outside it. Refuses to move what is not on its chain.
 */
#include "mm/fragment.h"
#include "mm/zone.h"

#define LISTED 1u
#define ORDER_LIMIT 8u
#define ROUNDS_MAX 16u /* of thinning: what is left may be no sum of blocks */
#define FRAMES_PER_STEP                                                                                                                    \
  64u /* whose patterns are written or read: a step may end in the largest block, and is no longer than that and this */
#define WORDS_PER_FRAME (PAGE_SIZE / sizeof(uint64_t))

enum phase {
  IDLE = 0,
  FILLING,
  THINNING,
  READY
};

static struct {
  struct port_lock lock;
  struct fragment_config config;
  enum phase phase;
  uint64_t random;
  uint32_t head, tail, cursor; /* of the chain; INDEX_NONE: none */
  uint64_t next_number, number_sum;
  uint64_t frames, blocks, unmovable, moves;
  unsigned rounds;                     /* THINNING: times along the chain */
  uint64_t excess, ahead;              /* THINNING: frames to give back still, frames from the cursor on */
  uint64_t seen_blocks, seen_sum, bad; /* verification */
  uint64_t touched;                    /* frames, in this step */
} fr;

static uint64_t next_random(void) {
  fr.random ^= fr.random >> 12;
  fr.random ^= fr.random << 25;
  fr.random ^= fr.random >> 27;
  return fr.random * 0x2545f4914f6cdd1dull;
}

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ull;
  return (x ^ x >> 29) * 0xbf58476d1ce4e5b9ull;
}

/* --- the pattern --------------------------------------------------------------------------------------------------------------- */

static uint64_t pattern(uint64_t number, uint64_t frame, uint64_t word) {
  return mix(fr.config.seed ^ number << 20 ^ frame << 10 ^ word);
}

static void write_frame(pfn_t f, uint64_t number, uint64_t frame) {
  uint64_t *to = port_frame_ptr(f);
  for (unsigned i = 0; i < fr.config.words; i++)
    to[i * WORDS_PER_FRAME / fr.config.words] = pattern(number, frame, i);
}

static bool frame_is_good(pfn_t f, uint64_t number, uint64_t frame) {
  const uint64_t *from = port_frame_ptr(f);
  for (unsigned i = 0; i < fr.config.words; i++) {
    if (from[i * WORDS_PER_FRAME / fr.config.words] != pattern(number, frame, i))
      return false;
  }
  return true;
}

/* --- the chain; under the lock ------------------------------------------------------------------------------------------------- */

/* The link of the chain that leads to `index`, and the one that leads back to it, get a new value each. */
static void set_links(const struct frame *frame, uint32_t forward, uint32_t backward) {
  if (frame->prev != INDEX_NONE)
    frame_at(frame->prev)->next = forward;
  else
    fr.head = forward;
  if (frame->next != INDEX_NONE)
    frame_at(frame->next)->prev = backward;
  else
    fr.tail = backward;
}

static void chain(uint32_t index) {
  struct frame *frame = frame_at(index);
  frame->next = INDEX_NONE;
  frame->prev = fr.tail;
  frame->private = LISTED;
  set_links(frame, index, index);
}

static void unchain(uint32_t index) {
  struct frame *frame = frame_at(index);
  frame->private = 0;
  set_links(frame, frame->next, frame->prev);
  if (fr.cursor == index)
    fr.cursor = frame->next;
}

static void count(uint32_t index, bool in) {
  uint64_t word = word_load(frame_at(index)), frames = (uint64_t)1 << word_order(word);
  uint64_t unmovable = word_type(word) == MIGRATE_UNMOVABLE ? frames : 0, number = frame_at(index)->rmap;
  fr.frames += in ? frames : -frames;
  fr.unmovable += in ? unmovable : -unmovable;
  fr.number_sum += in ? number : -number;
  fr.blocks += in ? 1 : ~(uint64_t)0;
}

static port_flags_t lock(void) {
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&fr.lock);
  return flags;
}

static void unlock(port_flags_t flags) {
  port_lock_release(&fr.lock);
  port_irq_restore(flags);
}

static void add(pfn_t f) {
  port_flags_t flags = lock();
  chain(pfn_index(f));
  count(pfn_index(f), true);
  unlock(flags);
}

/* Off the chain, and only then to the allocator. Called with the lock held, which it drops. */
static void release(uint32_t index, port_flags_t flags) {
  unsigned order = frame_at(index)->order;
  count(index, false);
  unchain(index);
  unlock(flags);
  page_free(index_pfn(index), order);
}

/* --- filling and thinning ------------------------------------------------------------------------------------------------------ */

/* Three of four blocks are single frames; the others are of orders 1 to 8, each as often as the next. */
static unsigned pick_order(uint64_t r) {
  return r & 3 ? 0 : 1 + (unsigned)(r >> 8) % ORDER_LIMIT;
}

static bool fill_one(void) {
  uint64_t r = next_random(), left = fr.config.frames - fr.frames, number = fr.next_number;
  bool unmovable = (r >> 32) % 100 < fr.config.unmovable;
  unsigned order = unmovable ? 0 : pick_order(r);
  pfn_t f;
  if (fr.frames >= fr.config.frames)
    return false;
  while ((uint64_t)1 << order > left)
    order--;
  while (page_alloc_owned(order, unmovable ? ALLOC_UNMOVABLE : ALLOC_MOVABLE, fr.config.owner, number, &f) != ERR_OK) {
    if (order-- == 0)
      return false;
  }
  for (uint64_t i = 0; i < (uint64_t)1 << order; i++)
    write_frame(pfn_add(f, i), number, i);
  fr.touched += (uint64_t)1 << order;
  fr.next_number++;
  add(f);
  return true;
}

static void begin_thinning(void) {
  uint64_t keep = fr.frames * fr.config.occupancy / 100;
  port_flags_t flags = lock(); /* a move looks at the cursor */
  fr.cursor = INDEX_NONE;
  unlock(flags);
  fr.phase = THINNING;
  fr.excess = fr.frames - keep;
  fr.ahead = 0;
  fr.rounds = 0;
}

/* Half of the pageblocks lose seven times as much as the other half. */
static bool is_to_go(uint32_t index, uint64_t frames) {
  uint64_t weight = mix(fr.config.seed ^ pageblock_of(index)) & 1 ? 7 : 1;
  return frames <= fr.excess && next_random() % (4 * fr.ahead) < weight * fr.excess;
}

/* Look at one block. False: nothing is left to give back. A round along the chain that was not enough is followed by another. */
static bool thin_one(void) {
  port_flags_t flags = lock();
  if (fr.cursor == INDEX_NONE) {
    fr.cursor = fr.head;
    fr.ahead = fr.frames;
    fr.rounds++;
  }
  uint32_t index = fr.cursor;
  if (fr.excess == 0 || index == INDEX_NONE || fr.rounds > ROUNDS_MAX) {
    unlock(flags);
    return false;
  }
  uint64_t frames = (uint64_t)1 << frame_at(index)->order;
  bool go = is_to_go(index, frames);
  fr.cursor = frame_at(index)->next;
  fr.ahead -= frames;
  if (go) {
    fr.excess -= frames;
    release(index, flags);
  } else {
    unlock(flags);
  }
  return true;
}

err_t fragment_begin(const struct fragment_config *config) {
  if (config->occupancy > 100 || config->unmovable > 100 || config->words > WORDS_PER_FRAME || config->owner >= OWNERS_MAX)
    return ERR_INVAL;
  if (fr.blocks != 0)
    return ERR_BUSY;
  fr.config = *config;
  fr.phase = FILLING;
  fr.random = mix(config->seed + 1) | 1;
  fr.head = fr.tail = fr.cursor = INDEX_NONE;
  fr.frames = fr.unmovable = fr.moves = fr.number_sum = fr.next_number = 0;
  return ERR_OK;
}

err_t fragment_step(unsigned max_blocks) {
  fr.touched = 0;
  for (unsigned i = 0; i < max_blocks && fr.touched < FRAMES_PER_STEP; i++) {
    if (fr.phase == FILLING && !fill_one())
      begin_thinning();
    if (fr.phase == THINNING && !thin_one())
      fr.phase = READY;
    if (fr.phase == READY || fr.phase == IDLE)
      return ERR_OK;
  }
  return ERR_AGAIN;
}

err_t fragment_free_step(unsigned max_blocks) {
  fr.phase = READY;
  for (unsigned i = 0; i < max_blocks && fr.blocks != 0; i++) {
    port_flags_t flags = lock();
    release(fr.head, flags);
  }
  return fr.blocks != 0 ? ERR_AGAIN : ERR_OK;
}

/* --- looking at it ------------------------------------------------------------------------------------------------------------- */

static unsigned score(void) {
  uint64_t free = 0, whole = 0;
  struct buddyinfo info;
  for (unsigned zone = 0; page_buddyinfo(zone, &info); zone++) {
    free += info.free_frames;
    whole += info.unopened_frames + (info.free_blocks[PAGEBLOCK_ORDER] << PAGEBLOCK_ORDER) + (info.free_blocks[MAX_ORDER] << MAX_ORDER);
  }
  return free == 0 ? 0 : (unsigned)(100 - 100 * whole / free);
}

void fragment_report(struct fragment_report *out) {
  port_flags_t flags = lock();
  *out = (struct fragment_report){
      .frames = fr.frames, .blocks = fr.blocks, .unmovable_frames = fr.unmovable, .moves = fr.moves, .bad_frames = fr.bad};
  unlock(flags);
  out->score = score();
}

void fragment_verify_begin(void) {
  port_flags_t flags = lock();
  fr.cursor = fr.blocks != 0 ? fr.head : INDEX_NONE;
  fr.seen_blocks = fr.seen_sum = fr.bad = 0;
  unlock(flags);
}

/* The block under the cursor; the lock keeps it where it is meanwhile. False at the end of the chain. */
static bool verify_one(void) {
  port_flags_t flags = lock();
  bool more = fr.cursor != INDEX_NONE;
  if (more) {
    struct frame *frame = frame_at(fr.cursor);
    for (uint64_t i = 0; i < (uint64_t)1 << frame->order; i++)
      fr.bad += !frame_is_good(pfn_add(index_pfn(fr.cursor), i), frame->rmap, i);
    fr.touched += (uint64_t)1 << frame->order;
    fr.seen_blocks++;
    fr.seen_sum += frame->rmap;
    fr.cursor = frame->next;
  }
  unlock(flags);
  return more;
}

static err_t verdict(void) {
  return fr.bad == 0 && fr.seen_blocks == fr.blocks && fr.seen_sum == fr.number_sum ? ERR_OK : ERR_FAULT;
}

err_t fragment_verify_step(unsigned max_blocks) {
  fr.touched = 0;
  for (unsigned i = 0; i < max_blocks && fr.touched < FRAMES_PER_STEP; i++) {
    if (!verify_one())
      return verdict();
  }
  return ERR_AGAIN;
}

/* --- moving -------------------------------------------------------------------------------------------------------------------- */

static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  const struct frame *frame = frame_of(from);
  port_lock_acquire(&fr.lock);
  uint64_t word = word_load(frame);
  if (word_order(word) == order && word_owner(word) == owner && (word & WORD_STATE_MASK) == FRAME_OWNED &&
      atomic_load_relaxed(&frame->rmap) == rmap && atomic_load_relaxed(&frame->private) == LISTED)
    return ERR_OK;
  port_lock_release(&fr.lock);
  return ERR_NOENT;
}

static void move(pfn_t from, pfn_t to, unsigned order) {
  for (uint64_t i = 0; i < (uint64_t)1 << order && fr.config.words != 0; i++)
    port_copy_frame(pfn_add(to, i), pfn_add(from, i));
  set_links(frame_of(to), pfn_index(to), pfn_index(to));
  if (fr.cursor == pfn_index(from))
    fr.cursor = pfn_index(to);
  fr.moves++;
}

static void thaw(pfn_t at, unsigned order, owner_t owner) {
  (void)at, (void)order, (void)owner;
  port_lock_release(&fr.lock);
}

const struct migrate_ops fragment_migrate_ops = {.freeze = freeze, .move = move, .thaw = thaw};
