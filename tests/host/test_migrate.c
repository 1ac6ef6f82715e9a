/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving one block, with an owner that keeps a table of its own from logical pages to frames and fills each with a pattern: after any move
 * or refusal every page holds what it should, the frame table says the same as the owner, and nothing is lost. The owner refuses
 * for each reason in turn. Also the fragmenter: its patterns survive moves, and a spoilt frame is found.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
#include "mm/fragment.h"
#include "mm/migrate.h"
#include "mm_world.h"

enum {
  PAGES = 64,
  OWNER = 5
};

static const struct world_config map = {"plain", {{{0x40000}, {0x40000 + F(32)}}}, {{{0x40000}, {0x40010}}}, 0};
static struct world w;
static pfn_t page_at[PAGES]; /* the owner's table: a logical block per entry */
static unsigned page_order;
static err_t answer; /* of freeze */
static bool locked;  /* between freeze and thaw */
static pfn_t thawed_at;
static bool pin_at_freeze;
static unsigned moves;

static uint64_t word_of(uint64_t rmap, uint64_t frame, uint64_t i) {
  return rmap * 1000003 + frame * 4099 + i;
}

static void fill(pfn_t f, uint64_t rmap) {
  for (uint64_t n = 0; n < (uint64_t)1 << page_order; n++) {
    for (unsigned i = 0; i < 512; i++)
      ((uint64_t *)port_frame_ptr(pfn_add(f, n)))[i] = word_of(rmap, n, i);
  }
}

static void check_page(unsigned rmap) {
  for (uint64_t n = 0; n < (uint64_t)1 << page_order; n++) {
    for (unsigned i = 0; i < 512; i++)
      assert_int_equal(((uint64_t *)port_frame_ptr(pfn_add(page_at[rmap], n)))[i], word_of(rmap, n, i));
  }
}

static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  assert_false(locked);
  assert_int_equal(port_host_irq_depth, 1);
  if (answer != ERR_OK)
    return answer;
  assert_int_equal(owner, OWNER);
  assert_int_equal(order, page_order);
  assert_int_equal(page_at[rmap].v, from.v);
  locked = true;
  if (pin_at_freeze)
    frame_of(from)->pins = 1;
  return ERR_OK;
}

static void move(pfn_t from, pfn_t to, unsigned order) {
  const struct frame *f = frame_of(to);
  assert_true(locked);
  assert_int_equal(f->state, FRAME_OWNED);
  assert_int_equal(f->owner, OWNER);
  assert_int_equal(f->order, order);
  assert_int_equal(f->refs, 7 + f->rmap);
  assert_int_equal(f->private, 9 + f->rmap);
  assert_int_equal(frame_of(from)->state, FRAME_MOVING);
  page_at[f->rmap] = to;
  for (uint64_t i = 0; i < (uint64_t)1 << order; i++)
    port_copy_frame(pfn_add(to, i), pfn_add(from, i));
  moves++;
}

static void thaw(pfn_t at, unsigned order, owner_t owner) {
  assert_true(locked);
  assert_int_equal(owner, OWNER);
  assert_int_equal(order, page_order);
  locked = false;
  thawed_at = at;
}

static const struct migrate_ops ops = {freeze, move, thaw};

static void set_up(unsigned order) {
  page_order = order;
  answer = ERR_OK;
  pin_at_freeze = false;
  moves = 0;
  world_create(&w, &map);
  migrate_set_ops(&ops);
  for (unsigned i = 0; i < PAGES; i++) {
    assert_int_equal(page_alloc_owned(order, ALLOC_MOVABLE, OWNER, i, &page_at[i]), ERR_OK);
    world_note_alloc(&w, page_at[i], order);
    frame_of(page_at[i])->refs = 7 + i;
    frame_of(page_at[i])->private = 9 + i;
    fill(page_at[i], i);
  }
}

static void tear_down(void) {
  for (unsigned i = 0; i < PAGES; i++) {
    frame_of(page_at[i])->pins = 0;
    page_free(page_at[i], page_order);
    world_note_free(&w, page_at[i], page_order);
  }
  page_drain_local();
  world_audit(&w, true);
  world_destroy(&w);
}

static pfn_t target(void) {
  pfn_t to;
  assert_int_equal(page_alloc(page_order, ALLOC_MOVABLE, &to), ERR_OK);
  return to;
}

static void every_block_moves_and_keeps_what_it_holds(void **state) {
  (void)state;
  for (unsigned order = 0; order <= 4; order += 2) {
    set_up(order);
    for (unsigned i = 0; i < PAGES; i++) {
      pfn_t from = page_at[i], to = target();
      world_note_alloc(&w, to, order);
      assert_int_equal(frame_move(from, order, to), MOVE_DONE);
      world_note_free(&w, from, order);
      assert_int_equal(thawed_at.v, to.v);
      assert_int_equal(frame_state(from), FRAME_FREE); /* in the buddy, not in a list */
      check_page(i);
    }
    page_drain_local();
    world_audit(&w, true);
    for (unsigned i = 0; i < PAGES; i++)
      check_page(i);
    assert_int_equal(moves, PAGES);
    tear_down();
  }
}

static void expect_refusal(unsigned i, enum move_result want) {
  pfn_t to = target(), was = page_at[i];
  assert_int_equal(frame_move(was, page_order, to), want);
  assert_int_equal(frame_state(to), FRAME_CACHED);
  assert_int_equal(page_at[i].v, was.v);
  assert_false(locked);
  assert_int_equal(frame_of(was)->rmap, i);
  page_free(to, page_order);
  check_page(i);
}

