/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a step of compaction, or of a search for a contiguous range, keeps its CPU, in a zone of 64 GiB: homes run steps with interrupts
 * masked, so a step must not know how large the zone is, and a stretch that the core itself masks even less.
 *
 * The compiler reports each basic block that is executed (trace-pc). A block of the core is some five instructions long; the limits are in
 * blocks. The owner's part of a move is two stores here.
 */
// sources: tests/host/host_zone.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -O2 -fno-sanitize=address,undefined -fsanitize-coverage=trace-pc
// libs: -fno-sanitize=address,undefined
#include "host_zone.h"
#include "mm/compact.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "mm/port.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FRAMES ((uint64_t)64 << 18)
#define PAGEBLOCKS (FRAMES >> PAGEBLOCK_ORDER)
#define SPREAD 48u /* one pageblock of so many is in use: the frame table of all would be half a GiB */
#define OWNER ((owner_t)1)
#define OWNED_MAX (PAGEBLOCKS / SPREAD * PAGEBLOCK_FRAMES)
#define STEP_MOVES 24u        /* as the hypervisor takes */
#define SET_ASIDE_AFTER 5000u /* steps: the plan stands by then, and most of it is still to be done */
#define INSTRUCTIONS_PER_BLOCK 5u
#define STEP_LIMIT (100000u / INSTRUCTIONS_PER_BLOCK) /* no stretch at EL2 is longer */
#define MASKED_LIMIT (40000u / INSTRUCTIONS_PER_BLOCK)

static uint64_t blocks, masked_since, masked_most;
static bool counting, masked;

/* Called at the start of each basic block of all that this test is built from, but itself. */
void __sanitizer_cov_trace_pc(void);
__attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc(void) {
  blocks++;
  if (!masked && port_host_irq_depth != 0)
    masked_since = blocks;
  else if (counting && masked && port_host_irq_depth == 0 && blocks - masked_since > masked_most)
    masked_most = blocks - masked_since;
  masked = port_host_irq_depth != 0;
}

/* --- the owner ------------------------------------------------------------------------------------------------------------------- */

static uint64_t place[OWNED_MAX]; /* of each of its frames */
static uint64_t owned;
static pfn_t base;

static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  return order == 0 && owner == OWNER && rmap < owned && place[rmap] == from.v ? ERR_OK : ERR_NOENT;
}

static void move(pfn_t from, pfn_t to, unsigned order) {
  (void)from, (void)order;
  place[frame_of(to)->rmap] = to.v;
}

static void thaw(pfn_t at, unsigned order, owner_t owner) {
  (void)at, (void)order, (void)owner;
}

static const struct migrate_ops ops = {.freeze = freeze, .move = move, .thaw = thaw};

/* In each pageblock that is in use every other frame, which makes the longest free lists; unmovable ones in some, if so wished. */
static void scatter(bool unmovable_too) {
  base = host_zone_create(FRAMES);
  migrate_set_ops(&ops);
  owned = 0;
  for (uint64_t i = 0; i < FRAMES; i += i % PAGEBLOCK_FRAMES == PAGEBLOCK_FRAMES - 2 ? (SPREAD - 1) * PAGEBLOCK_FRAMES + 2 : 2) {
    pfn_t f = pfn_add(base, i);
    bool stays = unmovable_too && (i >> PAGEBLOCK_ORDER) % (8 * SPREAD) == 0;
    if (page_alloc_at(f, 0, (stays ? ALLOC_UNMOVABLE | ALLOC_RETURN_CORE : ALLOC_MOVABLE) | ALLOC_ATOMIC) != ERR_OK)
      fail_msg("frame %lu is not to be had", (unsigned long)f.v);
    if (!stays)
      frame_set_state(f, 0, FRAME_OWNED, OWNER, owned);
    place[owned++] = f.v;
  }
}

static void check_and_destroy(void) {
  for (uint64_t pb = 0; pb < PAGEBLOCKS; pb++)
    assert_int_not_equal(page_block_type(pfn_add(base, pb << PAGEBLOCK_ORDER)), MIGRATE_ISOLATE);
  assert_int_equal(page_free_frames(), FRAMES - owned);
  port_host_ram_destroy();
}

/* --- what is counted ------------------------------------------------------------------------------------------------------------- */

struct longest {
  uint64_t step, steps;
};

static void begin_counting(void) {
  masked_most = 0;
  counting = true;
}

