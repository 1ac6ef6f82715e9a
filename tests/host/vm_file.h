/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VM_FILE_H
#define VM_FILE_H

/* A file whose word at offset x is vm_file_word(id, x), that counts its references and can fail to be read. */

#include "core/compiler.h"
#include "guest/vm/vm.h"

struct test_file {
  struct vm_file file;
  unsigned id, refs, reads;
  bool broken; /* read_page answers ERR_IO */
};

static inline uint64_t vm_file_word(unsigned id, uint64_t offset) {
  return (uint64_t)(id + 1) << 56 | offset;
}

static UNUSED err_t test_file_read(struct vm_file *file, uint64_t pgoff, void *to) {
  struct test_file *f = container_of(file, struct test_file, file);
  uint64_t *words = to;
  f->reads++;
  if (f->broken)
    return ERR_IO;
  for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
    words[i] = vm_file_word(f->id, (pgoff << PAGE_SHIFT) + i * 8);
  return ERR_OK;
}

static UNUSED void test_file_get(struct vm_file *file) {
  container_of(file, struct test_file, file)->refs++;
}

static UNUSED void test_file_put(struct vm_file *file) {
  container_of(file, struct test_file, file)->refs--;
}

static UNUSED const struct vm_file_ops test_file_ops = {test_file_read, test_file_get, test_file_put};

#define TEST_FILE(id_)                                                                                                                     \
  { .file = {.ops = &test_file_ops, .name = "test-file"}, .id = (id_) }

#endif
