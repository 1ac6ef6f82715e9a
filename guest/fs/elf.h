/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_FS_ELF_H
#define GUEST_FS_ELF_H

/* Reader for static AArch64 ELF programs (ELF-64 object file format; ET_EXEC, and ET_DYN without interpreter). Pure C, any input. */

#include "core/err.h"
#include "core/types.h"

#define ELF_SEGMENTS_MAX 16u
#define ELF_PF_X 1u
#define ELF_PF_W 2u
#define ELF_PF_R 4u

/* A PT_LOAD: bytes [offset, offset + file_bytes) of the file at vaddr, then zeroes up to mem_bytes. */
struct elf_segment {
  uint64_t vaddr, offset, file_bytes, mem_bytes;
  uint32_t flags; /* ELF_PF_* */
};

struct elf_image {
  uint64_t entry;
  bool position_independent; /* ET_DYN: addresses are relative to a base of the loader's choice */
  uint64_t phdr_vaddr;       /* of the program headers in memory; 0 if no segment holds them */
  uint16_t phdr_count;
  unsigned segment_count;
  struct elf_segment segment[ELF_SEGMENTS_MAX]; /* ascending, on disjoint pages */
};

/*
 * Parse `bytes` at `file`. What comes out is safe to map: every segment lies within the file and below `limit` in memory, offset and
 * address agree modulo 4096, no two segments share a page, none is empty, the entry lies in an executable one. ERR_INVAL if the file breaks
 * any of this, ERR_UNSUPPORTED if it is sound but not for us (other machine, interpreter), ERR_NOSPC for too many segments.
 */
MUST_CHECK err_t elf_parse(const void *file, uint64_t bytes, uint64_t limit, struct elf_image *out);

#endif
