/* SPDX-License-Identifier: BSD-2-Clause */
/* The ELF reader with any bytes: what it accepts keeps the promises of elf.h. */
// sources: guest/fs/elf.c
#include "guest/fs/elf.h"
#include <stdlib.h>

#define LIMIT ((uint64_t)1 << 39)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct elf_image e;
  uint64_t free_from = 0;
  if (elf_parse(data, size, LIMIT, &e) != ERR_OK)
    return 0;
  for (unsigned i = 0; i < e.segment_count; i++) {
    const struct elf_segment *s = &e.segment[i];
    if (s->vaddr / 4096 < free_from || s->mem_bytes == 0 || s->file_bytes > s->mem_bytes || s->vaddr >= LIMIT ||
        s->mem_bytes > LIMIT - s->vaddr || s->offset > size || s->file_bytes > size - s->offset || (s->vaddr ^ s->offset) % 4096 != 0)
      abort();
    free_from = (s->vaddr + s->mem_bytes + 4095) / 4096;
  }
  return 0;
}
