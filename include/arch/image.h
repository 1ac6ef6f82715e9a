/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_IMAGE_H
#define ARCH_IMAGE_H

/* The 64-byte arm64 Image header (Linux Documentation/arm64/booting.rst). All fields little-endian. */

#include <stdint.h>

#define IMAGE_MAGIC 0x644d5241u /* "ARM\x64" */

struct image_header {
  uint32_t code0, code1;
  uint64_t text_offset; /* from a 2 MiB aligned base */
  uint64_t image_size;  /* bytes, bss included */
  uint64_t flags;
  uint64_t res2, res3, res4;
  uint32_t magic;
  uint32_t res5;
};

#define IMAGE_FLAGS_BE 0x1u
#define IMAGE_FLAGS_PAGE_4K 0x2u
#define IMAGE_FLAGS_ANYWHERE 0x8u

_Static_assert(sizeof(struct image_header) == 64, "arm64 Image header");

#endif
