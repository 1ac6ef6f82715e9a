/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A memory descriptors: one that is right, written byte by byte from the tables of DEN0077A 1.1, and everything that can be wrong with
 * it. Each is read from a buffer of exactly its length.
 */
// sources: hyp/dev/ffa_desc.c
#include "hyp/dev/ffa_desc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH 128u /* header, two accesses, composite, two ranges */

static uint8_t good[LENGTH];

static void put(unsigned at, unsigned bytes, uint64_t value) {
  for (unsigned i = 0; i < bytes; i++)
    good[at + i] = (uint8_t)(value >> 8 * i);
}

static int set_up(void **state) {
  (void)state;
  memset(good, 0, sizeof(good));
  put(0, 2, 7);    /* sender */
  put(2, 2, 0x2f); /* attributes */
  put(4, 4, 1);    /* flags */
  put(8, 8, 0x1234567890);
  put(16, 8, 0xfeed); /* tag */
  put(24, 4, 16);     /* bytes of an access */
  put(28, 4, 2);      /* how many */
  put(32, 4, 48);     /* where */
  put(48, 2, 3), put(50, 1, 2), put(52, 4, 80);
  put(64, 2, 4), put(66, 1, 1), put(68, 4, 80);
  put(80, 4, 5), put(84, 4, 2);
  put(96, 8, 0x40001000), put(104, 4, 2);
  put(112, 8, 0x50000000), put(120, 4, 3);
  return 0;
}

static err_t parse(uint32_t length, uint32_t total, struct ffa_desc *d) {
  uint8_t *copy = malloc(length ? length : 1);
  memcpy(copy, good, length);
  err_t err = ffa_desc_parse(copy, length, total, d);
  free(copy);
  return err;
}

static void a_right_one_is_read(void **state) {
  (void)state;
  struct ffa_desc d;
  struct ffa_constituent c;
  assert_int_equal(parse(LENGTH, LENGTH, &d), ERR_OK);
  assert_int_equal(d.sender, 7);
  assert_int_equal(d.attributes, 0x2f);
  assert_int_equal(d.flags, 1);
  assert_int_equal(d.handle, 0x1234567890);
  assert_int_equal(d.tag, 0xfeed);
  assert_int_equal(d.access_count, 2);
  assert_int_equal(d.access[0].endpoint, 3);
  assert_int_equal(d.access[1].endpoint, 4);
  assert_int_equal(d.access[1].permissions, 1);
  assert_true(d.composite);
  assert_int_equal(d.pages, 5);
  assert_int_equal(d.ranges, 2);
  assert_int_equal(ffa_desc_constituent(good, LENGTH, d.first_at, &c), ERR_OK);
  assert_int_equal(c.address, 0x40001000);
  assert_int_equal(c.pages, 2);
  assert_int_equal(ffa_desc_constituent(good, LENGTH, d.first_at + 16, &c), ERR_OK);
  assert_int_equal(c.address, 0x50000000);
  assert_int_equal(ffa_desc_constituent(good, LENGTH, d.first_at + 32, &c), ERR_INVAL);
}

static void the_first_fragment_holds_the_fixed_parts(void **state) {
  (void)state;
  struct ffa_desc d;
  for (uint32_t length = 0; length <= LENGTH; length++)
    assert_int_equal(parse(length, LENGTH, &d), length < 96 ? ERR_INVAL : ERR_OK);
  assert_int_equal(parse(LENGTH, LENGTH - 1, &d), ERR_INVAL);
  assert_int_equal(parse(LENGTH, LENGTH + 16, &d), ERR_INVAL);
}

/* `bytes` at `at` set to `value` makes it wrong. */
static void wrong(unsigned at, unsigned bytes, uint64_t value) {
  struct ffa_desc d;
  uint8_t kept[8];
  memcpy(kept, good + at, bytes);
  put(at, bytes, value);
  if (parse(LENGTH, LENGTH, &d) != ERR_INVAL)
    fail_msg("%u bytes at %u: %#llx was taken", bytes, at, (unsigned long long)value);
  memcpy(good + at, kept, bytes);
  assert_int_equal(parse(LENGTH, LENGTH, &d), ERR_OK);
}

