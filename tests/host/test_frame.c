/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frame states: the code's table of transitions against docs/frame-states.md, every step tried for real, look-ups of tails, split and
 * join, the ledger by owner, and what must trip a CHECK.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
#include "mm_world.h"
#include <stdlib.h>
#include <string.h>

static const struct world_config map = {"plain", {{{0x40000}, {0x40000 + F(64)}}}, {{{0x40000}, {0x40025}}}, 0x40400};
static struct world w;

static int set_up(void **state) {
  (void)state;
  world_create(&w, &map);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  world_destroy(&w);
  return 0;
}

static pfn_t take(unsigned order) {
  pfn_t f;
  assert_int_equal(page_alloc(order, ALLOC_MOVABLE, &f), ERR_OK);
  world_note_alloc(&w, f, order);
  return f;
}

static void give(pfn_t f, unsigned order) {
  page_free(f, order);
  world_note_free(&w, f, order);
}

#define assert_check_fails(statement_)                                                                                                     \
  do {                                                                                                                                     \
    if (PORT_EXPECT_CHECK()) {                                                                                                             \
      statement_;                                                                                                                          \
      port_expect_none();                                                                                                                  \
      fail_msg("no CHECK in: %s", #statement_);                                                                                            \
    }                                                                                                                                      \
  } while (0)

/* --- the document -------------------------------------------------------------------------------------------------------------- */

static FILE *open_doc(void) {
  FILE *f = fopen("docs/frame-states.md", "r");
  assert_non_null(f); /* run from the root of the tree */
  return f;
}

/* Cells of a table row, trimmed; 0 if the line is no row. */
static unsigned cells(char *line, char *out[], unsigned max) {
  unsigned n = 0;
  if (line[0] != '|')
    return 0;
  for (char *cell = strtok(line + 1, "|\n"); cell && n < max; cell = strtok(NULL, "|\n")) {
    while (*cell == ' ')
      cell++;
    for (char *end = cell + strlen(cell); end > cell && end[-1] == ' ';)
      *--end = 0;
    out[n++] = cell;
  }
  return n;
}

static enum frame_state state_by_name(const char *name) {
  for (unsigned s = 0; s < FRAME_STATES; s++) {
    if (strcmp(frame_state_name((enum frame_state)s), name) == 0)
      return (enum frame_state)s;
  }
  return FRAME_STATES;
}

static bool is_allocators(enum frame_state to) {
  return to == FRAME_RESERVED || to == FRAME_FREE || to == FRAME_CACHED;
}

static void check_row(char *cell[], const enum frame_state columns[]) {
  enum frame_state from = state_by_name(cell[0]);
  assert_true(from < FRAME_STATES);
  for (unsigned i = 0; i < FRAME_STATES; i++) {
    enum frame_state to = columns[i];
    const char *want = !frame_transition_legal(from, to) ? "." : is_allocators(to) ? "A" : "x";
    if (strcmp(cell[i + 1], want) != 0)
      fail_msg("%s to %s: the document says %s, the code %s", cell[0], frame_state_name(to), cell[i + 1], want);
  }
}

static void document_and_code_agree_on_every_step(void **state) {
  (void)state;
  FILE *f = open_doc();
  enum frame_state columns[FRAME_STATES];
  unsigned rows = 0;
  bool in_table = false;
  for (char line[1024]; fgets(line, sizeof(line), f);) {
    char *cell[FRAME_STATES + 2];
    unsigned n = cells(line, cell, FRAME_STATES + 2);
    if (n == FRAME_STATES + 1 && strcmp(cell[0], "from \\ to") == 0) {
      in_table = true;
      for (unsigned i = 0; i < FRAME_STATES; i++)
        assert_true((columns[i] = state_by_name(cell[i + 1])) < FRAME_STATES);
    } else if (in_table && n == FRAME_STATES + 1 && cell[0][0] != '-') {
      check_row(cell, columns);
      rows++;
    }
  }
  fclose(f);
  assert_int_equal(rows, FRAME_STATES);
}

static void document_describes_every_state(void **state) {
  (void)state;
  FILE *f = open_doc();
  unsigned seen = 0;
  for (char line[4096]; fgets(line, sizeof(line), f);) {
    char *cell[16];
    if (cells(line, cell, 16) == 5 && state_by_name(cell[0]) < FRAME_STATES)
      seen |= 1u << state_by_name(cell[0]);
  }
  fclose(f);
  assert_int_equal(seen, (1u << FRAME_STATES) - 1);
}

/* --- every step, for real ------------------------------------------------------------------------------------------------------ */

/* A frame in state `s`, reached by legal steps. */
static pfn_t frame_in(enum frame_state s, unsigned order) {
  pfn_t f = take(order);
  if (s == FRAME_SHARED || s == FRAME_LENT || s == FRAME_MOVING)
    frame_set_state(f, order, FRAME_OWNED, 3, 0);
  if (s != FRAME_CACHED)
    frame_set_state(f, order, s, 3, 0);
  return f;
}

static void dispose(pfn_t f, unsigned order) {
  if (frame_state(f) == FRAME_LENT)
    frame_set_state(f, order, FRAME_OWNED, 3, 0);
  if (frame_state(f) != FRAME_BAD)
    give(f, order);
}

static void try_step(enum frame_state from, enum frame_state to, unsigned order) {
  pfn_t f = frame_in(from, order);
  if (frame_transition_legal(from, to) && !is_allocators(to)) {
    frame_set_state(f, order, to, 5, 0x1000);
    assert_int_equal(frame_state(f), to);
  } else {
    assert_check_fails(frame_set_state(f, order, to, 5, 0x1000));
    assert_int_equal(frame_state(f), from);
  }
  dispose(f, order);
}

static void every_step_is_taken_or_refused(void **state) {
  (void)state;
  for (unsigned from = FRAME_CACHED; from < FRAME_STATES; from++) {
    for (unsigned to = 0; to < FRAME_STATES; to++) {
      try_step((enum frame_state)from, (enum frame_state)to, 0);
      try_step((enum frame_state)from, (enum frame_state)to, 9);
    }
  }
  page_drain_local();
  world_audit(&w, true);
}

static void try_giving_back(enum frame_state s, unsigned order) {
  pfn_t f = frame_in(s, order);
  assert_int_equal(frame_transition_legal(s, FRAME_FREE), frame_transition_legal(s, FRAME_CACHED));
  if (!frame_transition_legal(s, FRAME_FREE)) {
    assert_check_fails(page_free(f, order));
    dispose(f, order);
  } else {
    give(f, order);
  }
}

static void giving_back_follows_the_table(void **state) {
  (void)state;
  for (unsigned s = FRAME_CACHED; s < FRAME_STATES; s++) {
    for (unsigned order = 0; order <= 9; order += 3)
      try_giving_back((enum frame_state)s, order);
  }
  page_drain_local();
  world_audit(&w, true);
}

/* --- refusals ------------------------------------------------------------------------------------------------------------------ */

static void misuse_trips_a_check(void **state) {
  (void)state;
  pfn_t single = take(0), big = take(9), four = take(2);
  assert_check_fails(page_free(big, 0));
  assert_check_fails(page_free(big, 8));
  assert_check_fails(page_free(big, 10));
  assert_check_fails(page_free(pfn_add(big, 1), 0));
  assert_check_fails(page_free(pfn_add(big, 256), 8));
  assert_check_fails(page_free(pfn_add(four, 1), 0));
  assert_check_fails(page_free(four, 1));
  assert_check_fails(page_free(single, 1));
  assert_check_fails(page_free(pfn(0x40000), 0)); /* reserved */
  assert_check_fails(frame_set_state(pfn_add(four, 2), 0, FRAME_OWNED, 1, 0));
  assert_check_fails(frame_set_state(four, 1, FRAME_OWNED, 1, 0));
  assert_check_fails(frame_set_state(four, 2, FRAME_OWNED, OWNERS_MAX, 0));
  assert_check_fails(frame_split_block(four, 1, 0));
  assert_check_fails(frame_split_block(four, 2, 3));
  frame_of(single)->pins = 1;
  frame_of(four)->pins = 1;
  assert_check_fails(page_free(single, 0));
  assert_check_fails(page_free(four, 2));
  frame_of(single)->pins = 0;
  frame_of(four)->pins = 0;
  give(single, 0);
  assert_check_fails(page_free(single, 0)); /* in the per-CPU list */
  assert_check_fails(frame_set_state(single, 0, FRAME_OWNED, 1, 0));
  page_drain_local();
  assert_check_fails(page_free(single, 0)); /* in the buddy */
  give(big, 9);
  assert_check_fails(page_free(big, 9));
  assert_check_fails(frame_set_state(big, 9, FRAME_OWNED, 1, 0));
  give(four, 2);
  world_audit(&w, true);
}

/* In a pageblock opened and split for it: entries nobody has used yet must not pass for heads. */
static void a_tail_never_used_is_no_head(void **state) {
  (void)state;
  pfn_t f = pfn(0x40000 + F(40));
  assert_int_equal(page_alloc_at(f, 2, ALLOC_MOVABLE), ERR_OK);
  world_note_alloc(&w, f, 2);
  assert_check_fails(page_free(pfn_add(f, 1), 0));
  assert_check_fails(frame_set_state(pfn_add(f, 3), 0, FRAME_OWNED, 1, 0));
  assert_check_fails(page_free(pfn_add(f, 300), 0));
  give(f, 2);
}

/* --- blocks -------------------------------------------------------------------------------------------------------------------- */

static void a_tail_answers_for_its_block(void **state) {
  (void)state;
  for (unsigned order = 0; order <= MAX_ORDER; order++) {
    struct frame_info info;
    pfn_t f = take(order), last = pfn_add(f, ((uint64_t)1 << order) - 1);
    frame_set_state(f, order, FRAME_OWNED, 7, 0x80000000);
    frame_describe(last, &info);
    assert_int_equal(info.state, FRAME_OWNED);
    assert_int_equal(info.owner, 7);
    assert_int_equal(info.order, order);
    assert_int_equal(info.head.v, f.v);
    assert_int_equal(info.rmap, 0x80000000 + ((last.v - f.v) << PAGE_SHIFT));
    assert_int_equal(frame_head(last).v, f.v);
    frame_set_state(f, order, FRAME_OWNED, 9, 0);
    assert_int_equal(frame_state(last), FRAME_OWNED);
    give(f, order);
  }
}

static void any_number_may_be_looked_up(void **state) {
  (void)state;
  const uint64_t wild[] = {0, 1, 0x3ffff, 0x40000 + F(64), 0x50000000, ~(uint64_t)0, ~(uint64_t)0 >> 12, 0x140000000};
  for (unsigned i = 0; i < ARRAY_SIZE(wild); i++) {
    assert_int_equal(frame_state(pfn(wild[i])), FRAME_RESERVED);
    assert_false(frame_is_valid(pfn(wild[i])));
    assert_true(pfn_is_none(frame_head(pfn(wild[i]))));
  }
  assert_int_equal(frame_state(pfn(0x40000 + F(63))), FRAME_FREE);
  assert_false(frame_is_valid(pfn(0x40000 + F(63))));
  assert_int_equal(frame_state(pfn(0x40024)), FRAME_RESERVED);
}

static void split_parts_are_blocks_of_their_own(void **state) {
  (void)state;
  for (unsigned order = 1; order <= MAX_ORDER; order++) {
    for (unsigned to = 0; to <= order; to++) {
      pfn_t f = take(order);
      frame_set_state(f, order, FRAME_OWNED, 4, 0x40000000);
      frame_of(f)->refs = 1;
      frame_split_block(f, order, to);
      for (uint64_t i = 0; i < (uint64_t)1 << order; i += (uint64_t)1 << to) {
        const struct frame *part = frame_of(pfn_add(f, i));
        assert_int_equal(part->rmap, 0x40000000 + (i << PAGE_SHIFT));
        assert_int_equal(part->order, to);
        assert_int_equal(part->owner, 4);
        assert_int_equal(part->refs, 1);
        give(pfn_add(f, i), to);
      }
      page_drain_local();
      world_audit(&w, true);
    }
  }
}

static void join_undoes_a_split(void **state) {
  (void)state;
  pfn_t f = take(9);
  frame_set_state(f, 9, FRAME_OWNED, 4, 0);
  frame_split_block(f, 9, 0);
  assert_int_equal(frame_join_block(f, 0, 9), ERR_OK);
  assert_int_equal(frame_of(f)->order, 9);
  assert_int_equal(frame_head(pfn_add(f, 511)).v, f.v);
  frame_split_block(f, 9, 0);
  frame_of(pfn_add(f, 300))->pins = 1;
  assert_int_equal(frame_join_block(f, 0, 9), ERR_BUSY);
  frame_of(pfn_add(f, 300))->pins = 0;
  frame_of(f)->pins = 1;
  frame_of(pfn_add(f, 1))->pins = 1;
  assert_int_equal(frame_join_block(f, 0, 1), ERR_BUSY);
  frame_of(f)->pins = 0;
  frame_of(pfn_add(f, 1))->pins = 0;
  frame_set_state(pfn_add(f, 511), 0, FRAME_OWNED, 5, 0);
  assert_int_equal(frame_join_block(f, 0, 9), ERR_BUSY);
  frame_set_state(pfn_add(f, 511), 0, FRAME_OWNED, 4, 511 << PAGE_SHIFT);
  assert_int_equal(frame_join_block(f, 1, 9), ERR_BUSY);
  frame_of(pfn_add(f, 7))->rmap = 8 << PAGE_SHIFT; /* two pages that came back in each other's place */
  frame_of(pfn_add(f, 8))->rmap = 7 << PAGE_SHIFT;
  assert_int_equal(frame_join_block(f, 0, 9), ERR_BUSY);
  assert_int_equal(frame_of(pfn_add(f, 8))->rmap, 7 << PAGE_SHIFT);
  frame_of(pfn_add(f, 7))->rmap = 7 << PAGE_SHIFT;
  frame_of(pfn_add(f, 8))->rmap = 8 << PAGE_SHIFT;
  assert_int_equal(frame_join_block(f, 0, 9), ERR_OK);
  give(f, 9);
  world_audit(&w, true);
}

static void pins_survive_a_change_of_state(void **state) {
  (void)state;
  pfn_t f = take(0);
  frame_of(f)->pins = 7;
  frame_set_state(f, 0, FRAME_OWNED, 1, 0x1000);
  assert_int_equal(frame_of(f)->pins, 7);
  assert_int_equal(frame_of(f)->migratetype, MIGRATE_MOVABLE);
  frame_of(f)->pins = 0;
  give(f, 0);
}

static void what_is_handed_out_has_no_past(void **state) {
  (void)state;
  for (unsigned order = 0; order <= MAX_ORDER; order += 3) {
    for (unsigned round = 0; round < 3; round++) {
      pfn_t f = take(order);
      const struct frame *frame = frame_of(f);
      assert_int_equal(frame->refs | frame->private | frame->pins | frame->owner, 0);
      assert_true(frame->rmap == 0 && frame->flags == FRAME_F_HEAD && frame->order == order);
      frame_set_state(f, order, FRAME_OWNED, 6, 0x5000);
      frame_of(f)->refs = 9;
      frame_of(f)->private = 9;
      give(f, order);
    }
  }
}

/* --- ledger -------------------------------------------------------------------------------------------------------------------- */

static void the_ledger_counts_by_owner(void **state) {
  (void)state;
  struct ledger before, l;
  ledger_read(&before);
  pfn_t a = take(9), b = take(0), c = take(3);
  frame_set_state(a, 9, FRAME_OWNED, 1, 0);
  frame_set_state(b, 0, FRAME_TABLE, 1, 0);
  frame_set_state(c, 3, FRAME_OWNED, 2, 0);
  ledger_read_owner(1, &l);
  assert_int_equal(l.frames[FRAME_OWNED], 512);
  assert_int_equal(l.frames[FRAME_TABLE], 1);
  ledger_read_owner(2, &l);
  assert_int_equal(l.frames[FRAME_OWNED], 8);
  frame_set_state(a, 9, FRAME_OWNED, 2, 0); /* a donation */
  ledger_read_owner(1, &l);
  assert_int_equal(l.frames[FRAME_OWNED], 0);
  ledger_read_owner(2, &l);
  assert_int_equal(l.frames[FRAME_OWNED], 520);
  world_audit(&w, false);
  give(a, 9);
  give(b, 0);
  give(c, 3);
  page_drain_local();
  ledger_read(&l);
  assert_memory_equal(&l, &before, sizeof(l));
}

int main(void) {
#define T(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(document_and_code_agree_on_every_step),
      T(document_describes_every_state),
      T(every_step_is_taken_or_refused),
      T(giving_back_follows_the_table),
      T(misuse_trips_a_check),
      T(a_tail_never_used_is_no_head),
      T(a_tail_answers_for_its_block),
      T(any_number_may_be_looked_up),
      T(split_parts_are_blocks_of_their_own),
      T(join_undoes_a_split),
      T(pins_survive_a_change_of_state),
      T(what_is_handed_out_has_no_past),
      T(the_ledger_counts_by_owner),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
