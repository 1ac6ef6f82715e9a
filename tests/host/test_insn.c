/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The decoder of loads and stores against what GNU as encodes: each line is an instruction as the assembler printed it, with what the Arm
 * ARM says it does.
 */
// sources: hyp/dev/insn.c
#include "core/compiler.h"
#include "hyp/dev/insn.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum {
  LOAD = 1,
  PAIR = 2,
  SIGN = 4,
  WIDE = 8,
  WRITEBACK = 16,
  POST = 32,
  INDEXED = 64
};

struct row {
  uint32_t insn;
  const char *text;
  unsigned flags, bytes, rt, rt2, rn;
  int64_t offset;
  unsigned rm, option, shift;
};

static const struct row rows[] = {
    {0x294a3c8e, "ldp w14, w15, [x4, #80]", LOAD | PAIR, 4, 14, 15, 4, 80, 0, 0, 0},
    {0xa94b2043, "ldp x3, x8, [x2, #176]", LOAD | PAIR | WIDE, 8, 3, 8, 2, 176, 0, 0, 0},
    {0xa93f07e0, "stp x0, x1, [sp, #-16]", PAIR | WIDE, 8, 0, 1, 31, -16, 0, 0, 0},
    {0xa9bf7bfd, "stp x29, x30, [sp, #-16]!", PAIR | WIDE | WRITEBACK, 8, 29, 30, 31, -16, 0, 0, 0},
    {0xa8c17bfd, "ldp x29, x30, [sp], #16", LOAD | PAIR | WIDE | WRITEBACK | POST, 8, 29, 30, 31, 16, 0, 0, 0},
    {0x69410440, "ldpsw x0, x1, [x2, #8]", LOAD | PAIR | SIGN | WIDE, 4, 0, 1, 2, 8, 0, 0, 0},
    {0x28000440, "stnp w0, w1, [x2]", PAIR, 4, 0, 1, 2, 0, 0, 0, 0},
    {0xa87f0440, "ldnp x0, x1, [x2, #-16]", LOAD | PAIR | WIDE, 8, 0, 1, 2, -16, 0, 0, 0},
    {0x289f7c5f, "stp wzr, wzr, [x2], #248", PAIR | WRITEBACK | POST, 4, 31, 31, 2, 248, 0, 0, 0},
    {0xb8404420, "ldr w0, [x1], #4", LOAD | WRITEBACK | POST, 4, 0, 0, 1, 4, 0, 0, 0},
    {0xb81fcc20, "str w0, [x1, #-4]!", WRITEBACK, 4, 0, 0, 1, -4, 0, 0, 0},
    {0xf85f8c20, "ldr x0, [x1, #-8]!", LOAD | WIDE | WRITEBACK, 8, 0, 0, 1, -8, 0, 0, 0},
    {0x38401420, "ldrb w0, [x1], #1", LOAD | WRITEBACK | POST, 1, 0, 0, 1, 1, 0, 0, 0},
    {0x78402c20, "ldrh w0, [x1, #2]!", LOAD | WRITEBACK, 2, 0, 0, 1, 2, 0, 0, 0},
    {0x38c01420, "ldrsb w0, [x1], #1", LOAD | SIGN | WRITEBACK | POST, 1, 0, 0, 1, 1, 0, 0, 0},
    {0x38801420, "ldrsb x0, [x1], #1", LOAD | SIGN | WIDE | WRITEBACK | POST, 1, 0, 0, 1, 1, 0, 0, 0},
    {0xb8804420, "ldrsw x0, [x1], #4", LOAD | SIGN | WIDE | WRITEBACK | POST, 4, 0, 0, 1, 4, 0, 0, 0},
    {0xb900183f, "str wzr, [x1, #24]", 0, 4, 31, 0, 1, 24, 0, 0, 0},
    {0x39400020, "ldrb w0, [x1]", LOAD, 1, 0, 0, 1, 0, 0, 0, 0},
    {0xf97ffc20, "ldr x0, [x1, #32760]", LOAD | WIDE, 8, 0, 0, 1, 32760, 0, 0, 0},
    {0xb8407020, "ldur w0, [x1, #7]", LOAD, 4, 0, 0, 1, 7, 0, 0, 0},
    {0xb8400820, "ldtr w0, [x1]", LOAD, 4, 0, 0, 1, 0, 0, 0, 0},
    {0xb8626820, "ldr w0, [x1, x2]", LOAD | INDEXED, 4, 0, 0, 1, 0, 2, 3, 0},
    {0xb8627820, "ldr w0, [x1, x2, lsl #2]", LOAD | INDEXED, 4, 0, 0, 1, 0, 2, 3, 2},
    {0xf822d820, "str x0, [x1, w2, sxtw #3]", WIDE | INDEXED, 8, 0, 0, 1, 0, 2, 6, 3},
    {0x78624820, "ldrh w0, [x1, w2, uxtw]", LOAD | INDEXED, 2, 0, 0, 1, 0, 2, 2, 0},
};

static unsigned flags_of(const struct insn_ldst *i) {
  return (i->load ? LOAD : 0u) | (i->pair ? PAIR : 0u) | (i->sign ? SIGN : 0u) | (i->wide ? WIDE : 0u) | (i->writeback ? WRITEBACK : 0u) |
         (i->post ? POST : 0u) | (i->indexed ? INDEXED : 0u);
}

