/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ELF reader against images made here header by header. The oracle for what it accepts is independent of it: whatever comes out is laid
 * over a byte map of the address space (no page twice, nothing beyond the limit or the file).
 */
// sources: guest/fs/elf.c
#include "guest/fs/elf.h"
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT ((uint64_t)1 << 20) /* small, so that the map of pages is */
#define FILE_BYTES 16384u

struct image {
  Elf64_Ehdr h;
  Elf64_Phdr p[ELF_SEGMENTS_MAX + 4];
  uint8_t rest[FILE_BYTES];
};

static struct image base(void) {
  struct image i;
  memset(&i, 0, sizeof i);
  memcpy(i.h.e_ident, ELFMAG, SELFMAG);
  i.h.e_ident[EI_CLASS] = ELFCLASS64;
  i.h.e_ident[EI_DATA] = ELFDATA2LSB;
  i.h.e_ident[EI_VERSION] = EV_CURRENT;
  i.h.e_type = ET_EXEC;
  i.h.e_machine = EM_AARCH64;
  i.h.e_version = EV_CURRENT;
  i.h.e_entry = 0x10100;
  i.h.e_phoff = offsetof(struct image, p);
  i.h.e_phentsize = sizeof(Elf64_Phdr);
  i.h.e_phnum = 2;
  i.p[0] =
      (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = 0, .p_vaddr = 0x10000, .p_filesz = 0x1800, .p_memsz = 0x1800};
  i.p[1] =
      (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = 0x1800, .p_vaddr = 0x12800, .p_filesz = 0x100, .p_memsz = 0x3000};
  return i;
}

/* Every promise of elf_parse, checked page by page. */
static void check_promises(const struct elf_image *e, uint64_t bytes) {
  static uint8_t used[LIMIT / 4096];
  bool entry_found = false;
  memset(used, 0, sizeof used);
  assert_in_range(e->segment_count, 1, ELF_SEGMENTS_MAX);
  for (unsigned i = 0; i < e->segment_count; i++) {
    const struct elf_segment *s = &e->segment[i];
    assert_true(s->mem_bytes > 0 && s->file_bytes <= s->mem_bytes);
    assert_true(s->offset <= bytes && s->file_bytes <= bytes - s->offset);
    assert_true(s->vaddr < LIMIT && s->mem_bytes <= LIMIT - s->vaddr);
    assert_int_equal(s->vaddr % 4096, s->offset % 4096);
    for (uint64_t page = s->vaddr / 4096; page <= (s->vaddr + s->mem_bytes - 1) / 4096; page++)
      assert_int_equal(used[page]++, 0);
    if ((s->flags & ELF_PF_X) && e->entry >= s->vaddr && e->entry < s->vaddr + s->file_bytes)
      entry_found = true;
  }
  assert_true(entry_found);
}

/* Parse a copy of exactly `bytes`. */
static err_t parse(const struct image *i, size_t bytes, struct elf_image *out) {
  uint8_t *copy = malloc(bytes == 0 ? 1 : bytes);
  memcpy(copy, i, bytes);
  err_t e = elf_parse(copy, bytes, LIMIT, out);
  free(copy);
  if (e == ERR_OK)
    check_promises(out, bytes);
  return e;
}

static err_t result_of(const struct image *i) {
  struct elf_image out;
  return parse(i, sizeof *i, &out);
}

static void reads_a_program(void **state) {
  struct image i = base();
  struct elf_image e;
  (void)state;
  assert_int_equal(parse(&i, sizeof i, &e), ERR_OK);
  assert_int_equal(e.entry, 0x10100);
  assert_false(e.position_independent);
  assert_int_equal(e.phdr_vaddr, 0x10000 + offsetof(struct image, p));
  assert_int_equal(e.phdr_count, 2);
  assert_int_equal(e.segment_count, 2);
  assert_int_equal(e.segment[1].vaddr, 0x12800);
  assert_int_equal(e.segment[1].mem_bytes, 0x3000);
  assert_int_equal(e.segment[1].flags, ELF_PF_R | ELF_PF_W);
  i.h.e_type = ET_DYN;
  assert_int_equal(parse(&i, sizeof i, &e), ERR_OK);
  assert_true(e.position_independent);
}

static void survives_every_truncation(void **state) {
  struct image i = base();
  struct elf_image out;
  (void)state;
  for (size_t bytes = 0; bytes < 0x1900; bytes++)
    assert_int_equal(parse(&i, bytes, &out), ERR_INVAL);
  assert_int_equal(parse(&i, 0x1900, &out), ERR_OK);
}

static void refuses_other_files(void **state) {
  struct image i;
  (void)state;
  for (unsigned byte = 0; byte < 7; byte++) {
    i = base();
    i.h.e_ident[byte] ^= 0x3;
    assert_int_equal(result_of(&i), ERR_INVAL);
  }
  i = base(), i.h.e_machine = EM_X86_64;
  assert_int_equal(result_of(&i), ERR_UNSUPPORTED);
  i = base(), i.h.e_type = ET_REL;
  assert_int_equal(result_of(&i), ERR_UNSUPPORTED);
  i = base(), i.h.e_type = ET_CORE;
  assert_int_equal(result_of(&i), ERR_UNSUPPORTED);
  i = base(), i.p[1].p_type = PT_INTERP;
  assert_int_equal(result_of(&i), ERR_UNSUPPORTED);
}

