/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions of several borrowers, and what becomes of contents between two VMs: a long walk of random calls and deaths against a model of a
 * few fields; then what is half-way: a wipe that somebody breaks into, contents that are to be settled for a machine whose guests can look
 * past the caches.
 */
// sources: hyp/mem/handover.c hyp/mem/handover_giver.c hyp/mem/handover_borrower.c hyp/mem/handover_leave.c hyp/mem/handover_frames.c hyp/mem/given.c
// sources: tests/host/handover_world.c tests/host/mm_world.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "mm/port.h"
#include "tests/host/cpu_limit.h"
#include "tests/host/handover_world.h"
#include <string.h>

#define WALK 40000u

static uint64_t handle;

static err_t send(enum handover_kind kind, uint64_t at, uint64_t pages, bool zero) {
  struct handover t = {
      .kind = (uint8_t)kind, .zero = zero, .borrowers = 2, .borrower = {{.vm = 2, .writable = true}, {.vm = 3, .writable = true}}};
  struct handover_range left = {at, pages};
  uint64_t made;
  err_t err = handover_begin(&vms[1], &t, &made);
  if (err != ERR_OK)
    return err;
  while ((err = handover_claim(&vms[1], made, &left)) == ERR_AGAIN)
    ;
  if (err != ERR_OK) {
    assert_int_equal(hw_finish(handover_cancel, &vms[1], made), ERR_OK);
    return err;
  }
  handle = made;
  return hw_finish(handover_send, &vms[1], handle);
}

static err_t take(unsigned by, uint64_t at, bool wipe) {
  err_t err = handover_retrieve(&vms[by], handle, at, PT_R | PT_W, wipe);
  return err == ERR_OK ? hw_finish(handover_map, &vms[by], handle) : err;
}

static err_t let_go(unsigned by, bool wipe) {
  err_t err = handover_relinquish(&vms[by], handle, wipe);
  return err == ERR_OK ? hw_finish(handover_unmap, &vms[by], handle) : err;
}

static err_t reclaim(void) {
  err_t err = handover_reclaim(&vms[1], handle, false);
  return err == ERR_OK ? hw_finish(handover_return, &vms[1], handle) : err;
}

/* ---- the walk ---- */

enum {
  FREE,
  SHARED,
  LENT
};

static struct {
  unsigned how;
  bool named[4], taken[4]; /* by VM id */
  bool wipe;
  uint64_t word;
} m;
static uint64_t seed;
static unsigned wiped;

static unsigned any(unsigned below) {
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return (unsigned)(seed >> 33) % below;
}

static void gone(unsigned by) {
  m.taken[by] = false;
  if (m.wipe && !m.taken[2] && !m.taken[3]) {
    m.wipe = false;
    m.word = 0;
    wiped++;
  }
}

static void walk_send(void) {
  bool lend = any(2);
  err_t err = send(lend ? HANDOVER_LEND : HANDOVER_SHARE, hw_home(0), 1, false);
  assert_int_equal(err, m.how == FREE ? ERR_OK : ERR_PERM);
  if (err == ERR_OK) {
    m.how = lend ? LENT : SHARED;
    m.named[2] = m.named[3] = true;
  }
}

static void walk_take(unsigned by, bool wipe) {
  err_t wanted = m.how == FREE || !m.named[by] ? ERR_NOENT : m.taken[by] ? ERR_EXIST : wipe && m.how == SHARED ? ERR_PERM : ERR_OK;
  assert_int_equal(take(by, hw_slot(0), wipe), wanted);
  if (wanted == ERR_OK) {
    m.taken[by] = true;
    m.wipe |= wipe;
  }
}

static void walk_let_go(unsigned by, bool wipe) {
  err_t wanted = m.how == FREE || !m.taken[by] ? ERR_NOENT : wipe && m.how == SHARED ? ERR_PERM : ERR_OK;
  assert_int_equal(let_go(by, wipe), wanted);
  if (wanted == ERR_OK) {
    m.wipe |= wipe;
    gone(by);
  }
}

static void walk_reclaim(void) {
  err_t wanted = m.how == FREE ? ERR_NOENT : m.taken[2] || m.taken[3] ? ERR_PERM : ERR_OK;
  assert_int_equal(reclaim(), wanted);
  if (wanted == ERR_OK) {
    m.how = FREE;
    m.named[2] = m.named[3] = false;
  }
}

static void walk_end(unsigned by) {
  hw_vm_end(&vms[by]);
  hw_vm_make(by);
  if (by == 2) /* thing 1 was its */
    assert_int_equal(stage2_populate(&vms[2].s2, ipa(hw_home(1))), ERR_OK);
  m.named[by] = false;
  if (m.taken[by])
    gone(by);
}

static void walk_write(unsigned by) {
  uint64_t *at = hw_contents(&vms[by], by == 1 ? hw_home(0) : hw_slot(0));
  if (at)
    *at = m.word = seed;
}

static void check(void) {
  for (unsigned by = 1; by <= VMS; by++) {
    const uint64_t *at = hw_contents(&vms[by], by == 1 ? hw_home(0) : hw_slot(0));
    assert_int_equal(at != NULL, by == 1 ? m.how != LENT : m.taken[by]);
    if (at) {
      assert_int_equal(*at, m.word);
      assert_int_equal(frame_of(port_ptr_frame(at))->refs, m.taken[2] + m.taken[3]);
    }
  }
}

