/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data cache maintenance by address, and zeroing.
 *
 * A guest may run with its MMU off or map memory Non-cacheable; what EL2 wrote through its cacheable mapping is then only seen once it is
 * cleaned to the point of coherency (Arm ARM D7.4.10). Sizes come from CTR_EL0 and DCZID_EL0, read once.
 */
#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "arch/zva.h"
#include "core/compiler.h"
#include "core/string.h"
#include "hyp/arch/zero.h"

void zero_64_byte_blocks(void *to, uint64_t bytes);
void zero_clean_64_byte_blocks(void *to, uint64_t bytes);
void clean_invalidate_64_byte_lines(const void *from, uint64_t bytes);
void copy_clean_64_byte_lines(void *to, const void *from);

static uint64_t line_bytes = 64;
bool zero_by_zva, zero_clean_by_zva;

void cache_init(void) {
  uint64_t ctr = sysreg_read(ctr_el0);
  line_bytes = (uint64_t)4 << bits_get(ctr, 19, 16);
  zero_by_zva = zva_is_usable(sysreg_read(dczid_el0));
  zero_clean_by_zva = zero_by_zva && line_bytes == ZVA_BYTES;
}

void zero_lines(void *to, uint64_t bytes) {
  if (likely(zero_by_zva))
    zero_64_byte_blocks(to, bytes);
  else
    memset(to, 0, bytes);
}

void cache_clean_poc(const void *from, uint64_t bytes) {
  uint64_t end = (uint64_t)from + bytes;
  for (uint64_t a = align_down((uint64_t)from, line_bytes); a < end; a += line_bytes)
    __asm__ volatile("dc cvac, %0" ::"r"(a) : "memory");
  dsb(ish);
}

void cache_clean_invalidate_poc(const void *from, uint64_t bytes) {
  uint64_t at = (uint64_t)from, end = at + bytes;
  if (likely(line_bytes == 64 && is_aligned(at, 64) && is_aligned(bytes, 512)))
    clean_invalidate_64_byte_lines(from, bytes);
  else
    for (at = align_down(at, line_bytes); at < end; at += line_bytes)
      __asm__ volatile("dc civac, %0" ::"r"(at) : "memory");
  dsb(ish);
}

void zero_lines_poc(void *to, uint64_t bytes) {
  if (likely(zero_clean_by_zva)) {
    zero_clean_64_byte_blocks(to, bytes);
    dsb(ish);
  } else {
    zero_lines(to, bytes);
    cache_clean_poc(to, bytes);
  }
}

void copy_page_poc(void *to, const void *from) {
  if (likely(line_bytes == 64)) {
    copy_clean_64_byte_lines(to, from);
    dsb(ish);
  } else {
    copy_page(to, from);
    cache_clean_poc(to, PAGE_SIZE);
  }
}