static void test_known(void **state) {
  (void)state;
  for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
    const struct row *r = &rows[n];
    struct insn_ldst i;
    if (!insn_decode_ldst(r->insn, &i))
      fail_msg("%s is not decoded", r->text);
    if (flags_of(&i) != r->flags || i.bytes != r->bytes || i.rt != r->rt || i.rt2 != r->rt2 || i.rn != r->rn || i.offset != r->offset ||
        i.rm != r->rm || i.option != r->option || i.shift != r->shift)
      fail_msg("%s: flags %#x bytes %u rt %u rt2 %u rn %u offset %ld rm %u option %u shift %u", r->text, flags_of(&i), i.bytes, i.rt, i.rt2,
               i.rn, (long)i.offset, i.rm, i.option, i.shift);
  }
}

static const struct {
  uint32_t insn;
  const char *text;
} refused[] = {
    {0x2d400440, "ldp s0, s1, [x2]"},
    {0xad400440, "ldp q0, q1, [x2]"},
    {0x3dc00020, "ldr q0, [x1]"},
    {0xfc408420, "ldr d0, [x1], #8"},
    {0x69000440, "stgp x0, x1, [x2]"},
    {0xe9400440, "opc 3 pair"},
    {0x68400440, "opc 1 non-temporal pair"},
    {0xf9800020, "prfm pldl1keep, [x1]"},
    {0xf8a26820, "prfm pldl1keep, [x1, x2]"},
    {0x18000000, "ldr w0, literal"},
    {0x885f7c20, "ldxr w0, [x1]"},
    {0x88027c20, "stxr w2, w0, [x1]"},
    {0x88dffc20, "ldar w0, [x1]"},
    {0xb8620020, "ldaddl w2, w0, [x1]"},
    {0xb8628020, "swpl w2, w0, [x1]"},
    {0xf8200420, "ldraa x0, [x1]"},
    {0x0c407020, "ld1 {v0.8b}, [x1]"},
    {0xd50b7420, "dc zva, x0"},
    {0x38620820, "ldrb w0, [x1, x2, option 0]"},
    {0xb8c04c20, "size 2 opc 3"},
    {0xf8404400, "ldr x0, [x0], #4: base and data clash"},
    {0xa8c10400, "ldp x0, x1, [x0], #16: base and data clash"},
    {0xa9c10021, "ldp x1, x0, [x1, #16]!: base and data clash"},
    {0xa9400020, "ldp x0, x0, [x1]: one register twice"},
    {0x00000000, "udf #0"},
    {0xffffffff, "nothing"},
};

static void test_refused(void **state) {
  struct insn_ldst i;
  (void)state;
  for (unsigned n = 0; n < ARRAY_SIZE(refused); n++)
    if (insn_decode_ldst(refused[n].insn, &i))
      fail_msg("%s is decoded", refused[n].text);
}

/* SP as base and the zero register as data have the same number and do not clash. */
static void test_sp_and_zr(void **state) {
  struct insn_ldst i;
  (void)state;
  assert_true(insn_decode_ldst(0xf80087ff, &i)); /* str xzr, [sp], #8 */
  assert_true(i.writeback && i.rn == 31 && i.rt == 31);
  assert_true(insn_decode_ldst(0xa9007fff, &i)); /* stp xzr, xzr, [sp] */
}

static void test_offsets(void **state) {
  struct insn_ldst i;
  (void)state;
  assert_true(insn_decode_ldst(0xb8627820, &i)); /* lsl #2 */
  assert_int_equal(insn_ldst_offset(&i, 0x1000000000ull), 0x4000000000ull);
  assert_true(insn_decode_ldst(0xf822d820, &i)); /* sxtw #3 */
  assert_int_equal(insn_ldst_offset(&i, 0x5ffffffffull), (uint64_t)-8);
  assert_true(insn_decode_ldst(0x78624820, &i)); /* uxtw */
  assert_int_equal(insn_ldst_offset(&i, 0x5ffffffffull), 0xffffffff);
  assert_true(insn_decode_ldst(0xb81fcc20, &i)); /* #-4 */
  assert_int_equal(insn_ldst_offset(&i, 77), (uint64_t)-4);
}

static void test_extension(void **state) {
  struct insn_ldst i;
  (void)state;
  assert_true(insn_decode_ldst(0x38c01420, &i)); /* ldrsb w */
  assert_int_equal(insn_ldst_extend(&i, 0x80), 0xffffff80);
  assert_true(insn_decode_ldst(0x38801420, &i)); /* ldrsb x */
  assert_int_equal(insn_ldst_extend(&i, 0x80), 0xffffffffffffff80);
  assert_true(insn_decode_ldst(0x69410440, &i)); /* ldpsw */
  assert_int_equal(insn_ldst_extend(&i, 0x80000000), 0xffffffff80000000);
  assert_true(insn_decode_ldst(0xb8404420, &i)); /* ldr w */
  assert_int_equal(insn_ldst_extend(&i, 0xffffffff), 0xffffffff);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_known),   cmocka_unit_test(test_refused),   cmocka_unit_test(test_sp_and_zr),
      cmocka_unit_test(test_offsets), cmocka_unit_test(test_extension),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
