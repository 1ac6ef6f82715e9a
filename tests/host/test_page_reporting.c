/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free-page reporting against a lender of memory that knows, for each pageblock, only whether anything of it was handed out since it was
 * reported last. Whatever is reported must be free by what the allocator's answers said, nobody's while the report is under way, and mostly
 * worth it; what is free and was touched must be reported in the end, and once; and what was reported must be handed out last.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
#include "core/bits.h"
#include "mm/page_reporting.h"
#include "mm_world.h"
#include <string.h>

#define RAM_FRAMES F(96)
#define BLOCKS (RAM_FRAMES / PAGEBLOCK_FRAMES)
#define HELD 12000u

static const struct world_config clean = {"clean", {R(0x40000, 0x40000 + F(96))}, {{{0}, {0}}}, 0x80000};
static const struct world_config banks = {
    "banks with holes", {R(0x40000, 0x40000 + F(40)), R(0x44000, 0x44000 + F(32))}, {R(0x40100, 0x40180), R(0x41234, 0x41235)}, 0x80000};

static struct world w;
static bool backed[1 << 16]; /* by pageblock number */
static struct block {
  pfn_t f;
  unsigned order;
} held[HELD];
static unsigned held_count;
static uint64_t seed, reports, reported_blocks;
static uint64_t in_vain; /* blocks of which nothing was touched: a CPU's list had fetched them ahead, or a pair was cut */
static err_t answer;
static bool greedy; /* somebody allocates while a report is under way */

static uint64_t pick(uint64_t n) {
  return world_random(&seed) % n;
}

static bool *backed_at(pfn_t f) {
  return &backed[f.v >> PAGEBLOCK_ORDER];
}

static bool note(pfn_t f, unsigned order) {
  world_note_alloc(&w, f, order);
  for (uint64_t i = 0; i < (uint64_t)1 << order; i++)
    *backed_at(pfn_add(f, i)) = true;
  held[held_count++] = (struct block){f, order};
  return true;
}

static bool hold(unsigned order, alloc_flags_t flags) {
  pfn_t f;
  return held_count < HELD && page_alloc(order, flags, &f) == ERR_OK && note(f, order);
}

static bool hold_at(pfn_t f, unsigned order) {
  return held_count < HELD && page_alloc_at(f, order, ALLOC_MOVABLE) == ERR_OK && note(f, order);
}

static void let_go(unsigned i) {
  struct block b = held[i];
  held[i] = held[--held_count];
  world_note_free(&w, b.f, b.order);
  page_free(b.f, b.order);
}

static void let_all_go(void) {
  while (held_count > 0)
    let_go(held_count - 1);
}

/* ---- the lender ---- */

static void look_at(const struct page_report *b) {
  bool worth_it = false;
  assert_true(b->order == PAGEBLOCK_ORDER || b->order == MAX_ORDER);
  assert_true(is_aligned(b->frame.v, 1ull << b->order));
  assert_true(world_all_free(&w, b->frame, b->order));
  assert_int_equal(frame_state(b->frame), FRAME_CACHED);
  for (uint64_t i = 0; i < 1ull << b->order; i += PAGEBLOCK_FRAMES)
    worth_it |= *backed_at(pfn_add(b->frame, i));
  in_vain += !worth_it;
}

static void take_away(const struct page_report *b) {
  for (uint64_t i = 0; i < 1ull << b->order; i += PAGEBLOCK_FRAMES)
    *backed_at(pfn_add(b->frame, i)) = false;
}

static err_t report(const struct page_report *blocks, unsigned count) {
  assert_true(count > 0 && count <= PAGE_REPORTING_CAPACITY);
  reports++;
  reported_blocks += count;
  for (unsigned i = 0; i < count; i++) {
    look_at(&blocks[i]);
    for (unsigned j = 0; j < i; j++)
      assert_true(blocks[j].frame.v + (1ull << blocks[j].order) <= blocks[i].frame.v ||
                  blocks[i].frame.v + (1ull << blocks[i].order) <= blocks[j].frame.v);
  }
  for (unsigned n = greedy ? 40 : 0; n-- > 0;) {
    unsigned before = held_count;
    (void)hold(pick(4) ? 0 : (unsigned)pick(11), ALLOC_MOVABLE);
    for (unsigned i = 0; held_count > before && i < count; i++) {
      struct block b = held[before];
      assert_true(b.f.v + (1ull << b.order) <= blocks[i].frame.v || blocks[i].frame.v + (1ull << blocks[i].order) <= b.f.v);
    }
  }
  for (unsigned i = 0; answer == ERR_OK && i < count; i++)
    take_away(&blocks[i]);
  return answer;
}

static const struct page_reporting_ops ops = {.report = report};

static err_t report_all(void) {
  err_t err;
  unsigned steps = 0;
  while ((err = page_reporting_step(&ops)) == ERR_AGAIN)
    assert_true(++steps < 1000);
  return err;
}

/* ---- what must be so ---- */

