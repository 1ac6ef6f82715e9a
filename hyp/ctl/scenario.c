/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Reading a scenario: one pass over the flattened device tree, tag by tag.
 *
 * The blob comes from outside and is trusted in nothing: the header is checked here (size, version, alignment, blocks that do not
 * overlap), every tag and property by libfdt, and what they say by scenario_rules.c and scenario_check.c. The first fault ends
 * the parse with one line that names node and property; then nothing is kept.
 * Images stay where they are: their bytes are neither copied nor looked at, save for the 64-byte header.
 *
 * libfdt (Debian's) uses FP/SIMD registers: the caller holds an fp section. Boot calls this once, on one CPU, so there is no
 * lock; afterwards the result is constant.
 */

#include "hyp/ctl/scenario_parse.h"

#include "core/format.h"
#include "core/string.h"
#include <libfdt.h>

#define FDT_VERSION_WANTED 17u
#define FDT_V17_HEADER_BYTES 40u
#define FDT_RSVMAP_ENTRY_BYTES 16u

static struct scenario the_scenario;

static unsigned print_path(const struct parser *p, char *to, unsigned cap) {
  unsigned length = 0;
  for (unsigned i = 1; i < p->depth && length + 1 < cap; i++)
    length += (unsigned)format(to + length, cap - length, "/%s", p->name[i]);
  if (p->depth == 1)
    length = (unsigned)format(to, cap, "/");
  return length < cap ? length : cap - 1;
}

err_t parse_fail(struct parser *p, const char *fmt, ...) {
  va_list args;
  unsigned at = p->depth == 0 ? 0 : print_path(p, p->error, SCENARIO_ERROR_MAX / 2);
  if (p->depth > 0)
    at += (unsigned)format(p->error + at, SCENARIO_ERROR_MAX - at, ": ");
  va_start(args, fmt);
  format_v(p->error + at, SCENARIO_ERROR_MAX - at, fmt, args);
  va_end(args);
  for (char *c = p->error; *c; c++) /* names come from the blob: they must not steer a terminal */
    if (*c < ' ' || *c > '~')
      *c = '?';
  return ERR_INVAL;
}

/* --- the header --- */

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

/* Blocks that overlap would make one byte mean two things; libfdt does not mind, we do. */
static err_t check_blocks(struct parser *p) {
  const void *b = p->blob;
  uint64_t header = FDT_V17_HEADER_BYTES, map = fdt_off_mem_rsvmap(b), map_bytes = FDT_RSVMAP_ENTRY_BYTES;
  uint64_t tags = fdt_off_dt_struct(b), tags_bytes = fdt_size_dt_struct(b);
  uint64_t names = fdt_off_dt_strings(b), names_bytes = fdt_size_dt_strings(b);
  if (tags % 4 != 0 || map % 8 != 0)
    return parse_fail(p, "the blob's blocks are misaligned");
  if (overlap(0, header, map, map_bytes) || overlap(0, header, tags, tags_bytes) || overlap(0, header, names, names_bytes) ||
      overlap(map, map_bytes, tags, tags_bytes) || overlap(map, map_bytes, names, names_bytes) ||
      overlap(tags, tags_bytes, names, names_bytes))
    return parse_fail(p, "the blob's blocks overlap");
  return ERR_OK;
}

static err_t check_reservations(struct parser *p) {
  const uint8_t *entry = (const uint8_t *)p->blob + fdt_off_mem_rsvmap(p->blob);
  if (le64(entry) != 0 || le64(entry + 8) != 0)
    return parse_fail(p, "/memreserve/ has no meaning in a scenario");
  return ERR_OK;
}

static err_t check_header(struct parser *p, uint64_t bytes) {
  if (bytes < FDT_V17_HEADER_BYTES)
    return parse_fail(p, "no device tree: %llu bytes are less than its header", (unsigned long long)bytes);
  if (fdt_magic(p->blob) != FDT_MAGIC)
    return parse_fail(p, "no device tree: it begins with 0x%08x", fdt_magic(p->blob));
  if (fdt_totalsize(p->blob) > bytes)
    return parse_fail(p, "truncated: %llu bytes of %u", (unsigned long long)bytes, fdt_totalsize(p->blob));
  if (fdt_version(p->blob) < FDT_VERSION_WANTED)
    return parse_fail(p, "device tree of version %u, %u is wanted", fdt_version(p->blob), FDT_VERSION_WANTED);
  if (fdt_check_header(p->blob) != 0)
    return parse_fail(p, "the device tree's header is broken");
  err_t e = check_blocks(p);
  return e == ERR_OK ? check_reservations(p) : e;
}

/* --- the walk --- */

/* The innermost node's properties have all been read. Nodes of the two middle levels have none, but the check is the same. */
static err_t close_properties(struct parser *p) {
  if (!p->properties_open)
    return ERR_OK;
  p->properties_open = false;
  err_t e = raw_complete(p);
  return e == ERR_OK ? check_node(p) : e;
}

static err_t open_section(struct parser *p, enum node_kind kind) {
  if (p->seen_sections & 1u << kind)
    return parse_fail(p, "given twice");
  p->seen_sections |= 1u << kind;
  return ERR_OK;
}

static err_t refuse_node(struct parser *p, const char *name) {
  const char *near = p->depth == 1 ? node_nearest_child(name) : NULL;
  if (near)
    return parse_fail(p, "unknown node `%s` (did you mean `%s`?)", name, near);
  return parse_fail(p, "unknown node `%s`", name);
}

static err_t begin_node(struct parser *p, int offset) {
  int length;
  const char *name = fdt_get_name(p->blob, offset, &length);
  if (!name)
    return parse_fail(p, "the device tree is broken at byte %d", offset);
  enum node_kind kind = NODE_ROOT;
  if (p->depth > 0) {
    err_t e = close_properties(p);
    if (e != ERR_OK)
      return e;
    if (*name == '\0')
      return parse_fail(p, "a node without a name");
    kind = node_child_kind(p->kind[p->depth - 1], name);
    if (kind == NODE_NONE)
      return refuse_node(p, name);
  }
  p->root_seen = true;
  p->kind[p->depth] = kind;
  p->name[p->depth++] = name;
  p->properties_open = true;
  raw_begin(p, kind);
  return p->depth == 2 ? open_section(p, kind) : ERR_OK;
}

static err_t read_property(struct parser *p, int offset) {
  const char *name;
  int bytes;
  const void *data = fdt_getprop_by_offset(p->blob, offset, &name, &bytes);
  if (!data || bytes < 0)
    return parse_fail(p, "the device tree is broken at byte %d", offset);
  if (!p->properties_open)
    return parse_fail(p, "property `%s` stands behind a child node", name);
  return raw_property(p, name, data, (uint32_t)bytes);
}

static err_t end_node(struct parser *p) {
  err_t e = close_properties(p);
  if (e == ERR_OK)
    p->depth--;
  return e;
}

static err_t walk(struct parser *p) {
  for (int offset = 0, next;; offset = next) {
    uint32_t tag = fdt_next_tag(p->blob, offset, &next);
    err_t e = ERR_OK;
    bool before = !p->root_seen, after = p->root_seen && p->depth == 0;
    if (next < 0 || (before && tag != FDT_BEGIN_NODE && tag != FDT_NOP) || (after && tag != FDT_END && tag != FDT_NOP))
      return parse_fail(p, "the device tree is broken at byte %d", offset);
    if (tag == FDT_BEGIN_NODE)
      e = begin_node(p, offset);
    else if (tag == FDT_PROP)
      e = read_property(p, offset);
    else if (tag == FDT_END_NODE)
      e = end_node(p);
    else if (tag == FDT_END)
      return p->depth == 0 ? ERR_OK : parse_fail(p, "the device tree ends inside a node");
    if (e != ERR_OK)
      return e;
  }
}

err_t scenario_parse(const void *blob, uint64_t bytes, uint64_t ram_bytes, unsigned machine_cpus, struct scenario **out,
                     char error[SCENARIO_ERROR_MAX]) {
  struct parser p = {.blob = blob, .s = &the_scenario, .error = error, .ram_bytes = ram_bytes, .cpus = machine_cpus};
  memset(&the_scenario, 0, sizeof the_scenario);
  the_scenario.options.slice_us = 10000;
  *out = NULL;
  error[0] = '\0';
  err_t e = check_header(&p, bytes);
  if (e == ERR_OK)
    e = walk(&p);
  if (e == ERR_OK)
    e = check_scenario(&p);
  if (e == ERR_OK)
    *out = &the_scenario;
  return e;
}

/* --- what boot and the control side ask --- */

const struct hyp_options *scenario_options(const struct scenario *s) {
  return &s->options;
}

unsigned scenario_vm_count(const struct scenario *s) {
  return s->vms;
}

const struct vm_config *scenario_vm(const struct scenario *s, unsigned index) {
  return &s->vm[index].config;
}

void scenario_set_virtio(unsigned index, uint64_t mask) {
  the_scenario.vm[index].config.virtio = mask;
}

unsigned scenario_range_count(const struct scenario *s) {
  return s->ranges;
}

const struct managed_config *scenario_range(const struct scenario *s, unsigned index) {
  return &s->range[index].config;
}

int scenario_find_vm(const struct scenario *s, const char *name, size_t length) {
  for (unsigned i = 0; i < s->vms; i++)
    if (strncmp(s->vm[i].config.name, name, length) == 0 && s->vm[i].config.name[length] == '\0')
      return (int)i;
  return -1;
}

bool scenario_has_expectations(const struct scenario *s) {
  for (unsigned i = 0; i < s->steps; i++)
    if (s->step[i].expect.bytes || s->step[i].expect_not.bytes || s->step[i].verdict.bytes)
      return true;
  return false;
}
