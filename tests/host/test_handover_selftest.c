/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The self-test of the hand-over, as EL2 runs it, over pages and blocks: it passes on what is right, leaves nothing, and says so when the
 * parties are not as they must be. (That it notices a broken hand-over is shown by mutants that only it is run against.)
 */
// sources: hyp/mem/handover_selftest.c hyp/mem/handover_selftest_check.c hyp/mem/handover_model.c
// sources: hyp/mem/handover.c hyp/mem/handover_giver.c hyp/mem/handover_borrower.c hyp/mem/handover_leave.c hyp/mem/handover_frames.c hyp/mem/given.c
// sources: tests/host/handover_world.c tests/host/mm_world.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "hyp/mem/handover_selftest.h"
#include "mm/port.h"
#include "tests/host/handover_world.h"
#include <string.h>

struct vm_quota quota_none(uint64_t memory_bytes) {
  return (struct vm_quota){0, 0, memory_bytes / PAGE_SIZE, memory_bytes / PAGE_SIZE};
}

static unsigned made;
static int made_at_most = -1; /* VMs that may be made; < 0: any number */

err_t vm_create_bare(const struct vm_config *config, struct vm **out) {
  unsigned id = vms[1].id ? 2 : 1;
  if (made_at_most >= 0 && made >= (unsigned)made_at_most)
    return ERR_NOMEM;
  made++;
  hw_vm_make(id);
  vms[id].config = *config;
  *out = &vms[id];
  return ERR_OK;
}

bool vm_destroy_bare(struct vm *vm) {
  hw_vm_end(vm);
  return true;
}

static struct handover_selftest t;

static err_t run_to_end(void) {
  err_t err;
  while ((err = handover_selftest_step(&t)) == ERR_AGAIN)
    ;
  return err;
}

static void passes_on_what_is_right(void **state) {
  (void)state;
  handover_selftest_begin(&t);
  err_t err = run_to_end();
  assert_string_equal(t.what, "");
  assert_int_equal(err, ERR_OK);
  assert_int_equal(t.states.count, MODEL_STATES);
  assert_int_equal(t.transitions, 2 * MODEL_STATES * MODEL_PARTIES * MODEL_CALLS);
  assert_true(t.legal > 0 && t.legal < t.transitions && !t.blocks_skipped);
  assert_int_equal(hw_frames_in_use(), hw_frames_before);
}

/* Every state that is found can be left, and 18 is 3 places of 6. */
static void states_are_all_there_are(void **state) {
  (void)state;
  handover_selftest_begin(&t);
  unsigned owned_by_giver = 0, taken = 0;
  for (unsigned i = 0; i < t.states.count; i++) {
    owned_by_giver += t.states.at[i].m.owner == 0;
    taken += t.states.at[i].m.taken;
    assert_true(i == 0 || t.states.at[i].from < i);
  }
  assert_int_equal(owned_by_giver, 12);
  assert_int_equal(taken, 6);
}

/* To the `n`-th call that is about to be made, both parties populated and the path not yet gone. */
static void go_to_call(unsigned n) {
  handover_selftest_begin(&t);
  while (t.transitions < n || !t.party[1] || t.stage != 2)
    assert_int_equal(handover_selftest_step(&t), ERR_AGAIN);
}

static void must_fail(const char *word) {
  err_t err = run_to_end();
  assert_int_equal(err, ERR_INVAL);
  if (!strstr(t.what, word))
    fail_msg("it says \"%s\", not \"%s\"", t.what, word);
  assert_null(t.party[0]);
  assert_int_equal(hw_frames_in_use(), hw_frames_before);
}

static void notices_contents_that_changed(void **state) {
  (void)state;
  go_to_call(40);
  ((uint64_t *)port_frame_ptr(t.unit[1]))[0]++;
  must_fail("has other contents in page 0x1");
}

static void notices_a_state_that_is_not(void **state) {
  (void)state;
  go_to_call(0);
  frame_of(t.unit[2])->pins++;
  t.call = 5 + MODEL_CALLS; /* refused, so nothing else is in its way */
  assert_int_equal(handover_selftest_step(&t), ERR_AGAIN);
  frame_of(t.unit[2])->pins--;
  must_fail("pins");
}

static void notices_a_mapping_too_many(void **state) {
  (void)state;
  go_to_call(20);
  struct vm *taker = t.party[1];
  uint64_t window = VM_RAM_BASE + 2 * SZ_2M;
  assert_int_equal(pt_map_leaf(&taker->s2.pt, window, pfn_pa(t.unit[0]), 3, PT_R), ERR_OK);
  assert_int_equal(handover_selftest_step(&t), ERR_AGAIN);
  assert_int_equal(pt_unmap(&taker->s2.pt, window, PAGE_SIZE, NULL, NULL), ERR_OK);
  must_fail("taker still maps");
}

/* Parties that cannot be made, and a walk that is broken off: nothing stays. */
static void ends_early(void **state) {
  (void)state;
  made = 0;
  made_at_most = 1;
  handover_selftest_begin(&t);
  assert_int_equal(run_to_end(), ERR_NOMEM);
  assert_int_equal(hw_frames_in_use(), hw_frames_before);
  made_at_most = -1;
  go_to_call(100);
  handover_selftest_stop(&t);
  assert_int_equal(hw_frames_in_use(), hw_frames_before);
}

static int set_up(void **state) {
  hw_blocks = true;
  return hw_set_up(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(passes_on_what_is_right, set_up, hw_tear_down),
      cmocka_unit_test_setup_teardown(states_are_all_there_are, set_up, hw_tear_down),
      cmocka_unit_test_setup_teardown(notices_contents_that_changed, set_up, hw_tear_down),
      cmocka_unit_test_setup_teardown(notices_a_state_that_is_not, set_up, hw_tear_down),
      cmocka_unit_test_setup_teardown(notices_a_mapping_too_many, set_up, hw_tear_down),
      cmocka_unit_test_setup_teardown(ends_early, set_up, hw_tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
