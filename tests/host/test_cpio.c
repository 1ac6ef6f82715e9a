/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The newc reader against archives made here field by field, and against every way to break one: each is put into a block of exactly
 * its size, so that AddressSanitizer sees a read beyond it.
 */
// sources: guest/fs/cpio.c
#include "guest/fs/cpio.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REGULAR 0100644u
#define HEADER 110u

struct archive {
  char bytes[8192];
  size_t size;
};

static void pad(struct archive *a) {
  while (a->size % 4 != 0)
    a->bytes[a->size++] = '\0';
}

/* Returns where the entry's header begins. */
static size_t add(struct archive *a, const char *name, unsigned mode, const char *data) {
  size_t start = a->size, name_bytes = strlen(name) + 1, bytes = strlen(data);
  a->size += (size_t)sprintf(a->bytes + a->size, "070701%08X%08X%08X%08X%08X%08X%08zX%08X%08X%08X%08X%08zx%08X", 1, mode, 0, 0, 1, 0, bytes,
                             0, 0, 0, 0, name_bytes, 0);
  memcpy(a->bytes + a->size, name, name_bytes);
  a->size += name_bytes;
  pad(a);
  memcpy(a->bytes + a->size, data, bytes);
  a->size += bytes;
  pad(a);
  return start;
}

static void finish(struct archive *a) {
  add(a, "TRAILER!!!", 0, "");
}

/* Read all of the first `size` bytes from a block of just that size. Returns the last answer and the number of entries. */
static err_t read_all(const struct archive *a, size_t size, unsigned *entries) {
  char *copy = malloc(size == 0 ? 1 : size);
  struct cpio_reader r;
  struct cpio_entry e;
  err_t result;
  memcpy(copy, a->bytes, size);
  cpio_open(&r, copy, size);
  *entries = 0;
  while ((result = cpio_next(&r, &e)) == ERR_OK) {
    assert_true(strlen(e.name) < CPIO_NAME_MAX);
    assert_true(e.data >= (uint8_t *)copy && e.data + e.bytes <= (uint8_t *)copy + size);
    ++*entries;
  }
  assert_int_equal(cpio_next(&r, &e), result); /* the answer stays */
  free(copy);
  return result;
}

static void expect_all(const struct archive *a, err_t want, unsigned want_entries) {
  unsigned entries;
  assert_int_equal(read_all(a, a->size, &entries), want);
  assert_int_equal(entries, want_entries);
}

static void reads_entries(void **state) {
  struct archive a = {.size = 0};
  struct cpio_reader r;
  struct cpio_entry e;
  (void)state;
  add(&a, ".", 040755, "");
  add(&a, "./bin/hello", REGULAR, "hello world");
  add(&a, "/init", REGULAR, "");
  finish(&a);
  cpio_open(&r, a.bytes, a.size);
  assert_int_equal(cpio_next(&r, &e), ERR_OK);
  assert_string_equal(e.name, ".");
  assert_int_equal(e.mode & CPIO_S_IFMT, CPIO_S_IFDIR);
  assert_int_equal(cpio_next(&r, &e), ERR_OK);
  assert_string_equal(e.name, "bin/hello");
  assert_int_equal(e.bytes, 11);
  assert_memory_equal(e.data, "hello world", 11);
  assert_int_equal(cpio_next(&r, &e), ERR_OK);
  assert_string_equal(e.name, "init");
  assert_int_equal(e.bytes, 0);
  assert_int_equal(e.mode & CPIO_S_IFMT, CPIO_S_IFREG);
  assert_int_equal(cpio_next(&r, &e), ERR_NOENT);
}

/* Every length of name and data modulo the padding. */
static void pads_every_length(void **state) {
  (void)state;
  for (unsigned n = 1; n < 9; n++) {
    for (unsigned d = 0; d < 9; d++) {
      struct archive a = {.size = 0};
      struct cpio_reader r;
      struct cpio_entry e;
      add(&a, "12345678" + (8 - n), REGULAR, "abcdefgh" + (8 - d));
      add(&a, "next", REGULAR, "x");
      finish(&a);
      cpio_open(&r, a.bytes, a.size);
      assert_int_equal(cpio_next(&r, &e), ERR_OK);
      assert_int_equal(e.bytes, d);
      assert_memory_equal(e.data, "abcdefgh" + (8 - d), d);
      assert_int_equal(cpio_next(&r, &e), ERR_OK);
      assert_string_equal(e.name, "next");
      assert_int_equal(cpio_next(&r, &e), ERR_NOENT);
    }
  }
}

