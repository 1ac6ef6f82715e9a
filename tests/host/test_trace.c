/* SPDX-License-Identifier: BSD-2-Clause */
// sources: hyp/ctl/trace.c
// cflags: -include tests/host/fakehw/ctl_fake.h
// libs: -lpthread

/*
 * Trace rings, read as a host tool reads them: from the area's bytes by include/abi/trace.h alone. What is read must be what was written,
 * in order, whole, and the count of lost ones exact; also while the writer is at work.
 */

#include "hyp/core/vm.h"
#include "hyp/ctl/trace.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define AREA_PA 0x7ff00000ull

struct cpu cpus[CPUS_MAX];
unsigned cpu_count = 4;
static _Thread_local unsigned this_id;
static uint64_t clock_now;
static const uint64_t *slot_in_writing; /* its `seq`, looked at whenever the writer reads the clock */
static unsigned looked;

struct cpu *this_cpu(void) {
  return &cpus[this_id];
}

uint64_t fake_sysreg(const char *name) {
  if (strcmp(name, "cntfrq_el0") == 0)
    return 62500000;
  assert_string_equal(name, "cntpct_el0");
  if (slot_in_writing) {
    assert_true(*slot_in_writing == ~0ull);
    looked++;
  }
  return ++clock_now;
}

/* --- the reader --- */

static uint8_t *area;
static uint64_t area_bytes;

static const struct trace_header *header(void) {
  return (const struct trace_header *)(const void *)area;
}

static const struct trace_record *slot(unsigned ring, uint64_t seq) {
  const struct trace_header *h = header();
  uint64_t at = 4096 + ring * h->ring_bytes + (seq % h->records_per_ring) * h->record_bytes;
  assert_true(at + h->record_bytes <= area_bytes);
  return (const struct trace_record *)(const void *)(area + at);
}

static void make(unsigned rings, uint32_t records, uint64_t mask) {
  free(area);
  area_bytes = trace_area_bytes(rings, records);
  assert_int_equal(area_bytes % 4096, 0);
  area = aligned_alloc(4096, area_bytes);
  memset(area, 0xa5, area_bytes); /* whatever was in RAM */
  trace_init(area, pa(AREA_PA), rings, records, mask);
}

static int setup(void **state) {
  (void)state;
  this_id = 0;
  slot_in_writing = NULL;
  clock_now = 1000;
  memset(cpus, 0, sizeof cpus);
  for (unsigned i = 0; i < CPUS_MAX; i++)
    cpus[i].id = i;
  return 0;
}

/* --- tests --- */

static void test_header(void **state) {
  (void)state;
  make(4, 100, 3);
  const struct trace_header *h = header();
  assert_memory_equal(area, "SLCTRACE", 8);
  assert_int_equal(h->version, TRACE_ABI_VERSION);
  assert_int_equal(h->record_bytes, 64);
  assert_int_equal(h->rings, 4);
  assert_int_equal(h->records_per_ring, 128); /* rounded up */
  assert_int_equal(h->ring_bytes, 128 * 64);
  assert_int_equal(h->mask, 3);
  assert_int_equal(h->counter_hz, 62500000);
  assert_int_equal(h->area_pa, AREA_PA);
  assert_int_equal(area_bytes, 4096 + 4 * 128 * 64);
  assert_true(trace_on(TRACE_GROUP_FAULT) && trace_on(TRACE_GROUP_PT) && !trace_on(TRACE_GROUP_FRAME));
  trace_set_frame_table(pa(0x1234000), 0x40000, 77);
  assert_true(h->frame_table_pa == 0x1234000 && h->frame_base_pfn == 0x40000 && h->frame_count == 77);
}

static void test_a_record(void **state) {
  (void)state;
  static struct vm vm = {.id = 7};
  static struct vcpu vcpu = {.vm = &vm, .id = 3};
  make(2, 64, 1);
  this_id = 1;
  cpus[1].current = &vcpu;
  trace(TRACE_GROUP_FAULT, TRACE_S2_FAULT, 9, 10, 11, 12, 13, 14);
  trace(TRACE_GROUP_PT, TRACE_DSB, 0, 0, 0, 0, 0, 0); /* off */
  const struct trace_record *r = slot(1, 0);
  assert_int_equal(header()->ring[1].written, 1);
  assert_int_equal(header()->ring[0].written, 0);
  assert_true(r->seq == 0 && r->time == clock_now && r->type == TRACE_S2_FAULT && r->vmid == 9);
  assert_true(r->vm == 7 && r->vcpu == 3 && r->cpu == 1);
  for (unsigned i = 0; i < 5; i++)
    assert_int_equal(r->arg[i], 10 + i);
}

static void test_without_a_guest(void **state) {
  (void)state;
  make(1, 64, 1);
  trace(TRACE_GROUP_FAULT, TRACE_S2_FAULT, 0, 0, 0, 0, 0, 0);
  assert_true(slot(0, 0)->vm == 0 && slot(0, 0)->vcpu == 0);
}

