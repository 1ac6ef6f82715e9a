/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whoever else takes or moves frames meets some that are under way: the balloon and free-page reporting (hyp/mem/reclaim.c) and moves
 * (mm/migrate.c). In each stage of a hand-over, over pages and over a block, on the giver's side and on the taker's: nothing is taken,
 * nothing moves, contents stay; and when the region is back all of it goes as ever.
 */
// sources: hyp/mem/handover.c hyp/mem/handover_giver.c hyp/mem/handover_borrower.c hyp/mem/handover_leave.c hyp/mem/handover_frames.c hyp/mem/given.c
// sources: hyp/mem/reclaim.c tests/host/handover_world.c tests/host/mm_world.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "hyp/mem/reclaim.h"
#include "mm/migrate.h"
#include "mm/page_alloc.h"
#include "mm/port.h"
#include "tests/host/handover_world.h"

#define AT (VM_RAM_BASE + SZ_2M)
#define WINDOW (VM_RAM_BASE + RAM_PAGES * PAGE_SIZE)
#define PAGES 512u

enum stage {
  GATHERED,
  SENT,
  TAKEN,
  BACK,
  STAGES
};

static uint64_t handle;
static struct frame *first;

/* ---- what moves frames ---- */

static unsigned asked;

/* Pinned frames are nobody's business: their owner is not even asked. */
static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  (void)from, (void)order, (void)owner, (void)rmap;
  asked++;
  return ERR_NOENT;
}

static void move(pfn_t from, pfn_t to, unsigned order) {
  (void)from, (void)to, (void)order;
  fail();
}

static void thaw(pfn_t at, unsigned order, owner_t owner) {
  (void)at, (void)order, (void)owner;
  fail();
}

static const struct migrate_ops ops = {.freeze = freeze, .move = move, .thaw = thaw};

static void try_to_move(bool may) {
  unsigned order = first->order;
  pfn_t to;
  asked = 0;
  assert_int_equal(page_alloc(order, ALLOC_MOVABLE, &to), ERR_OK);
  enum move_result result = frame_move(frame_pfn(first), order, to);
  assert_true(may ? result == MOVE_GONE : result == MOVE_PINNED || result == MOVE_UNMOVABLE);
  assert_int_equal(asked, may);
  page_free(to, order);
}

/* ---- what gives frames back ---- */

static struct reclaim_sum inflate(struct vm *vm, uint64_t at) {
  struct reclaim_sum sum = {0};
  uint64_t ipas[PAGES];
  for (unsigned i = 0; i < PAGES; i++)
    ipas[i] = at + i * PAGE_SIZE;
  for (unsigned done = 0; done < PAGES;)
    done += reclaim_pages(&vm->s2, PAGES - done, ipas + done, &sum);
  return sum;
}

static struct reclaim_sum report(struct vm *vm, uint64_t at) {
  struct reclaim_sum sum = {0};
  struct reclaim_range range = {at, PAGES * PAGE_SIZE};
  for (uint64_t done = 0; !reclaim_ranges(&vm->s2, 1, &range, &done, &sum);)
    ;
  return sum;
}

static void try_to_give_back(enum stage at, enum handover_kind kind) {
  bool away = at != GATHERED && kind != HANDOVER_SHARE;
  for (unsigned way = 0; way < 2; way++) {
    struct reclaim_sum giver = way ? report(&vms[1], AT) : inflate(&vms[1], AT),
                       taker = way ? report(&vms[2], WINDOW) : inflate(&vms[2], WINDOW);
    assert_int_equal(giver.released + giver.outside, 0);
    assert_int_equal(giver.kept, away ? 0 : PAGES);
    assert_int_equal(giver.absent, away ? PAGES : 0);
    assert_int_equal(taker.released + taker.kept + taker.absent, 0); /* a window is no RAM */
  }
}

/* ---- the hand-over ---- */