static bool is_set_aside(uint64_t f) {
  return page_block_type(pfn(f)) == MIGRATE_ISOLATE;
}

/* Whole pageblocks that are free by the oracle, were touched and not reported. */
static unsigned left_over(void) {
  unsigned n = 0;
  for (uint64_t f = w.base; f < w.base + w.frames; f += PAGEBLOCK_FRAMES)
    n += world_all_free(&w, pfn(f), PAGEBLOCK_ORDER) && *backed_at(pfn(f)) && !is_set_aside(f);
  return n;
}

static uint64_t marked(void) {
  struct buddyinfo info;
  uint64_t sum = 0;
  for (unsigned zone = 0; page_buddyinfo(zone, &info); zone++)
    sum += info.reported_frames;
  return sum;
}

static void begin(const struct world_config *config) {
  world_create(&w, config);
  memset(backed, 0, sizeof(backed));
  held_count = 0;
  reports = reported_blocks = in_vain = 0;
  answer = ERR_OK;
  greedy = false;
  seed = 88172645463325252ull;
}

static void end(void) {
  let_all_go();
  page_drain_local();
  world_audit(&w, true);
  world_destroy(&w);
}

/* ---- cases ---- */

static void what_was_never_touched_is_not_reported(void **state) {
  (void)state;
  begin(&clean);
  assert_int_equal(page_reporting_pending(), 0);
  assert_int_equal(report_all(), ERR_OK);
  assert_int_equal(reports, 0);
  end();
}

static void once_and_no_more(void **state) {
  (void)state;
  begin(&clean);
  for (unsigned i = 0; i < 20; i++)
    assert_true(hold(PAGEBLOCK_ORDER, ALLOC_MOVABLE));
  assert_int_equal(report_all(), ERR_OK);
  assert_int_equal(reported_blocks, 0); /* they are in use; what the CPU's list had ahead was not touched */
  let_all_go();
  assert_true(page_reporting_pending() >= 20 * PAGEBLOCK_FRAMES);
  assert_int_equal(report_all(), ERR_OK);
  assert_int_equal(left_over(), 0);
  assert_true(marked() >= 20 * PAGEBLOCK_FRAMES);
  assert_int_equal(page_reporting_pending(), 0);
  uint64_t before = reports;
  assert_int_equal(report_all(), ERR_OK);
  assert_int_equal(reports, before);
  end();
}

/* What was touched is handed out again before what was reported. */
static void reported_ones_come_last(void **state) {
  (void)state;
  begin(&clean);
  while (hold(PAGEBLOCK_ORDER, ALLOC_MOVABLE))
    ;
  unsigned all = held_count;
  for (unsigned i = 0; i < 12; i++)
    let_go((unsigned)pick(held_count));
  assert_int_equal(report_all(), ERR_OK);
  for (unsigned i = 0; i < 8; i++)
    let_go((unsigned)pick(held_count));
  page_drain_local();
  unsigned touched = left_over();
  assert_true(touched > 0 && touched <= 8);
  while (touched > 0) {
    assert_true(hold(0, ALLOC_MOVABLE));
    unsigned now = left_over();
    assert_true(now == touched || now + 1 == touched);
    touched = now;
    assert_true(held_count < HELD);
  }
  let_all_go();
  while (hold(PAGEBLOCK_ORDER, ALLOC_MOVABLE))
    ;
  assert_int_equal(held_count, all); /* all of it serves */
  end();
}

/*
 * One frame out of the middle of what was reported, by its address: the rest of its block is ordinary free memory, and serves before any
 * block that is still whole.
 */
static void what_is_left_of_a_block_is_free_as_any(void **state) {
  (void)state;
  begin(&clean);
  while (hold(PAGEBLOCK_ORDER, ALLOC_MOVABLE))
    ;
  let_all_go();
  assert_int_equal(report_all(), ERR_OK);
  uint64_t before = marked();
  for (uint64_t f = w.base + 5; marked() == before; f += PAGEBLOCK_FRAMES)
    (void)hold_at(pfn(f), 0);
  uint64_t after = marked();
  assert_in_range(before - after, PAGEBLOCK_FRAMES, 2 * PAGEBLOCK_FRAMES);
  world_audit(&w, false);
  for (unsigned i = 0; i < PAGEBLOCK_FRAMES - 1; i++)
    assert_true(hold(0, ALLOC_MOVABLE));
  assert_int_equal(marked(), after);
  end();
}

/* Of each type, and single frames: a request that finds nothing else gets what was reported. */
static void every_request_can_have_it(void **state) {
  (void)state;
  for (alloc_flags_t type = ALLOC_UNMOVABLE; type <= ALLOC_RECLAIMABLE; type++) {
    begin(&banks);
    while (hold(PAGEBLOCK_ORDER, ALLOC_MOVABLE))
      ;
    let_all_go();
    err_t err = report_all();
    assert_int_equal(err, ERR_OK);
    assert_true(marked() != 0);
    while (hold(0, type))
      ;
    assert_int_equal(held_count, HELD);
    end();
  }
}