static void accepts_zeroes_around(void **state) {
  struct archive a = {.size = 0};
  (void)state;
  expect_all(&a, ERR_NOENT, 0);
  a.size = 512;
  expect_all(&a, ERR_NOENT, 0);
  add(&a, "file", REGULAR, "data");
  a.size += 64;
  add(&a, "other", REGULAR, "data");
  a.size += 300;
  expect_all(&a, ERR_NOENT, 2);
}

/* Cut anywhere, an archive gives its whole entries, then an end or an error; never anything made up. */
static void survives_every_truncation(void **state) {
  struct archive a = {.size = 0};
  unsigned entries, last = 0;
  (void)state;
  add(&a, "one", REGULAR, "first");
  add(&a, "two", REGULAR, "second");
  finish(&a);
  for (size_t size = 0; size < a.size; size++) {
    err_t e = read_all(&a, size, &entries);
    assert_true(e == ERR_NOENT || e == ERR_INVAL);
    assert_true(entries >= last && entries <= 2);
    last = entries;
    if (size > 0 && size < HEADER)
      assert_int_equal(e, ERR_INVAL);
  }
}

static void set_field(struct archive *a, size_t header, unsigned field, const char *hex) {
  memcpy(a->bytes + header + 6 + field * 8, hex, 8);
}

static void refuses_bad_fields(void **state) {
  static const struct {
    unsigned field;
    const char *value;
  } bad[] = {
      {11, "00000000"},                  /* no name at all */
      {11, "00000004"},                  /* name without its NUL */
      {11, "00001001"},                  /* longer than any name */
      {11, "FFFFFFFF"}, {6, "FFFFFFFF"}, /* data beyond the end */
      {6, "00000200"},  {6, "0000000g"}, /* no hex */
      {6, "      11"},  {6, "-0000001"}, {1, "0x1234ab"},
  };
  (void)state;
  for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct archive a = {.size = 0};
    add(&a, "good", REGULAR, "data");
    size_t second = add(&a, "broken", REGULAR, "data");
    finish(&a);
    set_field(&a, second, bad[i].field, bad[i].value);
    expect_all(&a, ERR_INVAL, 1);
  }
}

static void refuses_other_formats(void **state) {
  static const char *const magic[] = {"070707", "070703", "0x0701", "\xc7\x71zzzz", "070701" /* good, for the loop's sake */};
  (void)state;
  for (unsigned i = 0; i < 5; i++) {
    struct archive a = {.size = 0};
    add(&a, "file", REGULAR, "data");
    finish(&a);
    memcpy(a.bytes, magic[i], 6);
    expect_all(&a, i == 4 ? ERR_NOENT : ERR_INVAL, i == 4 ? 1 : 0);
  }
}

static void accepts_checksum_variant(void **state) {
  struct archive a = {.size = 0};
  (void)state;
  size_t at = add(&a, "file", REGULAR, "data");
  memcpy(a.bytes + at, "070702", 6);
  finish(&a);
  expect_all(&a, ERR_NOENT, 1);
}

/* The trailer ends it, whatever follows. */
static void stops_at_trailer(void **state) {
  struct archive a = {.size = 0};
  (void)state;
  add(&a, "file", REGULAR, "data");
  finish(&a);
  add(&a, "after", REGULAR, "data");
  expect_all(&a, ERR_NOENT, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_entries),
      cmocka_unit_test(pads_every_length),
      cmocka_unit_test(accepts_zeroes_around),
      cmocka_unit_test(survives_every_truncation),
      cmocka_unit_test(refuses_bad_fields),
      cmocka_unit_test(refuses_other_formats),
      cmocka_unit_test(accepts_checksum_variant),
      cmocka_unit_test(stops_at_trailer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