static void gather(enum handover_kind kind) {
  struct handover t = {.kind = (uint8_t)kind, .borrowers = 1, .borrower = {{.vm = 2, .writable = true}}};
  struct handover_range left = {AT, PAGES};
  err_t err;
  assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
  while ((err = handover_claim(&vms[1], handle, &left)) == ERR_AGAIN)
    ;
  assert_int_equal(err, ERR_OK);
}

static void go_on(enum stage to) {
  if (to == SENT)
    assert_int_equal(hw_finish(handover_send, &vms[1], handle), ERR_OK);
  if (to == TAKEN) {
    assert_int_equal(handover_retrieve(&vms[2], handle, WINDOW, PT_R | PT_W, false), ERR_OK);
    assert_int_equal(hw_finish(handover_map, &vms[2], handle), ERR_OK);
  }
  if (to == BACK) {
    assert_int_equal(handover_relinquish(&vms[2], handle, false), ERR_OK);
    assert_int_equal(hw_finish(handover_unmap, &vms[2], handle), ERR_OK);
    assert_int_equal(handover_reclaim(&vms[1], handle, false), ERR_OK);
    assert_int_equal(hw_finish(handover_return, &vms[1], handle), ERR_OK);
  }
}

static void check_contents(void) {
  for (unsigned i = 0; i < PAGES && first->order; i++)
    assert_int_equal(*(uint64_t *)port_frame_ptr(pfn_add(frame_pfn(first), i)), i);
}

static void populate(void) {
  assert_int_equal(stage2_populate(&vms[1].s2, ipa(AT)), ERR_OK);
  first = frame_of(port_ptr_frame(hw_contents(&vms[1], AT)));
  for (unsigned i = 0; i < PAGES; i++) {
    if (!hw_contents(&vms[1], AT + i * PAGE_SIZE))
      assert_int_equal(stage2_populate(&vms[1].s2, ipa(AT + i * PAGE_SIZE)), ERR_OK);
    if (first->order)
      *(uint64_t *)port_frame_ptr(pfn_add(frame_pfn(first), i)) = i;
  }
}

static void all_stages(enum handover_kind kind) {
  hw_vms_make();
  populate();
  gather(kind);
  for (enum stage at = GATHERED; at < BACK; at++) {
    go_on(at);
    try_to_move(false);
    try_to_give_back(at, kind);
    check_contents();
  }
  go_on(BACK);
  try_to_move(true);
  assert_int_equal(report(&vms[1], AT).released, PAGES);
  hw_vms_end(0);
}

static void shared_and_lent(void **state) {
  (void)state;
  migrate_set_ops(&ops);
  for (unsigned blocks = 0; blocks < 2; blocks++)
    for (enum handover_kind kind = HANDOVER_SHARE; kind <= HANDOVER_LEND; kind++) {
      hw_blocks = blocks;
      all_stages(kind);
    }
  hw_blocks = false;
}

/* What was donated is its taker's own: it may be moved again, and is in nobody's RAM. */
static void donated(void **state) {
  (void)state;
  migrate_set_ops(&ops);
  hw_vms_make();
  populate();
  uint64_t had = vms[1].s2.populated_frames;
  gather(HANDOVER_DONATE);
  go_on(SENT);
  try_to_move(false);
  assert_int_equal(vms[1].s2.populated_frames, had);
  go_on(TAKEN);
  assert_int_equal(hw_finish(handover_transfer, &vms[2], handle), ERR_OK);
  assert_int_equal(vms[1].s2.populated_frames, had - PAGES); /* room in the giver's quota, none taken of the taker's */
  assert_int_equal(vms[2].s2.populated_frames, 1);
  try_to_move(true);
  assert_int_equal(inflate(&vms[1], AT).absent, PAGES);
  assert_int_equal(inflate(&vms[2], WINDOW).outside, PAGES);
  hw_vms_end(1);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(shared_and_lent, hw_set_up, hw_tear_down),
                                     cmocka_unit_test_setup_teardown(donated, hw_set_up, hw_tear_down)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