static void an_error_leaves_all_as_it_was(void **state) {
  (void)state;
  begin(&clean);
  for (unsigned i = 0; i < 20; i++)
    assert_true(hold(PAGEBLOCK_ORDER, ALLOC_MOVABLE));
  let_all_go();
  answer = ERR_IO;
  unsigned before = left_over();
  assert_int_equal(page_reporting_step(&ops), ERR_IO);
  assert_int_equal(marked(), 0);
  assert_int_equal(left_over(), before);
  answer = ERR_OK;
  assert_int_equal(report_all(), ERR_OK);
  assert_int_equal(left_over(), 0);
  end();
}

/* Down to the last frames: what is below the low watermark stays, and says so. */
static void what_is_needed_stays(void **state) {
  (void)state;
  struct zoneinfo info;
  begin(&clean);
  assert_true(page_zoneinfo(0, &info));
  while (hold(PAGEBLOCK_ORDER, ALLOC_MOVABLE | ALLOC_HIGH))
    ;
  while (hold(0, ALLOC_MOVABLE | ALLOC_HIGH))
    ;
  assert_int_equal(held[0].order, PAGEBLOCK_ORDER);
  let_go(0);
  page_drain_local();
  assert_true(page_free_frames() >= PAGEBLOCK_FRAMES && page_free_frames() < info.low + PAGEBLOCK_FRAMES);
  assert_int_equal(left_over(), 1);
  assert_int_equal(report_all(), ERR_NOMEM);
  assert_int_equal(marked(), 0);
  end();
}

/* A pair of pageblocks of which only one can be spared: cut, it would merge again and lose its mark. */
static void a_pair_waits_for_room(void **state) {
  (void)state;
  struct zoneinfo info;
  begin(&clean);
  assert_true(page_zoneinfo(0, &info));
  for (unsigned order = MAX_ORDER + 1; order-- > 0;)
    while (hold(order, ALLOC_MOVABLE | ALLOC_HIGH))
      ;
  let_go(0);
  page_drain_local();
  assert_in_range(page_free_frames() - info.low, PAGEBLOCK_FRAMES, 2 * PAGEBLOCK_FRAMES - 1);
  assert_int_equal(report_all(), ERR_NOMEM);
  assert_int_equal(reports, 0);
  for (unsigned i = 0, singles = 0; i < held_count && singles < info.low; i++) {
    if (held[i].order != MAX_ORDER) {
      singles += 1u << held[i].order;
      let_go(i--);
    }
  }
  assert_int_equal(report_all(), ERR_OK);
  assert_int_equal(left_over(), 0);
  end();
}

static void random_step(void) {
  static const enum migratetype types[] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_ISOLATE};
  unsigned what = (unsigned)pick(100);
  unsigned order = (unsigned)pick(8);
  if (what < 2)
    (void)hold_at(pfn(align_down(w.base + pick(w.frames), 1ull << order)), order);
  else if (what < 45)
    (void)hold(pick(3) ? 0 : (unsigned)pick(11), (alloc_flags_t)pick(3));
  else if (what < 88 && held_count > 0)
    let_go((unsigned)pick(held_count));
  else if (what < 96 || held_count == 0)
    assert_int_not_equal(page_reporting_step(&ops), ERR_INVAL);
  else
    page_set_block_type(held[pick(held_count)].f, types[pick(ARRAY_SIZE(types))]);
}

static void like_the_lender(const struct world_config *config, unsigned steps) {
  begin(config);
  greedy = true;
  for (unsigned i = 0; i < steps; i++) {
    answer = pick(8) ? ERR_OK : ERR_IO;
    random_step();
    if (i % 500 == 0)
      world_audit(&w, false);
  }
  answer = ERR_OK;
  greedy = false;
  let_all_go();
  for (uint64_t f = w.base; f < w.base + w.frames; f += PAGEBLOCK_FRAMES)
    if (world_all_free(&w, pfn(f), PAGEBLOCK_ORDER) && is_set_aside(f))
      page_set_block_type(pfn(f), MIGRATE_MOVABLE);
  assert_int_equal(report_all(), ERR_OK);
  assert_int_equal(left_over(), 0);
  world_audit(&w, true);
  assert_true(in_vain <= reported_blocks / 4);
  uint64_t before = reports;
  assert_int_equal(report_all(), ERR_OK);
  assert_int_equal(reports, before);
  end();
}

static void agrees_with_the_lender(void **state) {
  (void)state;
  like_the_lender(&clean, 20000);
  like_the_lender(&banks, 20000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_never_touched_is_not_reported),
      cmocka_unit_test(once_and_no_more),
      cmocka_unit_test(reported_ones_come_last),
      cmocka_unit_test(what_is_left_of_a_block_is_free_as_any),
      cmocka_unit_test(every_request_can_have_it),
      cmocka_unit_test(an_error_leaves_all_as_it_was),
      cmocka_unit_test(what_is_needed_stays),
      cmocka_unit_test(a_pair_waits_for_room),
      cmocka_unit_test(agrees_with_the_lender),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
