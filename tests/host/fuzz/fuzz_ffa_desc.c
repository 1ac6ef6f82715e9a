/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as an FF-A memory descriptor, in a copy of exactly its length so that a read past its end shows: what is accepted must lie
 * within the bytes that there are, and make sense. The first four bytes choose the total length and how much of it is in the first
 * fragment.
 */
// sources: hyp/dev/ffa_desc.c
#include "core/check.h"
#include "hyp/dev/ffa_desc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void check_failed(const char *expr, const char *file, int line) {
  fprintf(stderr, "CHECK(%s) at %s:%d\n", expr, file, line);
  abort();
}

static void check_desc(const struct ffa_desc *d, uint32_t length, uint32_t total) {
  CHECK(length <= total && d->access_count >= 1 && d->access_count <= FFA_DESC_ACCESS_MAX);
  for (unsigned i = 0; i < d->access_count; i++)
    for (unsigned k = 0; k < i; k++)
      CHECK(d->access[i].endpoint != d->access[k].endpoint);
  if (d->composite) {
    CHECK(d->ranges >= 1 && d->pages >= d->ranges && d->first_at <= length);
    CHECK((uint64_t)d->first_at + 16ull * d->ranges == total);
  } else {
    CHECK(d->ranges == 0 && d->pages == 0);
  }
}

static void read_ranges(const uint8_t *bytes, uint32_t length, const struct ffa_desc *d) {
  struct ffa_constituent c;
  for (uint32_t at = d->first_at, n = 0; n < d->ranges && ffa_desc_constituent(bytes, length, at, &c) == ERR_OK; n++, at += 16) {
    CHECK(at + 16 <= length);
    CHECK(c.pages > 0 && c.address % 4096 == 0 && c.address + c.pages * 4096ull <= 1ull << 48);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint16_t more, at;
  struct ffa_desc d;
  struct ffa_constituent c;
  uint64_t handle;
  uint32_t flags;
  if (size < 4)
    return 0;
  memcpy(&more, data, 2);
  memcpy(&at, data + 2, 2);
  uint32_t length = (uint32_t)size - 4;
  uint8_t *bytes = malloc(length ? length : 1);
  memcpy(bytes, data + 4, length);
  if (ffa_desc_parse(bytes, length, length + more, &d) == ERR_OK) {
    check_desc(&d, length, length + more);
    read_ranges(bytes, length, &d);
  }
  if (ffa_desc_constituent(bytes, length, at, &c) == ERR_OK)
    CHECK((uint64_t)at + 16 <= length);
  if (ffa_desc_relinquish(bytes, length, 1, &handle, &flags) == ERR_OK)
    CHECK(length >= 18 && (flags & ~1u) == 0);
  free(bytes);
  return 0;
}