static void refuses_bad_tables(void **state) {
  struct image i;
  (void)state;
  i = base(), i.h.e_phnum = 0;
  assert_int_equal(result_of(&i), ERR_INVAL);
  i = base(), i.h.e_phnum = 0xffff;
  assert_int_equal(result_of(&i), ERR_INVAL);
  i = base(), i.h.e_phentsize = 32;
  assert_int_equal(result_of(&i), ERR_INVAL);
  i = base(), i.h.e_phoff = sizeof i;
  assert_int_equal(result_of(&i), ERR_INVAL);
  i = base(), i.h.e_phoff = ~0ull - 8;
  assert_int_equal(result_of(&i), ERR_INVAL);
  i = base(), i.h.e_phoff = sizeof i - 2 * sizeof(Elf64_Phdr) + 1;
  assert_int_equal(result_of(&i), ERR_INVAL);
  i = base(), i.p[0].p_type = i.p[1].p_type = PT_NOTE;
  assert_int_equal(result_of(&i), ERR_INVAL);
}

static void refuses_bad_segments(void **state) {
  static const struct {
    uint64_t offset, vaddr, filesz, memsz;
  } bad[] = {
      {0x1800, 0x12800, 0x100, 0xff},                   /* larger in the file than in memory */
      {0x1801, 0x12800, 0x100, 0x100},                  /* offset and address disagree */
      {sizeof(struct image) + 0x3000, 0x12800, 0, 0x1}, /* begins beyond the file */
      {0x1800, 0x12800, sizeof(struct image), sizeof(struct image)},
      {0x1800, 0x12800, ~0ull, ~0ull},
      {0x1800, 0x12800, 0x100, ~0ull},
      {~0xfffull | 0x800, 0x12800, 0x1000, 0x1000}, /* offset + size wraps */
      {0x1800, LIMIT - 0x800, 0x100, 0x1000},       /* beyond the limit */
      {0x1800, LIMIT + 0x800, 0x100, 0x1000},
      {0x1800, ~0xfffull | 0x800, 0x100, 0x100}, /* an address of the kernel */
      {0x1800, 0x11800, 0x100, 0x100},           /* shares a page with the first */
      {0x1800, 0x10800, 0x100, 0x100},           /* inside the first */
      {0x1800, 0x0f800, 0x100, 0x100},           /* below the first */
      {0x1800, 0x0f800, 0x100, 0x5000},          /* around the first */
  };
  (void)state;
  for (unsigned n = 0; n < sizeof bad / sizeof bad[0]; n++) {
    struct image i = base();
    i.p[1].p_offset = bad[n].offset;
    i.p[1].p_vaddr = bad[n].vaddr;
    i.p[1].p_filesz = bad[n].filesz;
    i.p[1].p_memsz = bad[n].memsz;
    assert_int_equal(result_of(&i), ERR_INVAL);
  }
}

static void refuses_bad_entries(void **state) {
  static const uint64_t bad[] = {0, 0x10102, 0x0fffc, 0x11800, 0x12800, ~0ull << 12};
  (void)state;
  for (unsigned n = 0; n < sizeof bad / sizeof bad[0]; n++) {
    struct image i = base();
    i.h.e_entry = bad[n];
    assert_int_equal(result_of(&i), ERR_INVAL);
  }
}

static void counts_segments(void **state) {
  (void)state;
  for (unsigned n = ELF_SEGMENTS_MAX - 1; n <= ELF_SEGMENTS_MAX + 1; n++) {
    struct image i = base();
    i.h.e_phnum = (uint16_t)(n + 1);
    for (unsigned k = 1; k < n; k++)
      i.p[k] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = 0x20000 + k * 0x1000, .p_memsz = 0x1000};
    i.p[n] = (Elf64_Phdr){.p_type = PT_LOAD}; /* empty ones do not count */
    assert_int_equal(result_of(&i), n > ELF_SEGMENTS_MAX ? ERR_NOSPC : ERR_OK);
  }
}

static void headers_outside_segments(void **state) {
  struct image i = base();
  struct elf_image e;
  (void)state;
  i.p[0].p_offset = 0x1000;
  i.h.e_entry = 0x10100;
  i.p[0].p_filesz = i.p[0].p_memsz = 0x800;
  assert_int_equal(parse(&i, sizeof i, &e), ERR_OK);
  assert_int_equal(e.phdr_vaddr, 0);
}

/* Random damage to the headers: accepted or not, the promises hold. */
static void random_damage(void **state) {
  uint64_t seed = 88172645463325252ull;
  struct elf_image out;
  (void)state;
  for (unsigned round = 0; round < 20000; round++) {
    struct image i = base();
    for (unsigned n = 0; n < 1 + round % 3; n++) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      ((uint8_t *)&i)[seed % offsetof(struct image, p[2])] ^= (uint8_t)(1u << (seed >> 32) % 8);
    }
    (void)!parse(&i, sizeof i, &out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_a_program),    cmocka_unit_test(survives_every_truncation), cmocka_unit_test(refuses_other_files),
      cmocka_unit_test(refuses_bad_tables), cmocka_unit_test(refuses_bad_segments),      cmocka_unit_test(refuses_bad_entries),
      cmocka_unit_test(counts_segments),    cmocka_unit_test(headers_outside_segments),  cmocka_unit_test(random_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
