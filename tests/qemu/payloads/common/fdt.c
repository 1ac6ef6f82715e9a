/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The facts that a payload needs of its device tree, read in one walk over the structure block: /chosen/bootargs, the size of the first
 * memory node (two address and two size cells, as QEMU virt and our own generated trees have it), and where the first range of managed
 * memory is.
 *
 * The tree comes from the loader and is trusted; only the magic is checked. A payload is too small to carry libfdt.
 */
#include "payload.h"

enum fdt_token {
  FDT_BEGIN_NODE = 1,
  FDT_END_NODE,
  FDT_PROP,
  FDT_NOP
};

static uint32_t be32(const void *at) {
  return __builtin_bswap32(*(const uint32_t *)at);
}

static bool same(const char *a, const char *b) {
  while (*a && *a == *b)
    a++, b++;
  return *a == *b;
}

static bool starts_with(const char *text, const char *prefix) {
  while (*prefix)
    if (*text++ != *prefix++)
      return false;
  return true;
}

static unsigned length(const char *s) {
  unsigned n = 0;
  while (s[n])
    n++;
  return n;
}

static uint64_t be64(const uint32_t *at) {
  return (uint64_t)be32(&at[0]) << 32 | be32(&at[1]);
}

/* Whose two properties may come in either order. */
static void take_managed(struct payload_fdt *out, const char *node, const char *name, const uint32_t *value) {
  static const char *marked, *seen;
  static const uint32_t *reg;
  if (same(name, "compatible") && same((const char *)value, "sluice,managed"))
    marked = node;
  if (same(name, "reg"))
    seen = node, reg = value;
  if (!reg || marked != node || seen != node || out->managed_bytes)
    return;
  out->managed_base = be64(&reg[0]);
  out->managed_bytes = be64(&reg[2]);
}

static void take_property(struct payload_fdt *out, const char *node, const char *name, const uint32_t *value) {
  if (same(node, "chosen") && same(name, "bootargs"))
    out->bootargs = (const char *)value;
  if (starts_with(node, "memory") && same(name, "reg") && !out->ram_bytes)
    out->ram_bytes = be64(&value[2]);
  take_managed(out, node, name, value);
}

struct payload_fdt payload_fdt_read(const void *dtb) {
  struct payload_fdt out = {.bootargs = ""};
  const char *base = dtb, *node = "";
  if (be32(base) != 0xd00dfeed)
    return out;
  const uint32_t *at = (const uint32_t *)(const void *)(base + be32(base + 8));
  const char *strings = base + be32(base + 12);
  for (;; at++) {
    switch (be32(at)) {
    case FDT_BEGIN_NODE:
      node = (const char *)&at[1];
      at += length(node) / 4 + 1;
      break;
    case FDT_PROP:
      take_property(&out, node, strings + be32(&at[2]), &at[3]);
      at += 2 + (be32(&at[1]) + 3) / 4;
      break;
    case FDT_END_NODE:
    case FDT_NOP:
      break;
    default:
      return out;
    }
  }
}

static bool is_separator(char c) {
  return c == 0 || c == ' ' || c == ',' || c == '=';
}

bool payload_has_word(const char *text, const char *word) {
  unsigned n = length(word);
  for (const char *at = text; *at; at++)
    if ((at == text || is_separator(at[-1])) && starts_with(at, word) && is_separator(at[n]))
      return true;
  return false;
}

uint64_t payload_number(const char *text, const char *word, uint64_t otherwise) {
  unsigned n = length(word);
  for (const char *at = text; *at; at++)
    if ((at == text || is_separator(at[-1])) && starts_with(at, word) && at[n] == '=') {
      uint64_t value = 0;
      for (at += n + 1; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
      return value;
    }
  return otherwise;
}