static void test_the_ring_keeps_the_last(void **state) {
  (void)state;
  make(2, 64, 1);
  for (uint64_t i = 0; i < 1000; i++) {
    trace(TRACE_GROUP_FAULT, TRACE_S2_FAULT, 0, i * 3, 0, 0, 0, 0);
    const struct trace_header *h = header();
    assert_int_equal(h->ring[0].written, i + 1);
    assert_int_equal(h->ring[0].lost, i + 1 > 64 ? i + 1 - 64 : 0);
    for (uint64_t seq = i + 1 > 64 ? i + 1 - 64 : 0; seq <= i; seq++)
      assert_true(slot(0, seq)->seq == seq && slot(0, seq)->arg[0] == seq * 3);
  }
  assert_int_equal(trace_written(), 1000);
  assert_int_equal(trace_lost(), 936);
}

static void test_a_cpu_without_a_ring_writes_nothing(void **state) {
  (void)state;
  make(1, 64, 1);
  memset(area + 4096, 0x11, area_bytes - 4096);
  this_id = 1;
  trace(TRACE_GROUP_FAULT, TRACE_S2_FAULT, 0, 0, 0, 0, 0, 0);
  for (uint64_t i = 4096; i < area_bytes; i++)
    assert_int_equal(area[i], 0x11);
}

static void test_a_slot_in_writing_is_marked(void **state) {
  (void)state;
  make(1, 64, 1);
  for (uint64_t i = 0; i < 200; i++) {
    slot_in_writing = &slot(0, i)->seq;
    trace(TRACE_GROUP_FAULT, TRACE_S2_FAULT, 0, 0, 0, 0, 0, 0);
    assert_true(*slot_in_writing == i);
  }
  slot_in_writing = NULL;
  assert_int_equal(looked, 200);
}

static void test_mask(void **state) {
  (void)state;
  make(1, 64, 0);
  assert_false(trace_on(TRACE_GROUP_VM));
  assert_int_equal(trace_set_mask(BIT(TRACE_GROUP_VM)), ERR_OK);
  assert_true(trace_on(TRACE_GROUP_VM));
  assert_int_equal(header()->mask, BIT(TRACE_GROUP_VM));
}

static bool arg0_is(const struct trace_record *r, uint64_t a, uint64_t b) {
  (void)b;
  return r->arg[0] == a;
}

static void test_find_last(void **state) {
  (void)state;
  make(2, 64, 1);
  for (unsigned i = 0; i < 200; i++) {
    this_id = i % 2;
    trace(TRACE_GROUP_FAULT, TRACE_S2_FAULT, 0, i % 10, i, 0, 0, 0);
  }
  const struct trace_record *r = trace_find_last(arg0_is, 4, 0, 64);
  assert_non_null(r);
  assert_int_equal(r->arg[1], 194);
  assert_null(trace_find_last(arg0_is, 11, 0, 64));
  assert_null(trace_find_last(arg0_is, 4, 0, 2));
}

/* A reader that copies a slot and finds its number right before and after has a whole record, whatever the writer does meanwhile. */
static void *writer(void *unused) {
  (void)unused;
  this_id = 0;
  for (uint64_t i = 0; i < 400000; i++)
    trace(TRACE_GROUP_FAULT, TRACE_S2_FAULT, 0, i, ~i, i * 5, i ^ 0xff, i + 1);
  return NULL;
}

static void test_a_reader_beside_the_writer(void **state) {
  (void)state;
  pthread_t thread;
  uint64_t good = 0;
  make(1, 64, 1);
  pthread_create(&thread, NULL, writer, NULL);
  for (uint64_t written = 0; written < 400000;) {
    written = __atomic_load_n(&header()->ring[0].written, __ATOMIC_ACQUIRE);
    if (written == 0)
      continue;
    const struct trace_record *r = slot(0, written - 1);
    uint64_t before = __atomic_load_n(&r->seq, __ATOMIC_ACQUIRE), a[5];
    for (unsigned i = 0; i < 5; i++)
      a[i] = __atomic_load_n(&r->arg[i], __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (before == ~0ull || __atomic_load_n(&r->seq, __ATOMIC_RELAXED) != before)
      continue;
    assert_true(a[0] == before && a[1] == ~before && a[2] == before * 5 && a[3] == (before ^ 0xff) && a[4] == before + 1);
    good++;
  }
  pthread_join(thread, NULL);
  assert_true(good > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_header, setup),
      cmocka_unit_test_setup(test_a_record, setup),
      cmocka_unit_test_setup(test_without_a_guest, setup),
      cmocka_unit_test_setup(test_the_ring_keeps_the_last, setup),
      cmocka_unit_test_setup(test_a_cpu_without_a_ring_writes_nothing, setup),
      cmocka_unit_test_setup(test_a_slot_in_writing_is_marked, setup),
      cmocka_unit_test_setup(test_mask, setup),
      cmocka_unit_test_setup(test_find_last, setup),
      cmocka_unit_test_setup(test_a_reader_beside_the_writer, setup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