static void note(struct longest *l, uint64_t begun) {
  uint64_t took = blocks - begun;
  l->step = took > l->step ? took : l->step;
  l->steps++;
}

static void judge(const char *what, const struct longest *l) {
  counting = false;
  print_message("%s: %lu steps, the longest of %lu blocks; interrupts masked for %lu\n", what, (unsigned long)l->steps,
                (unsigned long)l->step, (unsigned long)masked_most);
  assert_in_range(l->step, 1, STEP_LIMIT);
  assert_in_range(masked_most, 1, MASKED_LIMIT);
}

/* --- compaction ------------------------------------------------------------------------------------------------------------------ */

static void compact(const char *what, const struct compact_policy *policy, uint64_t stop_after) {
  struct compact_request r = {.policy = policy, .mode = COMPACT_SYNC, .order = PAGEBLOCK_ORDER, .owner = COMPACT_ANY_OWNER};
  struct longest longest = {0};
  struct compact_run run;
  begin_counting();
  uint64_t begun = blocks;
  assert_int_equal(compact_begin(&run, &r), ERR_OK);
  note(&longest, begun);
  for (err_t err = ERR_AGAIN; err == ERR_AGAIN;) {
    if (longest.steps == stop_after)
      compact_stop(&run);
    begun = blocks;
    err = compact_step(&run, STEP_MOVES);
    note(&longest, begun);
  }
  begun = blocks;
  compact_end(&run);
  note(&longest, begun);
  judge(what, &longest);
  if (stop_after == 0)
    assert_in_range(run.report.moved_frames, 10000, OWNED_MAX);
}

static void compaction_keeps_its_bound(void **state) {
  (void)state;
  scatter(true);
  compact("occupancy", &compact_occupancy, 0);
  check_and_destroy();
  scatter(false);
  compact("classic", &compact_classic, 0);
  check_and_destroy();
}

static void a_run_that_is_stopped_keeps_it(void **state) {
  (void)state;
  scatter(false);
  compact("stopped", &compact_occupancy, SET_ASIDE_AFTER);
  check_and_destroy();
}

/* While much is set aside, somebody in need takes all there is. */
static void giving_way_keeps_it(void **state) {
  (void)state;
  struct compact_request r = {.mode = COMPACT_SYNC, .order = PAGEBLOCK_ORDER, .owner = COMPACT_ANY_OWNER};
  struct compact_run run;
  struct longest longest = {0};
  pfn_t f;
  scatter(false);
  assert_int_equal(compact_begin(&run, &r), ERR_OK);
  for (unsigned i = 0; i < SET_ASIDE_AFTER; i++)
    assert_int_equal(compact_step(&run, STEP_MOVES), ERR_AGAIN);
  unsigned set_aside = 0;
  for (uint64_t pb = 0; pb < PAGEBLOCKS; pb++)
    set_aside += page_block_type(pfn_add(base, pb << PAGEBLOCK_ORDER)) == MIGRATE_ISOLATE;
  assert_in_range(set_aside, 100, PAGEBLOCKS); /* else it would prove nothing */
  while (page_alloc(MAX_ORDER, ALLOC_MOVABLE | ALLOC_ATOMIC, &f) == ERR_OK)
    owned += 1u << MAX_ORDER;
  begin_counting();
  for (uint64_t begun = blocks; page_alloc(0, ALLOC_MOVABLE | ALLOC_ATOMIC, &f) == ERR_OK; begun = blocks, owned++)
    note(&longest, begun);
  judge("giving way", &longest);
  assert_int_equal(owned, FRAMES);
  compact_end(&run);
  check_and_destroy();
}

/* --- contiguous ranges ----------------------------------------------------------------------------------------------------------- */

static err_t contig(const char *what, struct contig_run *run, uint64_t frames, uint64_t align, uint64_t stop_after) {
  struct longest longest = {0};
  err_t err = ERR_AGAIN;
  begin_counting();
  uint64_t begun = blocks;
  assert_int_equal(contig_begin(run, frames, align, base, pfn_add(base, FRAMES)), ERR_OK);
  note(&longest, begun);
  while (err == ERR_AGAIN) {
    if (longest.steps == stop_after)
      contig_stop(run);
    begun = blocks;
    err = contig_step(run, STEP_MOVES);
    note(&longest, begun);
  }
  judge(what, &longest);
  return err;
}

