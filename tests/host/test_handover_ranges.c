/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hand-over of many pages: what goes wrong half-way is undone, a giver that dies half-way takes its loan back, a donation that is half
 * taken is completed. What single pages can be in is test_handover.c's.
 */
// sources: hyp/mem/handover.c hyp/mem/handover_giver.c hyp/mem/handover_borrower.c hyp/mem/handover_leave.c hyp/mem/handover_frames.c hyp/mem/given.c
// sources: tests/host/handover_world.c tests/host/mm_world.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "mm/port.h"
#include "tests/host/handover_world.h"

static void map_fails_for_want_of_a_table(void **state) {
  (void)state;
  hw_vms_make();
  struct handover t = {.kind = HANDOVER_LEND, .borrowers = 1, .borrower = {{.vm = 2, .writable = true}}};
  struct handover_range left = {VM_RAM_BASE, 600};
  uint64_t handle, base = VM_RAM_BASE + RAM_PAGES * PAGE_SIZE;
  assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
  err_t err;
  while ((err = handover_claim(&vms[1], handle, &left)) == ERR_AGAIN)
    ;
  assert_int_equal(err, ERR_OK);
  assert_int_equal(hw_finish(handover_send, &vms[1], handle), ERR_OK);
  assert_int_equal(handover_retrieve(&vms[2], handle, base, PT_R, false), ERR_RANGE); /* 600 pages, a window of 512 */
  vms[2].s2.window_bytes = 2 * SZ_2M;
  pfn_t own;
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &own), ERR_OK); /* page 550 of the place is taken: found half-way */
  frame_set_state(own, 0, FRAME_OWNED, 2, base + 550 * PAGE_SIZE);
  assert_int_equal(pt_map_leaf(&vms[2].s2.pt, base + 550 * PAGE_SIZE, pfn_pa(own), 3, PT_R), ERR_OK);
  vms[2].s2.window_frames++;
  assert_int_equal(handover_retrieve(&vms[2], handle, base, PT_R | PT_W, false), ERR_OK);
  assert_int_equal(handover_retrieve(&vms[2], handle, base, PT_R | PT_W, false), ERR_EXIST);
  assert_int_equal(hw_finish(handover_map, &vms[2], handle), ERR_EXIST);
  assert_int_equal(hw_finish(handover_unmap, &vms[2], handle), ERR_OK);
  assert_null(hw_contents(&vms[2], base));
  assert_null(hw_contents(&vms[2], base + 549 * PAGE_SIZE));
  assert_int_equal(handover_retrieve(&vms[2], handle, base + 8 * PAGE_SIZE, PT_R | PT_X, false), ERR_OK);
  assert_int_equal(handover_map(&vms[2], handle), ERR_AGAIN); /* half-way, and the giver dies: its loan is taken away */
  hw_vm_end(&vms[1]);
  assert_int_equal(handover_map(&vms[2], handle), ERR_NOENT);
  assert_null(hw_contents(&vms[2], base + 8 * PAGE_SIZE));
  hw_vm_end(&vms[2]);
  hw_vm_end(&vms[3]);
  assert_int_equal(hw_frames_in_use(), hw_frames_before);
}

/* The second page is refused: the first is as before, and can be given. */
static void a_send_that_fails_changes_nothing(void **state) {
  (void)state;
  hw_vms_make();
  struct handover t = {.kind = HANDOVER_LEND, .borrowers = 1, .borrower = {{.vm = 2, .writable = true}}};
  struct handover_range left = {hw_home(0), 1}, again = left, third = left;
  uint64_t handle;
  assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
  assert_int_equal(handover_claim(&vms[1], handle, &left), ERR_OK);
  assert_int_equal(handover_claim(&vms[1], handle, &again), ERR_PERM);
  assert_int_equal(hw_finish(handover_cancel, &vms[1], handle), ERR_OK);
  assert_int_equal(frame_of(port_ptr_frame(hw_contents(&vms[1], hw_home(0))))->pins, 0);
  assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
  assert_int_equal(handover_claim(&vms[1], handle, &third), ERR_OK);
  hw_vms_end(0); /* and one that is never sent goes with its giver */
}

