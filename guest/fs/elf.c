/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ELF-64 for AArch64. The file is untrusted: headers are copied out field by field (they may lie at any alignment), sums are checked before
 * they are made, and a segment list that could not be mapped is refused here rather than half-way through exec. Owns nothing.
 */
#include "guest/fs/elf.h"

#include "core/bits.h"
#include "core/string.h"

struct ehdr {
  uint8_t ident[16];
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, phoff, shoff;
  uint32_t flags;
  uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct phdr {
  uint32_t type, flags;
  uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

_Static_assert(sizeof(struct ehdr) == 64 && sizeof(struct phdr) == 56, "ELF-64 headers");

#define ET_EXEC 2u
#define ET_DYN 3u
#define EM_AARCH64 183u
#define PT_LOAD 1u
#define PT_INTERP 3u

static bool ident_is_ours(const uint8_t *ident) {
  static const uint8_t want[7] = {0x7f, 'E', 'L', 'F', 2 /* 64-bit */, 1 /* little-endian */, 1 /* version */};
  return memcmp(ident, want, sizeof want) == 0;
}

static err_t check_header(const struct ehdr *h, uint64_t bytes) {
  if (!ident_is_ours(h->ident) || h->version != 1 || h->phentsize != sizeof(struct phdr) || h->phnum == 0)
    return ERR_INVAL;
  if (h->phoff > bytes || (uint64_t)h->phnum * sizeof(struct phdr) > bytes - h->phoff)
    return ERR_INVAL;
  return h->machine == EM_AARCH64 && (h->type == ET_EXEC || h->type == ET_DYN) ? ERR_OK : ERR_UNSUPPORTED;
}

static uint64_t page_end(const struct elf_segment *s) {
  return align_up(s->vaddr + s->mem_bytes, PAGE_SIZE);
}

static err_t add_segment(struct elf_image *out, const struct phdr *p, uint64_t bytes, uint64_t limit) {
  if (p->memsz == 0 && p->filesz == 0)
    return ERR_OK;
  if (p->filesz > p->memsz || p->offset > bytes || p->filesz > bytes - p->offset)
    return ERR_INVAL;
  if (p->vaddr >= limit || p->memsz > limit - p->vaddr || ((p->offset ^ p->vaddr) & ~PAGE_MASK) != 0)
    return ERR_INVAL;
  if (out->segment_count == ELF_SEGMENTS_MAX)
    return ERR_NOSPC;
  struct elf_segment *s = &out->segment[out->segment_count];
  if (s != out->segment && align_down(p->vaddr, PAGE_SIZE) < page_end(s - 1))
    return ERR_INVAL; /* out of order, or shares a page with the one before */
  *s = (struct elf_segment){p->vaddr, p->offset, p->filesz, p->memsz, p->flags & (ELF_PF_R | ELF_PF_W | ELF_PF_X)};
  out->segment_count++;
  return ERR_OK;
}

static err_t read_segments(const uint8_t *file, uint64_t bytes, uint64_t limit, const struct ehdr *h, struct elf_image *out) {
  for (unsigned i = 0; i < h->phnum; i++) {
    struct phdr p;
    memcpy(&p, file + h->phoff + i * sizeof p, sizeof p);
    if (p.type == PT_INTERP)
      return ERR_UNSUPPORTED;
    err_t e = p.type == PT_LOAD ? add_segment(out, &p, bytes, limit) : ERR_OK;
    if (e != ERR_OK)
      return e;
  }
  return out->segment_count > 0 ? ERR_OK : ERR_INVAL;
}

static bool entry_is_code(const struct elf_image *image) {
  for (unsigned i = 0; i < image->segment_count; i++) {
    const struct elf_segment *s = &image->segment[i];
    if ((s->flags & ELF_PF_X) && image->entry >= s->vaddr && image->entry - s->vaddr < s->file_bytes)
      return (image->entry & 3) == 0;
  }
  return false;
}

/* AT_PHDR: where the segment that holds the headers' file bytes puts them. */
static uint64_t find_phdr(const struct elf_image *image, uint64_t phoff, uint64_t phdr_bytes) {
  for (unsigned i = 0; i < image->segment_count; i++) {
    const struct elf_segment *s = &image->segment[i];
    if (phoff >= s->offset && phoff - s->offset <= s->file_bytes && phdr_bytes <= s->file_bytes - (phoff - s->offset))
      return s->vaddr + (phoff - s->offset);
  }
  return 0;
}

err_t elf_parse(const void *file, uint64_t bytes, uint64_t limit, struct elf_image *out) {
  struct ehdr h;
  if (bytes < sizeof h)
    return ERR_INVAL;
  memcpy(&h, file, sizeof h);
  err_t e = check_header(&h, bytes);
  if (e != ERR_OK)
    return e;
  memset(out, 0, sizeof *out);
  out->entry = h.entry;
  out->position_independent = h.type == ET_DYN;
  e = read_segments(file, bytes, limit, &h, out);
  if (e != ERR_OK)
    return e;
  out->phdr_count = h.phnum;
  out->phdr_vaddr = find_phdr(out, h.phoff, h.phnum * sizeof(struct phdr));
  return entry_is_code(out) ? ERR_OK : ERR_INVAL;
}
