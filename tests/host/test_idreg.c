/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What guests see of the ID registers, with a CPU that claims everything, one that claims nothing, and the values of real ones.
 */
// sources: hyp/dev/idreg.c
#include "core/bits.h"
#include "core/compiler.h"
#include "hyp/dev/idreg.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define PFR0 IDREG_INDEX(4, 0)
#define PFR1 IDREG_INDEX(4, 1)
#define DFR0 IDREG_INDEX(5, 0)
#define ISAR0 IDREG_INDEX(6, 0)
#define ISAR1 IDREG_INDEX(6, 1)
#define ISAR2 IDREG_INDEX(6, 2)
#define MMFR0 IDREG_INDEX(7, 0)
#define MMFR1 IDREG_INDEX(7, 1)
#define MMFR2 IDREG_INDEX(7, 2)

static unsigned field(unsigned index, unsigned lo, uint64_t hardware) {
  return (unsigned)bits_get(idreg_filter(index, hardware), lo + 3, lo);
}

/* Must read as zero whatever the CPU says: EL2 neither saves nor traps what these promise. */
static const struct {
  const char *name;
  unsigned index, lo;
} hidden[] = {
    {"PFR0.EL2", PFR0, 8},        {"PFR0.EL3", PFR0, 12},         {"PFR0.RAS", PFR0, 28},       {"PFR0.SVE", PFR0, 32},
    {"PFR0.SEL2", PFR0, 36},      {"PFR0.MPAM", PFR0, 40},        {"PFR0.AMU", PFR0, 44},       {"PFR0.RME", PFR0, 52},
    {"PFR1.MTE", PFR1, 8},        {"PFR1.RAS_frac", PFR1, 12},    {"PFR1.MPAM_frac", PFR1, 16}, {"PFR1.SME", PFR1, 24},
    {"PFR1.NMI", PFR1, 36},       {"DFR0.TraceVer", DFR0, 4},     {"DFR0.PMUVer", DFR0, 8},     {"DFR0.PMSVer", DFR0, 32},
    {"DFR0.TraceFilt", DFR0, 40}, {"DFR0.TraceBuffer", DFR0, 44}, {"DFR0.BRBE", DFR0, 52},      {"ISAR0.TME", ISAR0, 24},
    {"ISAR1.APA", ISAR1, 4},      {"ISAR1.API", ISAR1, 8},        {"ISAR1.GPA", ISAR1, 24},     {"ISAR1.GPI", ISAR1, 28},
    {"ISAR1.LS64", ISAR1, 60},    {"ISAR1.XS", ISAR1, 56},        {"ISAR2.WFxT", ISAR2, 0},     {"ISAR2.APA3", ISAR2, 12},
    {"ISAR2.MOPS", ISAR2, 16},    {"MMFR0.FGT", MMFR0, 56},       {"MMFR0.ECV", MMFR0, 60},     {"MMFR1.VMIDBits", MMFR1, 4},
    {"MMFR1.VH", MMFR1, 8},       {"MMFR1.LO", MMFR1, 16},        {"MMFR1.XNX", MMFR1, 28},     {"MMFR1.HCX", MMFR1, 40},
    {"MMFR2.CnP", MMFR2, 0},      {"MMFR2.IESB", MMFR2, 12},      {"MMFR2.NV", MMFR2, 24},      {"MMFR2.FWB", MMFR2, 40},
    {"MMFR2.EVT", MMFR2, 56},
};

static void test_hidden(void **state) {
  (void)state;
  srand(1);
  for (unsigned n = 0; n < ARRAY_SIZE(hidden); n++)
    for (unsigned value = 0; value < 16; value++) {
      uint64_t hardware = bits_set((uint64_t)rand() << 32 | (uint32_t)rand(), hidden[n].lo + 3, hidden[n].lo, value);
      if (field(hidden[n].index, hidden[n].lo, hardware) != 0)
        fail_msg("%s shows through", hidden[n].name);
    }
}

static const unsigned listed[] = {PFR0, PFR1, DFR0, ISAR0, ISAR1, ISAR2, MMFR0, MMFR1, MMFR2};

static void test_unlisted(void **state) {
  (void)state;
  for (unsigned index = 0; index < 70; index++) {
    bool known = false;
    for (unsigned n = 0; n < ARRAY_SIZE(listed); n++)
      known |= listed[n] == index;
    if (!known)
      assert_int_equal(idreg_filter(index, ~(uint64_t)0), 0);
  }
}

/* A filter must not invent: a signed field of a CPU without FP stays at 15, an absent feature absent. */
static void test_bare_cpu(void **state) {
  (void)state;
  assert_int_equal(idreg_filter(PFR0, 0x0ff0002), 0x1ff0011);
  assert_int_equal(idreg_filter(ISAR0, 0), 0);
  assert_int_equal(idreg_filter(MMFR1, 0), 0);
  assert_int_equal(field(MMFR0, 28, (uint64_t)15 << 28), 15); /* no 4 KiB granule */
}

static void test_limits(void **state) {
  (void)state;
  assert_int_equal(field(MMFR0, 0, 6), 2); /* PARange: 52 bits shown as 40 */
  assert_int_equal(field(MMFR0, 0, 1), 1);
  assert_int_equal(field(MMFR0, 28, (uint64_t)1 << 28), 0); /* LPA2 */
  assert_int_equal(field(MMFR0, 20, (uint64_t)2 << 20), 1);
  assert_int_equal(field(PFR0, 56, (uint64_t)2 << 56), 1); /* CSV2 without SCXTNUM */
  assert_int_equal(field(PFR0, 24, 0), 1);                 /* GICv3 registers are there even where hardware calls it 4.1 */
  assert_int_equal(field(PFR0, 24, (uint64_t)3 << 24), 1);
  assert_int_equal(field(PFR0, 0, 2), 1); /* EL0 in AArch64 only */
}

/* Values of a Cortex-A72 r0p3 (its TRM, 4.3). */
static void test_cortex_a72(void **state) {
  (void)state;
  assert_int_equal(idreg_filter(PFR0, 0x00002222), 0x01000011);
  assert_int_equal(idreg_filter(ISAR0, 0x00011120), 0x00011120);
  assert_int_equal(idreg_filter(MMFR0, 0x00001124), 0x00000122);
  assert_int_equal(idreg_filter(DFR0, 0x10305106), 0xf000101006);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hidden), cmocka_unit_test(test_unlisted),   cmocka_unit_test(test_bare_cpu),
      cmocka_unit_test(test_limits), cmocka_unit_test(test_cortex_a72),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