static void a_refusal_changes_nothing(void **state) {
  (void)state;
  set_up(1);
  answer = ERR_BUSY;
  expect_refusal(1, MOVE_BUSY);
  answer = ERR_PERM;
  expect_refusal(2, MOVE_UNMOVABLE);
  answer = ERR_NOENT;
  expect_refusal(3, MOVE_GONE);
  answer = ERR_OK;
  frame_of(page_at[4])->pins = 1;
  assert_int_equal(frame_movable(page_at[4]), MOVE_PINNED);
  expect_refusal(4, MOVE_PINNED);
  frame_of(page_at[4])->pins = 0;
  pin_at_freeze = true;
  thawed_at = PFN_NONE;
  expect_refusal(5, MOVE_PINNED);
  assert_int_equal(thawed_at.v, page_at[5].v); /* called off under the lock */
  frame_of(page_at[5])->pins = 0;
  pin_at_freeze = false;
  migrate_set_ops(NULL);
  assert_int_equal(frame_movable(page_at[6]), MOVE_UNMOVABLE);
  expect_refusal(6, MOVE_UNMOVABLE);
  migrate_set_ops(&ops);
  assert_int_equal(moves, 0);
  tear_down();
}

static void only_what_was_allocated_to_move_moves(void **state) {
  (void)state;
  pfn_t f, to;
  set_up(0);
  to = target();
  assert_int_equal(page_alloc_owned(0, ALLOC_UNMOVABLE, OWNER, 1, &f), ERR_OK);
  assert_int_equal(frame_move(f, 0, to), MOVE_UNMOVABLE);
  page_free(f, 0);
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &f), ERR_OK);
  assert_int_equal(frame_movable(f), MOVE_BUSY); /* nobody's yet */
  frame_set_state(f, 0, FRAME_CORE, OWNER_CORE, 0);
  assert_int_equal(frame_move(f, 0, to), MOVE_UNMOVABLE);
  page_free(f, 0);
  page_free(to, 0);
  assert_int_equal(page_alloc(1, ALLOC_MOVABLE, &to), ERR_OK);
  assert_int_equal(frame_move(page_at[0], 1, to), MOVE_GONE); /* not of that order any more */
  page_free(to, 1);
  assert_int_equal(moves, 0);
  tear_down();
}

/* --- the fragmenter ------------------------------------------------------------------------------------------------------------ */

static void fragment(const struct fragment_config *config) {
  err_t err;
  assert_int_equal(fragment_begin(config), ERR_OK);
  while ((err = fragment_step(50)) == ERR_AGAIN)
    ;
  assert_int_equal(err, ERR_OK);
}

static err_t verify(void) {
  err_t err;
  fragment_verify_begin();
  while ((err = fragment_verify_step(7)) == ERR_AGAIN)
    ;
  return err;
}

static pfn_t any_block(unsigned order) {
  struct frame_info info;
  for (uint64_t f = 0x40000; f < 0x40000 + F(32); f++) {
    frame_describe(pfn(f), &info);
    if (info.owner == OWNER && info.order == order && info.head.v == f && frame_movable(pfn(f)) == MOVE_DONE)
      return pfn(f);
  }
  fail();
  return PFN_NONE;
}

static void move_one(unsigned order) {
  pfn_t to;
  assert_int_equal(page_alloc(order, ALLOC_MOVABLE, &to), ERR_OK);
  assert_int_equal(frame_move(any_block(order), order, to), MOVE_DONE);
}

static void the_fragmenter_fills_thins_and_checks(void **state) {
  (void)state;
  const struct fragment_config config = {.seed = 3, .frames = F(24), .occupancy = 60, .unmovable = 4, .words = 512, .owner = OWNER};
  struct fragment_config bad = config;
  struct fragment_report r;
  world_create(&w, &map);
  migrate_set_ops(&fragment_migrate_ops);
  bad.occupancy = 101;
  assert_int_equal(fragment_begin(&bad), ERR_INVAL);
  fragment(&config);
  assert_int_equal(fragment_begin(&config), ERR_BUSY);
  fragment_report(&r);
  assert_in_range(r.frames, F(24) * 60 / 100, F(24) * 60 / 100 + 256);
  assert_in_range(r.unmovable_frames, 1, r.frames / 10);
  assert_in_range(r.score, 30, 100);
  assert_int_equal(verify(), ERR_OK);
  for (unsigned i = 0; i < 200; i++)
    move_one(i % 9);
  assert_int_equal(verify(), ERR_OK);
  uint64_t *word = port_frame_ptr(any_block(0));
  ++*word;
  assert_int_equal(verify(), ERR_FAULT);
  fragment_report(&r);
  assert_int_equal(r.bad_frames, 1);
  assert_int_equal(r.moves, 200);
  while (fragment_free_step(10) == ERR_AGAIN)
    ;
  page_drain_local();
  world_audit(&w, true);
  world_destroy(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_block_moves_and_keeps_what_it_holds),
      cmocka_unit_test(a_refusal_changes_nothing),
      cmocka_unit_test(only_what_was_allocated_to_move_moves),
      cmocka_unit_test(the_fragmenter_fills_thins_and_checks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