static void a_half_taken_donation_is_completed(void **state) {
  (void)state;
  hw_vms_make();
  struct handover t = {.kind = HANDOVER_DONATE, .borrowers = 1, .borrower = {{.vm = 2, .writable = true}}};
  struct handover_range left = {VM_RAM_BASE + 512 * PAGE_SIZE, 300};
  uint64_t handle, base = VM_RAM_BASE + RAM_PAGES * PAGE_SIZE;
  assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
  while (handover_claim(&vms[1], handle, &left) == ERR_AGAIN)
    ;
  assert_int_equal(hw_finish(handover_send, &vms[1], handle), ERR_OK);
  assert_int_equal(handover_retrieve(&vms[2], handle, base, PT_R | PT_W | PT_X, false), ERR_OK);
  assert_int_equal(hw_finish(handover_map, &vms[2], handle), ERR_OK);
  assert_int_equal(handover_transfer(&vms[2], handle), ERR_AGAIN);
  hw_vm_end(&vms[1]);
  assert_int_equal(vms[2].s2.populated_frames, 1);
  assert_int_equal(vms[2].s2.window_frames, 300);
  for (unsigned i = 0; i < 300; i++)
    assert_non_null(hw_contents(&vms[2], base + i * PAGE_SIZE));
  hw_vm_end(&vms[2]);
  hw_vm_end(&vms[3]);
  assert_int_equal(hw_frames_in_use(), hw_frames_before);
}

static uint64_t send(unsigned by, enum handover_kind kind, unsigned to, uint64_t at, uint64_t pages) {
  struct handover t = {.kind = (uint8_t)kind, .borrowers = 1, .borrower = {{.vm = (uint16_t)to, .writable = true}}};
  struct handover_range left = {at, pages};
  uint64_t handle;
  err_t err;
  assert_int_equal(handover_begin(&vms[by], &t, &handle), ERR_OK);
  while ((err = handover_claim(&vms[by], handle, &left)) == ERR_AGAIN)
    ;
  assert_int_equal(err, ERR_OK);
  assert_int_equal(hw_finish(handover_send, &vms[by], handle), ERR_OK);
  return handle;
}

static void take(unsigned by, uint64_t handle, uint64_t at) {
  assert_int_equal(handover_retrieve(&vms[by], handle, at, PT_R | PT_W, false), ERR_OK);
  assert_int_equal(hw_finish(handover_map, &vms[by], handle), ERR_OK);
}

/*
 * A range that begins in RAM and ends in what was donated, behind it: only RAM is recorded as given, and nothing is written behind the
 * record.
 */
static void a_range_over_the_end_of_ram(void **state) {
  (void)state;
  uint64_t window = VM_RAM_BASE + RAM_PAGES * PAGE_SIZE;
  hw_vms_make();
  uint64_t handle = send(2, HANDOVER_DONATE, 1, VM_RAM_BASE + 512 * PAGE_SIZE, 70);
  take(1, handle, window);
  assert_int_equal(hw_finish(handover_transfer, &vms[1], handle), ERR_OK);
  handle = send(1, HANDOVER_LEND, 3, window - 3 * PAGE_SIZE, 73);
  assert_int_equal(vms[1].s2.given[RAM_PAGES / 64 - 1], 7ull << 61);
  for (unsigned i = RAM_PAGES / 64; i < PAGE_SIZE / 8; i++)
    assert_int_equal(vms[1].s2.given[i], 0);
  assert_false(stage2_is_given(&vms[1].s2, window, 1));
  assert_true(stage2_is_given(&vms[1].s2, window - PAGE_SIZE, 64));
  assert_int_equal(handover_reclaim(&vms[1], handle, false), ERR_OK);
  assert_int_equal(hw_finish(handover_return, &vms[1], handle), ERR_OK);
  assert_int_equal(vms[1].s2.given[RAM_PAGES / 64 - 1], 0);
  assert_non_null(hw_contents(&vms[1], window - PAGE_SIZE));
  assert_non_null(hw_contents(&vms[1], window + 69 * PAGE_SIZE));
  hw_vms_end(1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(map_fails_for_want_of_a_table, hw_set_up, hw_tear_down),
      cmocka_unit_test_setup_teardown(a_send_that_fails_changes_nothing, hw_set_up, hw_tear_down),
      cmocka_unit_test_setup_teardown(a_half_taken_donation_is_completed, hw_set_up, hw_tear_down),
      cmocka_unit_test_setup_teardown(a_range_over_the_end_of_ram, hw_set_up, hw_tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
