/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ASID allocator against a model: each CPU's TLB remembers, for every ASID, which context filled it. A context that runs must never
 * meet an entry of another, and two contexts that run at the same time must never share an ASID.
 */
// sources: guest/vm/asid.c tests/host/port/port_host.c
#include "guest/vm/asid.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#define CPUS 4u
#define CONTEXTS 1000u

static struct asid_space space;
static struct mm_context contexts[CONTEXTS];
static unsigned tags[CONTEXTS], last_tag;  /* who a context is; a new one in the same place is somebody else */
static unsigned filled_by[CPUS][1u << 16]; /* tag of the context whose entries the TLB of that CPU holds under this ASID */
static unsigned running[CPUS];             /* context + 1 */
static unsigned flushes;

static void run(unsigned cpu, unsigned n) {
  port_host_cpu = cpu;
  port_flags_t irq = port_irq_save();
  if (asid_check_context(&space, &contexts[n], cpu)) {
    memset(filled_by[cpu], 0, sizeof filled_by[cpu]);
    flushes++;
  }
  port_irq_restore(irq);
  uint16_t asid = mm_context_asid(&contexts[n]);
  assert_true(asid != 0 && asid < 1u << space.bits);
  assert_true(filled_by[cpu][asid] == 0 || filled_by[cpu][asid] == tags[n]);
  filled_by[cpu][asid] = tags[n];
  running[cpu] = n + 1;
}

/* Whatever runs goes on filling its TLB, and a broadcast invalidation under its ASID must reach it on every CPU that runs it. */
static void check_running(void) {
  for (unsigned a = 0; a < CPUS; a++) {
    if (!running[a])
      continue;
    uint16_t asid = mm_context_asid(&contexts[running[a] - 1]);
    unsigned tag = tags[running[a] - 1];
    assert_true(filled_by[a][asid] == 0 || filled_by[a][asid] == tag);
    filled_by[a][asid] = tag;
    for (unsigned b = 0; b < a; b++) {
      if (running[b] && running[b] != running[a])
        assert_int_not_equal(mm_context_asid(&contexts[running[b] - 1]), asid);
    }
  }
}

static void renew(unsigned n) {
  contexts[n] = (struct mm_context){0};
  tags[n] = ++last_tag;
}

static void reset(unsigned bits) {
  for (unsigned n = 0; n < CONTEXTS; n++)
    renew(n);
  memset(filled_by, 0, sizeof filled_by);
  memset(running, 0, sizeof running);
  flushes = 0;
  assert_int_equal(asid_space_init(&space, bits), ERR_OK);
}

static void test_same_context_keeps_its_asid(void **state) {
  (void)state;
  reset(8);
  run(0, 1);
  run(0, 2);
  uint64_t id = contexts[1].id;
  for (int i = 0; i < 1000; i++) {
    run(0, 1);
    run(1, 2);
  }
  assert_int_equal(contexts[1].id, id);
  assert_int_equal(flushes, 0);
}

static void test_rollover_when_all_are_used(void **state) {
  (void)state;
  reset(8);
  for (unsigned n = 0; n < 255; n++)
    run(0, n);
  assert_int_equal(flushes, 0);
  run(0, 255); /* 1..255 are taken */
  assert_int_equal(flushes, 1);
  assert_true(contexts[255].id >> 16 > contexts[0].id >> 16);
  run(1, 0);
  assert_int_equal(flushes, 2); /* the other CPU owes one too */
}

static void test_runner_keeps_its_asid_across_rollovers(void **state) {
  (void)state;
  reset(8);
  run(1, 999);
  uint16_t asid = mm_context_asid(&contexts[999]);
  for (unsigned round = 0; round < 5; round++) {
    for (unsigned n = 0; n < 300; n++) {
      run(0, n);
      check_running();
    }
  }
  run(1, 999);
  assert_int_equal(mm_context_asid(&contexts[999]), asid);
  run(2, 999);
  assert_int_equal(mm_context_asid(&contexts[999]), asid);
}

static void random_runs(unsigned bits, unsigned seed, unsigned steps) {
  reset(bits);
  srand(seed);
  for (unsigned i = 0; i < steps; i++) {
    /* Mostly few contexts per CPU, now and then any. */
    unsigned cpu = (unsigned)rand() % CPUS, n = (unsigned)rand() % (rand() % 4 ? 20 : CONTEXTS);
    run(cpu, n);
    check_running();
    if (rand() % 50 == 0)
      renew((unsigned)rand() % CONTEXTS); /* an address space ends, a new one takes its place */
    for (unsigned c = 0; c < CPUS; c++) {
      if (running[c] && contexts[running[c] - 1].id == 0)
        running[c] = 0;
    }
  }
}

static void test_random(void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 20; seed++)
    random_runs(8, seed, 20000);
  random_runs(16, 1, 20000);
}

static void test_bad_width(void **state) {
  (void)state;
  assert_int_equal(asid_space_init(&space, 0), ERR_INVAL);
  assert_int_equal(asid_space_init(&space, 12), ERR_INVAL);
  assert_int_equal(asid_space_init(&space, 17), ERR_INVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_same_context_keeps_its_asid),
      cmocka_unit_test(test_rollover_when_all_are_used),
      cmocka_unit_test(test_runner_keeps_its_asid_across_rollovers),
      cmocka_unit_test(test_random),
      cmocka_unit_test(test_bad_width),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
