/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Addresses as names. The table is made by the build from the linked image and linked in a second pass; without it (or outside
 * the text) an address is shown as a number. Offsets are from the image's start, ascending.
 */

#include "core/format.h"
#include "core/string.h"
#include "hyp/arch/mmu.h"
#include "hyp/ctl/ctl.h"

extern const uint32_t symbol_count __attribute__((weak));
extern const uint32_t symbol_offsets[] __attribute__((weak));
extern const char symbol_names[] __attribute__((weak)); /* in the order of the offsets, each ended by a NUL */

/* Index of the last symbol at or below `offset`; -1 if there is none. */
static int find(uint64_t offset) {
  uint32_t low = 0, high = &symbol_count ? symbol_count : 0;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (symbol_offsets[middle] <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return (int)low - 1;
}

static const char *name_of(int index) {
  const char *name = symbol_names;
  for (; index > 0; index--)
    name += strlen(name) + 1;
  return name;
}

const char *symbol_describe(uint64_t address, char to[SYMBOL_TEXT_MAX]) {
  uint64_t offset = address - (uint64_t)image_start;
  int i = offset < (uint64_t)(text_end - image_start) ? find(offset) : -1;
  if (i >= 0)
    format(to, SYMBOL_TEXT_MAX, "%s+0x%llx", name_of(i), (unsigned long long)(offset - symbol_offsets[i]));
  else
    format(to, SYMBOL_TEXT_MAX, "0x%llx", (unsigned long long)address);
  return to;
}