static void every_field_that_can_be_wrong(void **state) {
  (void)state;
  static const uint64_t offsets[] = {0, 8, 47, 49, 52, 0x70, 0x78, 0x80, 0x7fffffff, 0xfffffff0, 0xffffffff};
  wrong(24, 4, 15), wrong(24, 4, 32), wrong(24, 4, 0);
  wrong(28, 4, 0), wrong(28, 4, 3), wrong(28, 4, 5), wrong(28, 4, 0x10000002), wrong(28, 4, 0xffffffff);
  for (unsigned i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
    wrong(32, 4, offsets[i]);
  for (unsigned at = 36; at < 48; at++)
    wrong(at, 1, 1); /* reserved */
  wrong(50, 1, 3), wrong(50, 1, 0xc), wrong(50, 1, 0x10), wrong(51, 1, 1);
  wrong(56, 8, 1), wrong(72, 8, 1ull << 63);
  wrong(64, 2, 3); /* the same endpoint again */
  wrong(52, 4, 0), wrong(52, 4, 88), wrong(68, 4, 96), wrong(68, 4, 0xffffffff);
  wrong(80, 4, 1); /* fewer pages than ranges */
  wrong(84, 4, 0), wrong(84, 4, 1), wrong(84, 4, 3), wrong(84, 4, 0x10000002), wrong(84, 4, 0xffffffff);
  wrong(88, 8, 1);
}

static void composites_beside_the_accesses_only(void **state) {
  (void)state;
  struct ffa_desc d;
  for (uint32_t at = 8; at < 80; at += 8) {
    put(52, 4, at), put(68, 4, at);
    assert_int_equal(parse(LENGTH, LENGTH, &d), ERR_INVAL);
  }
  put(52, 4, 0), put(68, 4, 0); /* none at all: nothing may follow */
  assert_int_equal(parse(LENGTH, LENGTH, &d), ERR_INVAL);
  assert_int_equal(parse(80, 80, &d), ERR_OK);
  assert_false(d.composite);
}

static void range_is(uint64_t address, uint32_t pages, uint32_t reserved, err_t wanted) {
  struct ffa_constituent c;
  put(96, 8, address), put(104, 4, pages), put(108, 4, reserved);
  assert_int_equal(ffa_desc_constituent(good, LENGTH, 96, &c), wanted);
}

static void ranges(void **state) {
  (void)state;
  range_is(0, 1, 0, ERR_OK);
  range_is(0x1000, 0, 0, ERR_INVAL);
  range_is(0x1001, 1, 0, ERR_INVAL);
  range_is(0x1000, 1, 1, ERR_INVAL);
  range_is((1ull << 48) - 4096, 1, 0, ERR_OK);
  range_is((1ull << 48) - 4096, 2, 0, ERR_INVAL);
  range_is(1ull << 48, 1, 0, ERR_INVAL);
  range_is(~0xfffull, 0xffffffff, 0, ERR_INVAL);
  struct ffa_constituent c;
  for (uint32_t at = LENGTH - 15; at < LENGTH + 20; at++)
    assert_int_equal(ffa_desc_constituent(good, LENGTH, at, &c), ERR_INVAL);
  assert_int_equal(ffa_desc_constituent(good, LENGTH, 0xfffffff8, &c), ERR_INVAL);
  assert_int_equal(ffa_desc_constituent(good, LENGTH, 100, &c), ERR_INVAL);
}

static void relinquish(void **state) {
  (void)state;
  uint64_t handle;
  uint32_t flags;
  put(0, 8, 0xabcdef0123456789), put(8, 4, 1), put(12, 4, 1), put(16, 2, 9);
  assert_int_equal(ffa_desc_relinquish(good, 18, 9, &handle, &flags), ERR_OK);
  assert_true(handle == 0xabcdef0123456789 && flags == 1);
  assert_int_equal(ffa_desc_relinquish(good, 17, 9, &handle, &flags), ERR_INVAL);
  assert_int_equal(ffa_desc_relinquish(good, 18, 8, &handle, &flags), ERR_INVAL);
  put(12, 4, 2);
  assert_int_equal(ffa_desc_relinquish(good, 18, 9, &handle, &flags), ERR_INVAL);
  put(12, 4, 1), put(8, 4, 2);
  assert_int_equal(ffa_desc_relinquish(good, 18, 9, &handle, &flags), ERR_INVAL);
}

/* What is written for a receiver reads as what was meant. */
static void a_response_reads_back(void **state) {
  (void)state;
  struct ffa_desc d, back;
  struct ffa_constituent c;
  uint8_t to[FFA_DESC_RESPONSE_BYTES];
  assert_int_equal(parse(LENGTH, LENGTH, &d), ERR_OK);
  assert_int_equal(ffa_desc_response(to, &d, 0x80000000, 5), sizeof(to));
  assert_int_equal(ffa_desc_parse(to, sizeof(to), sizeof(to), &back), ERR_OK);
  assert_int_equal(back.sender, 7);
  assert_true(back.handle == d.handle && back.tag == d.tag && back.access_count == 1 && back.access[0].endpoint == 3);
  assert_int_equal(ffa_desc_constituent(to, sizeof(to), back.first_at, &c), ERR_OK);
  assert_true(c.address == 0x80000000 && c.pages == 5 && back.pages == 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_right_one_is_read, set_up),
      cmocka_unit_test_setup(the_first_fragment_holds_the_fixed_parts, set_up),
      cmocka_unit_test_setup(every_field_that_can_be_wrong, set_up),
      cmocka_unit_test_setup(composites_beside_the_accesses_only, set_up),
      cmocka_unit_test_setup(ranges, set_up),
      cmocka_unit_test_setup(relinquish, set_up),
      cmocka_unit_test_setup(a_response_reads_back, set_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