/* Of 4 GiB at any multiple of 2 MiB: windows that overlap 2048-fold. */
static void a_contiguous_range_keeps_its_bound(void **state) {
  (void)state;
  struct contig_run run;
  uint64_t frames = (uint64_t)4 << 18;
  scatter(false);
  assert_int_equal(contig("contiguous range", &run, frames, PAGEBLOCK_FRAMES, 0), ERR_OK);
  assert_in_range(run.moved_frames, 1, OWNED_MAX);
  for (uint64_t i = 0; i < frames; i++)
    assert_int_equal(frame_state(pfn_add(run.start, i)), FRAME_CORE);
  uint64_t piece = frames / 2 - run.start.v % ((uint64_t)1 << MAX_ORDER);
  contig_free(run.start, piece);
  contig_free(pfn_add(run.start, piece), frames - piece);
  check_and_destroy();
}

static void a_range_that_is_given_up_keeps_it(void **state) {
  (void)state;
  struct contig_run run;
  static const uint64_t when[] = {10, 700, 2000, 4000, 6000};
  scatter(false);
  for (unsigned i = 0; i < ARRAY_SIZE(when); i++)
    assert_int_equal(contig("given up", &run, (uint64_t)32 << 18, (uint64_t)1 << 18, when[i]), ERR_NOENT);
  check_and_destroy();
}

/* --- memory that is nobody's ------------------------------------------------------------------------------------------------------ */

#define SMALL_PAGEBLOCKS 32u

/* Every other pageblock is the firmware's but for its last frame: no other heads a block. Of the rest, every other frame is somebody's. */
static void create_holes(void) {
  struct mem_range ram = {pfn(0x40000), pfn(0x40000 + (SMALL_PAGEBLOCKS + 2) * PAGEBLOCK_FRAMES)}, reserved[SMALL_PAGEBLOCKS / 2 + 1];
  port_host_ram_create(ram.start.v, ram.end.v - ram.start.v);
  for (unsigned i = 0; i < SMALL_PAGEBLOCKS / 2; i++) {
    reserved[i].start = pfn_add(ram.start, 2 * i * PAGEBLOCK_FRAMES);
    reserved[i].end = pfn_add(reserved[i].start, PAGEBLOCK_FRAMES - 1);
  }
  reserved[SMALL_PAGEBLOCKS / 2] = (struct mem_range){pfn_add(ram.start, SMALL_PAGEBLOCKS * PAGEBLOCK_FRAMES), ram.end};
  void *table = port_frame_ptr(reserved[SMALL_PAGEBLOCKS / 2].start);
  assert_int_equal(page_alloc_init(&ram, 1, reserved, ARRAY_SIZE(reserved), table), ERR_OK);
  migrate_set_ops(&ops);
  owned = 0;
  for (uint64_t i = 0; i < SMALL_PAGEBLOCKS * PAGEBLOCK_FRAMES; i += 2) {
    pfn_t f = pfn_add(ram.start, i);
    if (i & PAGEBLOCK_FRAMES) {
      assert_int_equal(page_alloc_at(f, 0, ALLOC_MOVABLE | ALLOC_ATOMIC), ERR_OK);
      frame_set_state(f, 0, FRAME_OWNED, OWNER, owned);
      place[owned++] = f.v;
    }
  }
}

static void reserved_frames_are_passed_over_at_once(void **state) {
  (void)state;
  struct compact_request r = {.mode = COMPACT_SYNC, .order = PAGEBLOCK_ORDER, .owner = COMPACT_ANY_OWNER};
  struct compact_run run;
  struct longest longest = {0};
  create_holes();
  assert_int_equal(compact_begin(&run, &r), ERR_OK);
  begin_counting();
  for (err_t err = ERR_AGAIN; err == ERR_AGAIN;) {
    uint64_t begun = blocks;
    err = compact_step(&run, 1);
    note(&longest, begun);
  }
  compact_end(&run);
  judge("reserved memory", &longest);
  assert_in_range(run.report.pageblocks_freed, 1, SMALL_PAGEBLOCKS);
  port_host_ram_destroy();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(compaction_keeps_its_bound),
      cmocka_unit_test(a_run_that_is_stopped_keeps_it),
      cmocka_unit_test(giving_way_keeps_it),
      cmocka_unit_test(a_contiguous_range_keeps_its_bound),
      cmocka_unit_test(a_range_that_is_given_up_keeps_it),
      cmocka_unit_test(reserved_frames_are_passed_over_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