static void a_long_walk(void **state) {
  (void)state;
  wiped = 0;
  hw_vms_make();
  memset(&m, 0, sizeof(m));
  m.word = TAG(0);
  seed = 7;
  for (unsigned i = 0; i < WALK; i++) {
    unsigned by = 2 + any(2);
    switch (any(40) ? any(5) : 5) {
    case 0:
      walk_send();
      break;
    case 1:
      walk_take(by, any(4) == 0);
      break;
    case 2:
      walk_let_go(by, any(4) == 0);
      break;
    case 3:
      walk_reclaim();
      break;
    case 4:
      walk_write(1 + any(3));
      break;
    default:
      walk_end(by);
    }
    check();
  }
  print_message("%u calls, contents zeroed %u times\n", WALK, wiped);
  assert_true(wiped > 300);
  hw_vms_end(1);
}

/* ---- half-way ---- */

/*
 * 300 pages are let go of with a wipe, which takes three steps: nobody may have them meanwhile, and the end of the one that asked for it
 * ends it properly.
 */
static void a_wipe_that_is_broken_into(void **state) {
  (void)state;
  uint64_t home = VM_RAM_BASE + 512 * PAGE_SIZE, window = hw_slot(0);
  for (unsigned dies = 0; dies < 3; dies++) {
    hw_vms_make();
    assert_int_equal(send(HANDOVER_LEND, home, 300, false), ERR_OK);
    assert_int_equal(take(2, window, true), ERR_OK);
    for (unsigned i = 0; i < 300; i++)
      *hw_contents(&vms[2], window + i * PAGE_SIZE) = i + 1;
    assert_int_equal(handover_relinquish(&vms[2], handle, false), ERR_OK);
    while (hw_contents(&vms[2], window + 299 * PAGE_SIZE))
      assert_int_equal(handover_unmap(&vms[2], handle), ERR_AGAIN);
    assert_int_equal(handover_unmap(&vms[2], handle), ERR_AGAIN); /* zeroed in part */
    assert_int_equal(handover_retrieve(&vms[3], handle, window, PT_R, false), ERR_BUSY);
    assert_int_equal(handover_reclaim(&vms[1], handle, false), ERR_PERM);
    assert_int_equal(handover_relinquish(&vms[2], handle, false), ERR_BUSY);
    if (dies == 1)
      hw_vm_end(&vms[2]);
    else if (dies == 2)
      hw_vm_end(&vms[1]);
    else
      assert_int_equal(hw_finish(handover_unmap, &vms[2], handle), ERR_OK);
    if (dies < 2) {
      assert_int_equal(reclaim(), ERR_OK);
      for (unsigned i = 0; i < 300; i++)
        assert_int_equal(*hw_contents(&vms[1], home + i * PAGE_SIZE), 0);
    }
    for (unsigned id = 1; id <= VMS; id++)
      if (vms[id].id)
        hw_vm_end(&vms[id]);
    assert_int_equal(hw_frames_in_use(), hw_frames_before);
  }
}

/* Between two VMs, each time before the second has it; what is shared stays with its owner. */
static void contents_are_settled(void **state) {
  (void)state;
  uint64_t home = VM_RAM_BASE + 512 * PAGE_SIZE, window = hw_slot(0);
  hw_must_settle = true;
  for (unsigned kind = HANDOVER_SHARE; kind <= HANDOVER_LEND; kind++) {
    hw_vms_make();
    hw_settled = hw_code_forgotten = 0;
    struct handover t = {.kind = (uint8_t)kind, .borrowers = 1, .borrower = {{.vm = 2, .writable = true}}};
    struct handover_range left = {home, 100};
    assert_int_equal(handover_begin(&vms[1], &t, &handle), ERR_OK);
    while (handover_claim(&vms[1], handle, &left) == ERR_AGAIN)
      ;
    assert_int_equal(handover_send(&vms[1], handle), ERR_AGAIN); /* the frames are another's; their contents are not fit to be seen yet */
    assert_int_equal(hw_settled, 0);
    assert_int_equal(handover_retrieve(&vms[2], handle, window, PT_R, false), ERR_NOENT);
    assert_int_equal(hw_finish(handover_send, &vms[1], handle), ERR_OK);
    assert_int_equal(hw_settled, 100);
    assert_int_equal(hw_code_forgotten, 1);
    assert_int_equal(take(2, window, false), ERR_OK);
    assert_int_equal(let_go(2, false), ERR_OK);
    assert_int_equal(handover_reclaim(&vms[1], handle, false), ERR_OK);
    assert_int_equal(handover_return(&vms[1], handle), kind == HANDOVER_LEND ? ERR_AGAIN : ERR_OK);
    assert_int_equal(hw_settled, kind == HANDOVER_LEND ? 200 : 100);
    assert_int_equal(hw_code_forgotten, kind == HANDOVER_LEND ? 2 : 1);
    if (kind == HANDOVER_LEND) {
      assert_null(hw_contents(&vms[1], home));
      assert_int_equal(hw_finish(handover_return, &vms[1], handle), ERR_OK);
    }
    hw_vms_end(0);
  }
  hw_must_settle = false;
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, hw_set_up, hw_tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {TEST(a_long_walk), TEST(a_wipe_that_is_broken_into), TEST(contents_are_settled)};
  limit_cpu_seconds(3);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
