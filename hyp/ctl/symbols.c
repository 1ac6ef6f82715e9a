/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Addresses as names. The table is made by the build from the linked image and linked in a second pass; without it (or outside
 * the text) an address is shown as a number. Entries are sorted by offset from the image's start.
 */

#include "core/format.h"
#include "core/string.h"
#include "hyp/arch/mmu.h"
#include "hyp/ctl/ctl.h"

struct symbol {
  uint32_t offset; /* from image_start */
  uint32_t name;   /* offset into symbol_names */
};

extern const struct symbol symbol_table[] __attribute__((weak));
extern const uint32_t symbol_count __attribute__((weak));
extern const char symbol_names[] __attribute__((weak));

/* The last symbol at or below `offset`; NULL if there is none. */
static const struct symbol *find(uint64_t offset) {
  if (!&symbol_count)
    return NULL;
  uint32_t low = 0, high = symbol_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (symbol_table[middle].offset <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  return low == 0 ? NULL : &symbol_table[low - 1];
}

const char *symbol_describe(uint64_t address, char to[SYMBOL_TEXT_MAX]) {
  uint64_t offset = address - (uint64_t)image_start;
  const struct symbol *s = offset < (uint64_t)(text_end - image_start) ? find(offset) : NULL;
  if (s)
    format(to, SYMBOL_TEXT_MAX, "%s+0x%llx", symbol_names + s->name, (unsigned long long)(offset - s->offset));
  else
    format(to, SYMBOL_TEXT_MAX, "0x%llx", (unsigned long long)address);
  return to;
}
