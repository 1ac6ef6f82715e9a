/* SPDX-License-Identifier: BSD-2-Clause */
// sources: hyp/ctl/walk.c hyp/ctl/esr_text.c mm/lib/format.c tests/host/host_strlcpy.c
// cflags: -include tests/host/fakehw/ctl_fake.h

/*
 * The stage-1 half of the walk over tables that the test builds in a fake guest memory, one per geometry; and syndromes in words. The
 * oracle of the walk is how the tables were built: level and index are worked out here from the bits of the address, not from TCR_EL1.
 */

#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/ctl.h"
#include "hyp/ctl/trace.h"
#include "mm/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct cpu cpus[CPUS_MAX];
unsigned cpu_count = 1;
static uint64_t live_ttbr0;

struct cpu *this_cpu(void) {
  return &cpus[0];
}
uint64_t fake_sysreg(const char *name) {
  return strcmp(name, "ttbr0_el1") == 0 ? live_ttbr0 : strcmp(name, "sctlr_el1") == 0 ? 1 : strcmp(name, "tcr_el1") == 0 ? 25 : 0xff00;
}

/* --- guest memory: 64 pages at the VM's RAM base; page `hole` is not there --- */

#define RAM 0x40000000ull
#define PAGES 64
static uint64_t ram[PAGES][512];
static unsigned hole;

static bool in_ram(uint64_t at) {
  return at >= RAM && at < RAM + PAGES * 4096 && (at - RAM) / 4096 != hole;
}
err_t stage2_lookup(struct stage2 *s2, ipa_t a, pa_t *out) {
  (void)s2;
  *out = pa(a.v + 0x10000000);
  return in_ram(a.v) ? ERR_OK : ERR_NOENT;
}
err_t stage2_read(struct stage2 *s2, void *to, ipa_t from, uint64_t bytes) {
  (void)s2;
  assert_int_equal(bytes, 8);
  assert_true(in_ram(from.v) && from.v % 8 == 0);
  memcpy(to, (char *)ram + (from.v - RAM), 8);
  return ERR_OK;
}

/* Stage 2's own half is the engine's, tested with it. */
bool stage2_is_given(const struct stage2 *s2, uint64_t a, uint64_t pages) {
  (void)s2, (void)a, (void)pages;
  return false;
}

unsigned pt_walk_steps(const struct pt *pt, uint64_t ia, struct pt_step steps[4]) {
  (void)pt, (void)ia, (void)steps;
  return 0;
}
pt_prot_t pt_prot_s2(const struct pt *pt, uint64_t desc) {
  (void)pt, (void)desc;
  return 0;
}
bool frame_is_valid(pfn_t f) {
  (void)f;
  return false;
}
enum frame_state frame_state(pfn_t f) {
  (void)f;
  return FRAME_FREE;
}
const char *frame_state_name(enum frame_state s) {
  (void)s;
  return "";
}
uintptr_t frame_table_bias;
const struct trace_record *trace_find_last(trace_match_fn *match, uint64_t a, uint64_t b, uint64_t depth) {
  (void)match, (void)a, (void)b, (void)depth;
  return NULL;
}

static char said[8192];

void hyp_printf(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vsnprintf(said + strlen(said), sizeof said - strlen(said), fmt, args);
  va_end(args);
}

/* --- tables --- */

static struct vm vm = {.config = {.name = "alpha"}};
static struct vcpu vcpu;
static unsigned next_page;

static uint64_t new_page(void) {
  return RAM + 4096ull * next_page++;
}

static uint64_t *entry(uint64_t table, unsigned index) {
  return &ram[(table - RAM) / 4096][index];
}

/* Map `address` at `level` to `out`, with tables down from `first` in a table at `root`. */
static void map(uint64_t root, unsigned first, unsigned level, uint64_t address, uint64_t out) {
  uint64_t table = root;
  for (unsigned l = first; l < level; l++) {
    uint64_t *e = entry(table, (unsigned)(address >> (39 - 9 * l)) & 511);
    if (!*e)
      *e = new_page() | 3;
    table = *e & 0xfffffffff000;
  }
  *entry(table, (unsigned)(address >> (39 - 9 * level)) & 511) = out | (level == 3 ? 3 : 1) | 1 << 10;
}

