/* SPDX-License-Identifier: BSD-2-Clause */
/* The newc reader with any bytes: it ends, and what it hands out lies within the input, disjoint and in order. */
// sources: guest/fs/cpio.c
#include "guest/fs/cpio.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct cpio_reader r;
  struct cpio_entry e;
  const uint8_t *end = data;
  cpio_open(&r, data, size);
  while (cpio_next(&r, &e) == ERR_OK) {
    const uint8_t *name = (const uint8_t *)e.name;
    if (name < end || name + strlen(e.name) >= data + size || e.data < name || e.bytes > (size_t)(data + size - e.data))
      abort();
    end = e.data + e.bytes;
  }
  return 0;
}
