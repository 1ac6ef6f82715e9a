/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Addresses as names. The table is made by tools/symbols from the linked image and linked in a second pass; without it (or outside
 * the text) an address is shown as a number. It is packed, and read from its front each time: only reports name addresses.
 */

#include "core/format.h"
#include "hyp/arch/mmu.h"
#include "hyp/ctl/ctl.h"

#define NAME_MAX 40u
#define PAIR 128u

/* For each function: words since the one before as ULEB128, its name in codes, 0. */
extern const uint8_t symbol_table[], symbol_table_end[];
extern const uint8_t symbol_pairs[][2];

struct name {
  char text[NAME_MAX + 1];
  unsigned length;
};

/* A pair's two codes are older than itself: the depth is bounded by their number. */
static void append(struct name *name, uint8_t code) {
  if (code >= PAIR) {
    append(name, symbol_pairs[code - PAIR][0]);
    append(name, symbol_pairs[code - PAIR][1]);
  } else if (name->length < NAME_MAX) {
    name->text[name->length++] = (char)code;
  }
}

static const uint8_t *read_uleb128(const uint8_t *at, uint64_t *value) {
  unsigned shift = 0;
  *value = 0;
  do {
    *value |= (uint64_t)(*at & 0x7f) << shift;
    shift += 7;
  } while (*at++ & 0x80);
  return at;
}

/* The codes of the last function at or below `offset`, and where it starts; NULL if there is none. */
static const uint8_t *find(uint64_t offset, uint64_t *start) {
  const uint8_t *at = symbol_table, *found = NULL;
  uint64_t next = 0, words;
  while (at < symbol_table_end) {
    at = read_uleb128(at, &words);
    next += words * 4;
    if (next > offset)
      break;
    *start = next;
    found = at;
    while (*at++ != 0)
      continue;
  }
  return found;
}

const char *symbol_describe(uint64_t address, char to[SYMBOL_TEXT_MAX]) {
  uint64_t offset = address - (uint64_t)image_start, start = 0;
  const uint8_t *codes = offset < (uint64_t)(text_end - image_start) ? find(offset, &start) : NULL;
  struct name name = {.length = 0};
  if (codes == NULL) {
    format(to, SYMBOL_TEXT_MAX, "0x%llx", (unsigned long long)address);
    return to;
  }
  while (*codes != 0)
    append(&name, *codes++);
  name.text[name.length] = '\0';
  format(to, SYMBOL_TEXT_MAX, "%s+0x%llx", name.text, (unsigned long long)(offset - start));
  return to;
}