static int setup(void **state) {
  (void)state;
  memset(ram, 0, sizeof ram);
  memset(said, 0, sizeof said);
  memset(&vcpu, 0, sizeof vcpu);
  next_page = 1;
  hole = PAGES;
  vm.vcpus[0] = &vcpu;
  vcpu.vm = &vm;
  vcpu.el1.sctlr_el1 = 1;
  vcpu.el1.mair_el1 = 0xff00;
  cpus[0].current = NULL;
  return 0;
}

static void test_geometries(void **state) {
  static const struct {
    unsigned bits, first, level;
  } cases[] = {{48, 0, 3}, {48, 0, 2}, {48, 0, 1}, {47, 0, 3}, {40, 0, 3}, {39, 1, 3}, {36, 1, 2}, {31, 1, 3}, {30, 2, 3}, {25, 2, 3}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (unsigned upper = 0; upper < 2; upper++) {
      uint64_t out = 0, bits = cases[i].bits;
      setup(state);
      uint64_t root = new_page(), low = (0x5a5a5a5a5a5a5a5aull ^ i) & ((1ull << bits) - 1);
      uint64_t block = 1ull << (39 - 9 * cases[i].level), to = 0x40000000000 & ~(block - 1);
      map(root, cases[i].first, cases[i].level, low & ~(block - 1), to);
      vcpu.el1.tcr_el1 = upper ? (64 - bits) << 16 | 2ull << 30 : (64 - bits);
      (upper ? &vcpu.el1.ttbr1_el1 : &vcpu.el1.ttbr0_el1)[0] = root | 7ull << 48;
      assert_true(report_walk_stage1(&vm, va(upper ? low | ~((1ull << bits) - 1) : low), &out));
      assert_int_equal(out, to | (low & (block - 1)));
    }
}

static void test_one_bit_beyond_the_range(void **state) {
  (void)state;
  uint64_t out, root = new_page();
  vcpu.el1.tcr_el1 = 25; /* 39 bits */
  vcpu.el1.ttbr0_el1 = root;
  map(root, 1, 3, 0x1000, 0x50000000);
  assert_true(report_walk_stage1(&vm, va(0x1234), &out));
  assert_int_equal(out, 0x50000234);
  assert_false(report_walk_stage1(&vm, va(0x1234 | 1ull << 39), &out));
  assert_false(report_walk_stage1(&vm, va(0x1234 | 0xabull << 56), &out)); /* a tag */
  vcpu.el1.tcr_el1 |= 1ull << 37;                                          /* TBI0: tags are ignored */
  assert_true(report_walk_stage1(&vm, va(0x1234 | 0xabull << 56), &out));
}

static void test_walks_that_end(void **state) {
  (void)state;
  uint64_t out, root = new_page();
  vcpu.el1.tcr_el1 = 25;
  vcpu.el1.ttbr0_el1 = root;
  map(root, 1, 3, 0x1000, 0x50000000);
  assert_false(report_walk_stage1(&vm, va(0x2000), &out));
  assert_non_null(strstr(said, "invalid\n  = stage-1 fault"));
  *entry(root + 4096 * 2, 1) = 0x50000000 | 1; /* level 3 with bits 01 is reserved */
  assert_false(report_walk_stage1(&vm, va(0x1000), &out));
  assert_non_null(strstr(said, "reserved\n"));
  hole = 2; /* the level-2 table's page is not in stage 2 */
  assert_false(report_walk_stage1(&vm, va(0x1000), &out));
  assert_non_null(strstr(said, "nothing is there in stage 2"));
  vcpu.el1.tcr_el1 |= 1 << 7;
  assert_false(report_walk_stage1(&vm, va(0x1000), &out));
  assert_non_null(strstr(said, "walks are disabled"));
  vcpu.el1.tcr_el1 = 25 | 1 << 14;
  assert_false(report_walk_stage1(&vm, va(0x1000), &out));
  assert_non_null(strstr(said, "not 4 KiB"));
  vcpu.el1.tcr_el1 = 60;
  assert_false(report_walk_stage1(&vm, va(0x1000), &out));
  assert_non_null(strstr(said, "out of range"));
}

/* A table that points to itself ends after four levels like any other. */
static void test_a_table_that_points_to_itself(void **state) {
  (void)state;
  uint64_t out = 0, root = new_page();
  vcpu.el1.tcr_el1 = 16;
  vcpu.el1.ttbr0_el1 = root;
  *entry(root, 0) = root | 3;
  assert_true(report_walk_stage1(&vm, va(0x18), &out));
  assert_int_equal(out, root + 0x18);
}

static void test_mmu_off(void **state) {
  (void)state;
  uint64_t out = 0;
  vcpu.el1.sctlr_el1 = 0;
  assert_true(report_walk_stage1(&vm, va(0x40001000), &out));
  assert_int_equal(out, 0x40001000);
}

static void test_registers_of_a_running_vcpu_are_the_live_ones(void **state) {
  (void)state;
  uint64_t out = 0;
  live_ttbr0 = new_page();
  map(live_ttbr0, 1, 3, 0x3000, 0x60000000);
  cpus[0].current = &vcpu; /* its saved registers say MMU off, table 0 */
  vcpu.el1.sctlr_el1 = 0;
  assert_true(report_walk_stage1(&vm, va(0x3008), &out));
  assert_int_equal(out, 0x60000008);
}

static void test_syndromes_in_words(void **state) {
  static const struct {
    uint64_t esr;
    const char *text;
  } cases[] = {
      {0x93c08047, "data abort from a lower EL: translation fault, level 3, write of 8 bytes from x0"},
      {0x93020006, "data abort from a lower EL: translation fault, level 2, read of 1 byte to x2"},
      {0x9200008e, "data abort from a lower EL: permission fault, level 2, read, on a stage-1 walk"},
      {0x8200000f, "instruction abort from a lower EL: permission fault, level 3"},
      {0x96000410, "data abort: external abort, read, FAR not valid"},
      {0x96000161, "data abort: alignment fault, cache maintenance"},
      {0x96000015, "data abort: external abort on a table walk, level 1, read"},
      {0x62300040, "system register: write to S3_0_C0_C0_0, x2"},
      {0x62300061, "system register: read of S3_0_C0_C0_0, x3"},
      {0x5a000001, "HVC, ISS 0x1"},
      {0x5e000000, "SMC"},
      {0x02000000, "unknown instruction"},
      {0xbe000000, "SError"},
      {0xfe000000, "exception class 0x3f"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[ESR_TEXT_MAX];
    assert_string_equal(esr_describe(cases[i].esr, text), cases[i].text);
  }
}

static void test_every_syndrome_fits(void **state) {
  (void)state;
  for (uint64_t i = 0; i < 2000000; i++) {
    char text[ESR_TEXT_MAX];
    uint64_t esr = (i * 0x9e3779b97f4a7c15ull) >> 32;
    assert_true(strlen(esr_describe(esr, text)) < ESR_TEXT_MAX - 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_geometries, setup),     cmocka_unit_test_setup(test_one_bit_beyond_the_range, setup),
      cmocka_unit_test_setup(test_walks_that_end, setup), cmocka_unit_test_setup(test_a_table_that_points_to_itself, setup),
      cmocka_unit_test_setup(test_mmu_off, setup),        cmocka_unit_test_setup(test_registers_of_a_running_vcpu_are_the_live_ones, setup),
      cmocka_unit_test(test_syndromes_in_words),          cmocka_unit_test(test_every_syndrome_fits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
