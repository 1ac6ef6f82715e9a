/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads of one process on several CPUs: each maps, writes, protects, forks and unmaps on its own, all in one address space and one shared
 * object. Nobody may lose a page, see another's, or leave one behind.
 */
// sources: tests/host/vm_machine.c tests/host/port/port_host.c
// sources: guest/vm/ mm/ mm/lib/format.c mm/lib/rbtree.c
// libs: -Wl,--wrap=page_alloc,--wrap=page_alloc_owned,--wrap=slab_alloc_with -lpthread
#include "mm/page_alloc.h"
#include "vm_machine.h"
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define THREADS 4u
#define ROUNDS 1500u
#define SHARED ((uint64_t)0x40000000)
#define SHARED_PAGES 64u
#define RW (PROT_READ | PROT_WRITE)

static struct mm_struct *mm;
static unsigned wrong; /* atomic: cmocka's asserts are for the main thread */

static void expect(bool ok) {
  if (!ok)
    __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}

static uint64_t tag(unsigned thread, unsigned round, unsigned page) {
  return (uint64_t)(thread + 1) << 48 | (uint64_t)round << 16 | page;
}

static void write_tags(struct mm_struct *m, uint64_t addr, unsigned pages, unsigned thread, unsigned round) {
  for (unsigned n = 0; n < pages; n++) {
    uint64_t value = tag(thread, round, n);
    expect(mm_write(m, addr + n * PAGE_SIZE, &value, sizeof value) == ERR_OK);
  }
}

static void expect_tags(struct mm_struct *m, uint64_t addr, unsigned pages, unsigned thread, unsigned round) {
  for (unsigned n = 0; n < pages; n++) {
    uint64_t value = 0;
    expect(mm_read(m, addr + n * PAGE_SIZE, &value, sizeof value) == ERR_OK && value == tag(thread, round, n));
  }
}

/* The child keeps what the parent had, while this thread and others write on. */
static void fork_and_compare(uint64_t addr, unsigned pages, unsigned thread, unsigned round) {
  struct mm_struct *child;
  if (mm_fork(mm, &child) != ERR_OK) {
    expect(false);
    return;
  }
  write_tags(mm, addr, pages, thread, round + 1);
  expect_tags(child, addr, pages, thread, round);
  expect_tags(mm, addr, pages, thread, round + 1);
  mm_put(child);
}

static void one_round(unsigned thread, unsigned round) {
  unsigned pages = 1 + (thread * 7 + round) % 9;
  uint64_t addr;
  if (do_mmap(mm, 0, pages * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0, &addr) != ERR_OK) {
    expect(false);
    return;
  }
  write_tags(mm, addr, pages, thread, round);
  if (round % 3 == 0)
    expect(do_mprotect(mm, addr, (pages + 1) / 2 * PAGE_SIZE, PROT_READ) == ERR_OK);
  expect_tags(mm, addr, pages, thread, round);
  if (round % 3 == 0)
    expect(do_mprotect(mm, addr, pages * PAGE_SIZE, RW) == ERR_OK);
  if (round % 16 == thread)
    fork_and_compare(addr, pages, thread, round);
  /* One word of a shared page for each thread. */
  uint64_t value = tag(thread, round, 0), at = SHARED + round % SHARED_PAGES * PAGE_SIZE + thread * 8;
  expect(mm_write(mm, at, &value, sizeof value) == ERR_OK);
  value = 0;
  expect(mm_read(mm, at, &value, sizeof value) == ERR_OK && value == tag(thread, round, 0));
  expect(do_munmap(mm, addr, pages * PAGE_SIZE) == ERR_OK);
}

static void *run(void *arg) {
  unsigned thread = (unsigned)(uintptr_t)arg;
  port_host_cpu = thread;
  for (unsigned round = 0; round < ROUNDS; round++)
    one_round(thread, round);
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  uint64_t free_before = machine_free_frames(), out;
  assert_int_equal(mm_alloc(&mm), ERR_OK);
  assert_int_equal(do_mmap(mm, SHARED, SHARED_PAGES * PAGE_SIZE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, NULL, 0, &out), ERR_OK);
  for (uintptr_t i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, run, (void *)i), 0);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(wrong, 0);
  machine_check_mm(mm);
  machine_check_refs(&mm, 1);
  assert_int_equal(mm->map_count, 1);
  assert_int_equal(mm->rss[MM_ANONPAGES], 0);
  mm_put(mm);
  assert_int_equal(machine_free_frames(), free_before);
  assert_int_equal(vm_committed_pages(), 0);
}

static int boot(void **state) {
  (void)state;
  machine_boot(8192);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, boot, NULL);
}
