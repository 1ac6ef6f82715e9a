/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contiguous ranges taken from under an owner who knows where each of its blocks is and what it holds (layouts.h): the range is aligned,
 * whole, in state CORE and nobody else's; the owner has lost nothing; cancelling, refusal and giving back leave everything as free as it
 * was.
 */
// sources: tests/host/layouts.c tests/host/alloc_trace.c tests/host/host_zone.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// libs: -lm
#include "layouts.h"
#include "mm/compact.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FRAMES (256u << 9) /* 512 MiB */

static struct layout l;

static void make(enum layout_kind kind, unsigned occupancy, unsigned unmovable, uint64_t seed) {
  const struct layout_config config = {.kind = kind, .frames = FRAMES, .occupancy = occupancy, .unmovable = unmovable, .seed = seed};
  layout_create(&l, &config);
}

static pfn_t end_of_zone(void) {
  return pfn_add(l.base, FRAMES);
}

static void check_owner(void) {
  const char *wrong = layout_verify(&l);
  if (wrong)
    fail_msg("%s", wrong);
}

static void nothing_is_set_aside(void) {
  for (uint64_t f = l.base.v; f < l.base.v + FRAMES; f += PAGEBLOCK_FRAMES)
    assert_int_not_equal(page_block_type(pfn(f)), MIGRATE_ISOLATE);
}

static err_t run_to_end(struct contig_run *run) {
  err_t err;
  while ((err = contig_step(run, 100)) == ERR_AGAIN)
    ;
  return err;
}

static void check_range(pfn_t start, uint64_t frames) {
  for (uint64_t i = 0; i < frames; i++)
    assert_int_equal(frame_state(pfn_add(start, i)), FRAME_CORE);
  for (uint32_t i = 0; i < l.blocks; i++) {
    uint64_t at = l.base.v + l.block[i].at;
    assert_true(l.block[i].mobility == LAYOUT_NO_BLOCK || at + (1u << l.block[i].order) <= start.v || at >= start.v + frames);
  }
}

static void take(enum layout_kind kind, unsigned occupancy, uint64_t frames, uint64_t align) {
  struct contig_run run;
  make(kind, occupancy, 0, frames + occupancy);
  uint64_t free = page_free_frames();
  assert_int_equal(contig_begin(&run, frames, align, l.base, end_of_zone()), ERR_OK);
  assert_int_equal(run_to_end(&run), ERR_OK);
  assert_int_equal(run.start.v % align, 0);
  assert_int_equal(run.moved_frames, l.moved_frames);
  assert_int_equal(page_free_frames(), free - frames);
  check_range(run.start, frames);
  nothing_is_set_aside();
  contig_cancel(&run); /* too late to matter */
  check_range(run.start, frames);
  contig_free(run.start, frames);
  assert_int_equal(page_free_frames(), free);
  check_owner();
  layout_destroy(&l);
}

static void ranges_of_all_sizes_are_taken(void **state) {
  (void)state;
  take(LAYOUT_CLUSTERED, 40, 1u << 9, 1u << 9);
  take(LAYOUT_CLUSTERED, 40, 3u << 9, 1u << 9);
  take(LAYOUT_AGED, 60, 16u << 9, 16u << 9);
  take(LAYOUT_BIMODAL, 40, 128u << 9, 128u << 9); /* half of the zone */
}

static void the_cheapest_window_is_taken(void **state) {
  (void)state;
  struct contig_run run;
  uint64_t best = FRAMES;
  make(LAYOUT_CLUSTERED, 50, 0, 3);
  for (uint64_t f = l.base.v; f < end_of_zone().v; f += 4096) {
    uint64_t used = 0;
    for (uint64_t pb = f; pb < f + 4096; pb += 512)
      used += 512 - page_block_free(pfn(pb));
    best = used < best ? used : best;
  }
  assert_int_equal(contig_begin(&run, 4096, 4096, l.base, end_of_zone()), ERR_OK);
  assert_int_equal(run_to_end(&run), ERR_OK);
  assert_int_equal(run.moved_frames, best);
  contig_free(run.start, 4096);
  check_owner();
  layout_destroy(&l);
}

static void cancelling_sets_everything_free(void **state) {
  (void)state;
  struct contig_run run, second;
  for (unsigned steps = 0; steps < 200; steps += 23) {
    make(LAYOUT_AGED, 50, 1, 4);
    uint64_t free = page_free_frames();
    assert_int_equal(contig_begin(&run, 64u << 9, 64u << 9, l.base, end_of_zone()), ERR_OK);
    assert_int_equal(contig_begin(&second, 512, 512, l.base, end_of_zone()), ERR_BUSY);
    err_t err = ERR_AGAIN;
    for (unsigned i = 0; i < steps && err == ERR_AGAIN; i++)
      err = contig_step(&run, 50);
    contig_cancel(&run);
    if (err == ERR_OK)
      contig_free(run.start, run.frames);
    assert_int_equal(page_free_frames(), free);
    nothing_is_set_aside();
    check_owner();
    layout_destroy(&l);
  }
}

static void what_cannot_be_had_is_refused(void **state) {
  (void)state;
  struct contig_run run;
  make(LAYOUT_UNIFORM, 60, 5, 5); /* something unmovable nearly everywhere */
  uint64_t free = page_free_frames();
  assert_int_equal(contig_begin(&run, 513, 512, l.base, end_of_zone()), ERR_INVAL);
  assert_int_equal(contig_begin(&run, 512, 256, l.base, end_of_zone()), ERR_INVAL);
  assert_int_equal(contig_begin(&run, 1536, 1536, l.base, end_of_zone()), ERR_INVAL);
  assert_int_equal(contig_begin(&run, 1024, 512, l.base, pfn_add(l.base, 512)), ERR_NOSPC);
  assert_int_equal(contig_begin(&run, 128u << 9, 512, l.base, end_of_zone()), ERR_OK);
  assert_int_equal(run_to_end(&run), ERR_NOSPC);
  assert_int_equal(page_free_frames(), free);
  nothing_is_set_aside();
  check_owner();
  layout_destroy(&l);
}

/* --- an owner that will not let go of some blocks -------------------------------------------------------------------------------- */

static struct migrate_ops willing;
static pfn_t stubborn_start, stubborn_end;

static err_t freeze_elsewhere(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  if (from.v >= stubborn_start.v && from.v < stubborn_end.v)
    return ERR_PERM;
  return willing.freeze(from, order, owner, rmap);
}

static void another_window_is_tried(void **state) {
  (void)state;
  struct contig_run run;
  make(LAYOUT_CLUSTERED, 40, 0, 6);
  willing = *layout_migrate_ops();
  struct migrate_ops moody = willing;
  moody.freeze = freeze_elsewhere;
  migrate_set_ops(&moody);
  stubborn_start = l.base;
  stubborn_end = pfn_add(l.base, FRAMES / 4 * 3);
  assert_int_equal(contig_begin(&run, 32u << 9, 32u << 9, l.base, end_of_zone()), ERR_OK);
  assert_int_equal(run_to_end(&run), ERR_OK);
  assert_true(run.start.v >= stubborn_end.v);
  check_range(run.start, run.frames);
  contig_free(run.start, run.frames);
  nothing_is_set_aside();
  check_owner();
  layout_destroy(&l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranges_of_all_sizes_are_taken),   cmocka_unit_test(the_cheapest_window_is_taken),
      cmocka_unit_test(cancelling_sets_everything_free), cmocka_unit_test(what_cannot_be_had_is_refused),
      cmocka_unit_test(another_window_is_tried),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
