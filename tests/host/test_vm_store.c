/* SPDX-License-Identifier: BSD-2-Clause */
/* The page store against a flat array, for every height, with every node allocation failing once. */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with
#include "guest/vm/store.h"
#include "vm_machine.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define SLOTS 2000u

static uint64_t index_of[SLOTS];
static bool present[SLOTS];
static unsigned handed_over;

/* Frame numbers stand for themselves here: the store never looks into a frame. */
static pfn_t frame_of_slot(unsigned i) {
  return pfn(1000000 + i);
}

static void put(pfn_t frame) {
  uint64_t i = frame.v - 1000000;
  assert_true(i < SLOTS && present[i]);
  present[i] = false;
  handed_over++;
}

static void fill(struct page_store *store, uint64_t pages, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    index_of[i] = pages <= SLOTS ? i : ((uint64_t)rand() << 16 ^ (uint64_t)rand()) % (pages / SLOTS) + i * (pages / SLOTS);
    present[i] = false;
  }
  for (unsigned i = 0; i < count; i++) {
    assert_true(pfn_is_none(store_lookup(store, index_of[i])));
    unsigned fail = 1;
    for (;; fail++) {
      machine_fail_allocation(fail);
      if (store_insert(store, index_of[i], frame_of_slot(i)) == ERR_OK)
        break;
      assert_true(fail <= 3); /* a node for each level at most */
      assert_true(pfn_is_none(store_lookup(store, index_of[i])));
    }
    machine_fail_allocation(0);
    present[i] = true;
  }
}

static void check_size(uint64_t pages) {
  struct page_store store;
  uint64_t free_before = machine_free_frames();
  unsigned count = pages < SLOTS ? (unsigned)pages : SLOTS;
  store_init(&store, pages);
  fill(&store, pages, count);
  for (unsigned i = 0; i < count; i++)
    assert_int_equal(store_lookup(&store, index_of[i]).v, frame_of_slot(i).v);
  handed_over = 0;
  store_destroy(&store, put);
  assert_int_equal(handed_over, count);
  assert_int_equal(machine_free_frames(), free_before);
}

static void test_sizes(void **state) {
  (void)state;
  static const uint64_t sizes[] = {1, 2, 511, 512, 513, 4096, 262143, 262144, 262145, 1000000, STORE_MAX_PAGES};
  for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    check_size(sizes[i]);
}

static void test_one_page_needs_no_node(void **state) {
  (void)state;
  struct page_store store;
  store_init(&store, 1);
  machine_fail_allocation(1);
  assert_int_equal(store_insert(&store, 0, pfn(5)), ERR_OK);
  assert_int_equal(machine_allocations(), 0);
  machine_fail_allocation(0);
  assert_int_equal(store_lookup(&store, 0).v, 5);
}

static int boot(void **state) {
  (void)state;
  machine_boot(16384);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_one_page_needs_no_node),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
