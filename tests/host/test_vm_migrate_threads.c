/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages on the move while threads map, write, protect, fork and unmap, with ThreadSanitizer watching: two threads do nothing but move
 * whatever user frames there are. Nobody may lose a word, see another's, or leave a frame behind.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// cflags: -fno-sanitize=address,undefined -fsanitize=thread
// libs: -fno-sanitize=address,undefined -fsanitize=thread -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with -lpthread
#include "core/atomic.h"
#include "mm/frame.h"
#include "mm/migrate.h"
#include "mm/page_alloc.h"
#include "vm_machine.h"
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define WORKERS 2u
#define MOVERS 2u
#define ROUNDS 400u
#define FRAMES 2048u
#define SHARED ((uint64_t)0x40000000)
#define SHARED_PAGES 16u
#define RW (PROT_READ | PROT_WRITE)

static struct mm_struct *common;
static pfn_t first;
static unsigned wrong, done; /* atomic: cmocka's asserts are for the main thread */
static uint64_t moved, asked;

static void expect(bool ok) {
  if (!ok)
    __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}

static uint64_t tag(unsigned thread, unsigned round, unsigned page) {
  return (uint64_t)(thread + 1) << 48 | (uint64_t)round << 16 | page;
}

static void put(struct mm_struct *m, uint64_t addr, uint64_t value) {
  expect(mm_write(m, addr, &value, sizeof value) == ERR_OK);
}

static void want(struct mm_struct *m, uint64_t addr, uint64_t value) {
  uint64_t found = ~value;
  expect(mm_read(m, addr, &found, sizeof found) == ERR_OK && found == value);
}

static void activate(struct mm_struct *m) {
  port_flags_t irq = port_irq_save();
  (void)mm_activate(m);
  port_irq_restore(irq);
}

static void fork_and_compare(struct mm_struct *m, uint64_t addr, unsigned pages, unsigned thread, unsigned round) {
  struct mm_struct *child;
  if (mm_fork(m, &child) != ERR_OK) {
    expect(false);
    return;
  }
  activate(child);
  for (unsigned n = 0; n < pages; n++) {
    sched_yield();
    want(child, addr + n * PAGE_SIZE, tag(thread, round, n));
    put(m, addr + n * PAGE_SIZE + 8, 1);
    put(child, addr + n * PAGE_SIZE, tag(thread, round, n + 1));
    want(m, addr + n * PAGE_SIZE, tag(thread, round, n));
    want(child, addr + n * PAGE_SIZE, tag(thread, round, n + 1));
    want(child, addr + n * PAGE_SIZE + 8, 0);
  }
  mm_put(child);
}

static void one_round(struct mm_struct *m, unsigned thread, unsigned round) {
  unsigned pages = 1 + (thread * 7 + round) % 9;
  uint64_t addr;
  if (do_mmap(m, 0, pages * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0, &addr) != ERR_OK) {
    expect(false);
    return;
  }
  for (unsigned n = 0; n < pages; n++)
    put(m, addr + n * PAGE_SIZE, tag(thread, round, n));
  if (round % 3 == 0)
    expect(do_mprotect(m, addr, (pages + 1) / 2 * PAGE_SIZE, PROT_READ) == ERR_OK);
  sched_yield();
  for (unsigned n = 0; n < pages; n++)
    want(m, addr + n * PAGE_SIZE, tag(thread, round, n));
  if (round % 3 == 0)
    expect(do_mprotect(m, addr, pages * PAGE_SIZE, RW) == ERR_OK);
  if (round % 8 == thread)
    fork_and_compare(m, addr, pages, thread, round);
  uint64_t at = SHARED + round % SHARED_PAGES * PAGE_SIZE + thread * 8;
  put(common, at, tag(thread, round, 0));
  want(common, at, tag(thread, round, 0));
  expect(do_munmap(m, addr, pages * PAGE_SIZE) == ERR_OK);
}

/* Half of the time in the common space, half in one of its own that comes and goes. */
static void *work(void *arg) {
  unsigned thread = (unsigned)(uintptr_t)arg;
  port_host_cpu = thread;
  for (unsigned round = 0; round < ROUNDS; round++) {
    struct mm_struct *own;
    one_round(common, thread, round);
    if (mm_alloc(&own) != ERR_OK) {
      expect(false);
      continue;
    }
    activate(own);
    one_round(own, thread, round);
    mm_put(own);
  }
  __atomic_add_fetch(&done, 1, __ATOMIC_RELAXED);
  return NULL;
}

/* Any frame at all: most are no user pages, and are refused. */
static void try_move(unsigned n) {
  pfn_t to;
  if (frame_movable(pfn_add(first, n)) != MOVE_DONE || page_alloc(0, ALLOC_MOVABLE, &to) != ERR_OK)
    return;
  __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
  if (frame_move(pfn_add(first, n), 0, to) == MOVE_DONE)
    __atomic_add_fetch(&moved, 1, __ATOMIC_RELAXED);
  else
    page_free(to, 0);
}

static void *move_all(void *arg) {
  port_host_cpu = (unsigned)(uintptr_t)arg;
  while (__atomic_load_n(&done, __ATOMIC_RELAXED) < WORKERS) {
    for (unsigned n = 0; n < FRAMES; n++)
      try_move(n);
    sched_yield();
  }
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  pthread_t threads[WORKERS + MOVERS];
  uint64_t free_before = machine_free_frames(), out;
  assert_int_equal(mm_alloc(&common), ERR_OK);
  activate(common);
  assert_int_equal(do_mmap(common, SHARED, SHARED_PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, NULL, 0, &out), ERR_OK);
  for (uintptr_t i = 0; i < WORKERS + MOVERS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, i < WORKERS ? work : move_all, (void *)i), 0);
  for (unsigned i = 0; i < WORKERS + MOVERS; i++)
    pthread_join(threads[i], NULL);
  print_message("%lu pages moved, of %lu tried\n", (unsigned long)moved, (unsigned long)asked);
  assert_int_equal(wrong, 0);
  assert_true(moved > 100);
  machine_check_mm(common);
  machine_check_refs(&common, 1);
  mm_put(common);
  assert_int_equal(machine_free_frames(), free_before);
  assert_int_equal(vm_committed_pages(), 0);
}

static int boot(void **state) {
  (void)state;
  pfn_t any;
  machine_boot(FRAMES * 2);
  if (page_alloc(0, ALLOC_MOVABLE, &any) != ERR_OK)
    return -1;
  first = pfn(any.v / PAGEBLOCK_FRAMES * PAGEBLOCK_FRAMES);
  page_free(any, 0);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
