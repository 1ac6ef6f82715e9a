/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The scenario language as tables: which nodes there are, which properties each has, of what form and within what limits.
 *
 * A property that is not in the table of its node is refused by name, with the nearest known name when one is near enough to be
 * a slip of the pen. Forms are checked here (a number is 4 bytes, a string ends in NUL), meanings in scenario_check.c.
 * Nothing here trusts a length or a byte of the blob, and nothing is copied out of it: values point into it.
 */

#include "core/format.h"
#include "core/string.h"
#include "hyp/ctl/scenario_parse.h"
#include "mm/page_alloc.h"

enum form {
  FORM_FLAG = 0, /* empty; present means true */
  FORM_NUMBER,   /* one cell, within [min, max] */
  FORM_STRING,   /* one string */
  FORM_STRINGS,  /* one string or more, none empty, at most `max` */
  FORM_CELLS,    /* one cell or more, at most `max` */
  FORM_BYTES,    /* anything but nothing */
  FORM_REFERENCE /* a phandle */
};

struct rule {
  const char *name;
  uint8_t form;
  bool required;
  uint16_t offset; /* of the value in struct raw */
  uint32_t min, max;
};

#define AT(member_) (uint16_t) offsetof(struct raw, member_)

static const struct rule root_rules[] = {
    {SCN_COMPATIBLE, FORM_STRING, true, AT(root.compatible), 0, 0},
    {SCN_DESCRIPTION, FORM_STRING, false, AT(root.description), 0, 0},
    {SCN_MACHINE_CPUS, FORM_NUMBER, false, AT(root.machine_cpus), 1, 512},
    {SCN_MACHINE_MEMORY, FORM_NUMBER, false, AT(root.machine_memory), 64, 1u << 20},
    {SCN_MACHINE_CPU, FORM_STRING, false, AT(root.machine_cpu), 0, 0},
    {SCN_MACHINE_NODES, FORM_CELLS, false, AT(root.machine_nodes), 0, NODES_MAX},
    {SCN_TIMEOUT, FORM_NUMBER, false, AT(root.timeout), 1, 86400},
};

static const struct rule hypervisor_rules[] = {
    {SCN_TRACE, FORM_STRINGS, false, AT(hypervisor.trace), 0, SCENARIO_STRINGS_MAX},
    {SCN_TRACE_RECORDS, FORM_NUMBER, false, AT(hypervisor.trace_records), 64, SCENARIO_TRACE_RECORDS_MAX},
    {SCN_FEATURES_OFF, FORM_STRINGS, false, AT(hypervisor.features_off), 0, SCENARIO_STRINGS_MAX},
    {SCN_VMID_BITS, FORM_NUMBER, false, AT(hypervisor.vmid_bits), 2, 16},
    {SCN_SLICE_US, FORM_NUMBER, false, AT(hypervisor.slice_us), 100, 1000000},
    {SCN_CONSOLE_QUIET, FORM_FLAG, false, AT(hypervisor.console_quiet), 0, 0},
    {SCN_MEASURE_MASKED, FORM_FLAG, false, AT(hypervisor.measure_masked), 0, 0},
    {SCN_HANDOVER_TEST, FORM_FLAG, false, AT(hypervisor.handover_self_test), 0, 0},
    {SCN_MEASURE_EL2, FORM_FLAG, false, AT(hypervisor.measure_el2), 0, 0},
    {SCN_ZEROED_POOL, FORM_NUMBER, false, AT(hypervisor.zeroed_pool_mib), 0, 1u << 20},
    {SCN_SAMPLE_MS, FORM_NUMBER, false, AT(hypervisor.sample_ms), 1, 60000},
    {SCN_POLICY, FORM_STRING, false, AT(hypervisor.policy), 0, 0},
    {SCN_POLICY_PERIOD, FORM_NUMBER, false, AT(hypervisor.policy_period_ms), 1, 60000},
};

static const struct rule image_rules[] = {
    {SCN_DATA, FORM_BYTES, true, AT(image.data), 0, 0},
};

static const struct rule vm_rules[] = {
    {SCN_COMPATIBLE, FORM_STRING, true, AT(vm.compatible), 0, 0},
    {SCN_MEMORY, FORM_NUMBER, true, AT(vm.memory_mib), 4, 1u << 20},
    {SCN_VCPUS, FORM_NUMBER, false, AT(vm.vcpus), 1, VCPUS_MAX},
    {SCN_IMAGE, FORM_REFERENCE, true, AT(vm.image), 0, 0},
    {SCN_INITRD, FORM_REFERENCE, false, AT(vm.initrd), 0, 0},
    {SCN_BOOTARGS, FORM_STRING, false, AT(vm.bootargs), 0, 0},
    {SCN_AFFINITY, FORM_CELLS, false, AT(vm.affinity), 0, 64},
    {SCN_WEIGHT, FORM_NUMBER, false, AT(vm.weight), 1, 1000},
    {SCN_NO_AUTOSTART, FORM_FLAG, false, AT(vm.no_autostart), 0, 0},
    {SCN_TRAP_S1, FORM_FLAG, false, AT(vm.trap_stage1_faults), 0, 0},
    {SCN_FORCE_4K, FORM_FLAG, false, AT(vm.force_4k), 0, 0},
    {SCN_QUOTA_MIN, FORM_NUMBER, false, AT(vm.quota.min), 0, 1u << 20},
    {SCN_QUOTA_LOW, FORM_NUMBER, false, AT(vm.quota.low), 0, 1u << 20},
    {SCN_QUOTA_HIGH, FORM_NUMBER, false, AT(vm.quota.high), 2, 1u << 20},
    {SCN_QUOTA_MAX, FORM_NUMBER, false, AT(vm.quota.max), 2, 1u << 20},
    {SCN_MEMORY_WEIGHT, FORM_NUMBER, false, AT(vm.memory_weight), 1, 1000},
    {SCN_WINDOW, FORM_NUMBER, false, AT(vm.window_mib), 2, 1u << 20},
    {SCN_VIRTIO, FORM_STRINGS, false, AT(vm.virtio), 0, SCENARIO_STRINGS_MAX},
    {SCN_BALLOON_FEATURES, FORM_STRINGS, false, AT(vm.balloon_features), 0, SCENARIO_STRINGS_MAX},
    {SCN_CONSOLE_QUIET, FORM_FLAG, false, AT(vm.console_quiet), 0, 0},
};

static const struct rule range_rules[] = {
    {SCN_SIZE, FORM_NUMBER, true, AT(range.size_mib), 2, 1u << 20},
    {SCN_MEMBERS, FORM_STRINGS, true, AT(range.members), 0, MANAGED_MEMBERS_MAX},
    {SCN_MEMBER_QUOTA, FORM_CELLS, false, AT(range.quota), 0, MANAGED_MEMBERS_MAX},
    {SCN_TRANSFER, FORM_STRING, false, AT(range.transfer), 0, 0},
    {SCN_PREFER, FORM_STRING, false, AT(range.prefer), 0, 0},
    {SCN_ACCESSED_BY, FORM_STRINGS, false, AT(range.accessed_by), 0, MANAGED_MEMBERS_MAX},
    {SCN_READ_DUP, FORM_FLAG, false, AT(range.read_dup), 0, 0},
    {SCN_NO_MIGRATE, FORM_FLAG, false, AT(range.no_migrate), 0, 0},
    {SCN_PREFETCH, FORM_NUMBER, false, AT(range.prefetch), 1, 100},
    {SCN_THRASH_EVENTS, FORM_NUMBER, false, AT(range.events), 0, 100},
    {SCN_THRASH_THROTTLES, FORM_NUMBER, false, AT(range.throttles), 0, 100},
    {SCN_THRASH_LAPSE, FORM_NUMBER, false, AT(range.lapse_us), 1, 1000000},
    {SCN_THRASH_NAP, FORM_NUMBER, false, AT(range.nap_us), 1, 100000},
    {SCN_PIN, FORM_NUMBER, false, AT(range.pin_ms), 1, 600000},
};

static const struct rule step_rules[] = {
    {SCN_AFTER_MS, FORM_NUMBER, false, AT(step.after_ms), 0, 86400000},
    {SCN_WITHIN_MS, FORM_NUMBER, false, AT(step.within_ms), 1, 86400000},
    {SCN_RUN, FORM_STRINGS, false, AT(step.run), 0, SCENARIO_STRINGS_MAX},
    {SCN_EXPECT, FORM_STRINGS, false, AT(step.expect), 0, SCENARIO_STRINGS_MAX},
    {SCN_EXPECT_NOT, FORM_STRINGS, false, AT(step.expect_not), 0, SCENARIO_STRINGS_MAX},
    {SCN_EXPECT_VERDICT, FORM_STRINGS, false, AT(step.verdict), 0, SCENARIO_STRINGS_MAX},
};

#define RULES(table_) table_, ARRAY_SIZE(table_)

static const struct {
  const struct rule *rules;
  unsigned count;
} rules_of[NODE_KINDS] = {
    [NODE_ROOT] = {RULES(root_rules)},   [NODE_HYPERVISOR] = {RULES(hypervisor_rules)},
    [NODE_IMAGE] = {RULES(image_rules)}, [NODE_VM] = {RULES(vm_rules)},
    [NODE_STEP] = {RULES(step_rules)},   [NODE_RANGE] = {RULES(range_rules)},
};

static const char *const sections[] = {SCN_HYPERVISOR, SCN_IMAGES, SCN_VMS, SCN_MANAGED, SCN_TIMELINE};
static const enum node_kind section_kinds[] = {NODE_HYPERVISOR, NODE_IMAGES, NODE_VMS, NODE_MANAGED, NODE_TIMELINE};

enum node_kind node_child_kind(enum node_kind parent, const char *name) {
  int section;
  switch (parent) {
  case NODE_ROOT:
    section = scenario_word_index(sections, ARRAY_SIZE(sections), name);
    return section < 0 ? NODE_NONE : section_kinds[section];
  case NODE_IMAGES:
    return NODE_IMAGE;
  case NODE_VMS:
    return NODE_VM;
  case NODE_TIMELINE:
    return NODE_STEP;
  case NODE_MANAGED:
    return NODE_RANGE;
  default:
    return NODE_NONE;
  }
}

const char *node_nearest_child(const char *name) {
  return scenario_nearest(sections, ARRAY_SIZE(sections), name);
}

void raw_begin(struct parser *p, enum node_kind kind) {
  memset(&p->raw, 0, sizeof p->raw);
  p->seen = 0;
  if (kind == NODE_VM) {
    p->raw.vm.vcpus = 1;
    p->raw.vm.weight = p->raw.vm.memory_weight = 100;
    p->raw.vm.bootargs = "";
    p->raw.vm.quota = (struct raw_quota){RAW_NONE, RAW_NONE, RAW_NONE, RAW_NONE};
  } else if (kind == NODE_RANGE) {
    static const struct managed_policy d = MANAGED_POLICY_DEFAULT;
    p->raw.range = (struct raw_range){.prefetch = d.prefetch_percent,
                                      .events = d.thrash_events,
                                      .throttles = d.thrash_throttles,
                                      .lapse_us = d.lapse_us,
                                      .nap_us = d.nap_us,
                                      .pin_ms = d.pin_us / 1000};
  } else if (kind == NODE_STEP) {
    p->raw.step.within_ms = 10000;
  } else if (kind == NODE_HYPERVISOR) {
    p->raw.hypervisor.slice_us = 10000;
  }
}

static bool is_string_list(const uint8_t *data, uint32_t bytes) {
  return bytes > 0 && data[bytes - 1] == '\0';
}

static err_t take_number(struct parser *p, const struct rule *r, const uint8_t *data, uint32_t bytes, uint32_t *to) {
  if (bytes != 4)
    return parse_fail(p, "%s: one number is 4 bytes, here are %u", r->name, bytes);
  uint32_t value = be32(data);
  if (r->form == FORM_REFERENCE && (value == 0 || value == ~0u))
    return parse_fail(p, "%s: 0x%x refers to no node", r->name, value);
  if (r->form == FORM_NUMBER && (value < r->min || value > r->max))
    return parse_fail(p, "%s: %u is not within %u..%u", r->name, value, r->min, r->max);
  *to = value;
  return ERR_OK;
}

static err_t take_string(struct parser *p, const struct rule *r, const uint8_t *data, uint32_t bytes, const char **to) {
  if (!is_string_list(data, bytes) || strlen((const char *)data) + 1 != bytes)
    return parse_fail(p, "%s: one string is wanted", r->name);
  *to = (const char *)data;
  return ERR_OK;
}

static err_t take_strings(struct parser *p, const struct rule *r, const uint8_t *data, uint32_t bytes, struct scenario_strings *to) {
  if (!is_string_list(data, bytes))
    return parse_fail(p, "%s: strings are wanted", r->name);
  struct scenario_strings list = {(const char *)data, bytes};
  uint32_t at = 0, count = 0;
  for (const char *s; (s = scenario_next_string(&list, &at)) != NULL; count++)
    if (*s == '\0')
      return parse_fail(p, "%s: an empty string", r->name);
  if (count > r->max)
    return parse_fail(p, "%s: %u strings, at most %u are allowed", r->name, count, r->max);
  *to = list;
  return ERR_OK;
}

static err_t take_span(struct parser *p, const struct rule *r, const uint8_t *data, uint32_t bytes, struct span *to) {
  if (bytes == 0)
    return parse_fail(p, "%s: empty", r->name);
  if (r->form == FORM_CELLS && (bytes % 4 != 0 || bytes / 4 > r->max))
    return parse_fail(p, "%s: 1 to %u numbers of 4 bytes are wanted, here are %u bytes", r->name, r->max, bytes);
  *to = (struct span){data, bytes};
  return ERR_OK;
}

static err_t take_flag(struct parser *p, const struct rule *r, uint32_t bytes, bool *to) {
  if (bytes != 0)
    return parse_fail(p, "%s: takes no value, here are %u bytes", r->name, bytes);
  *to = true;
  return ERR_OK;
}

static err_t take(struct parser *p, const struct rule *r, const uint8_t *data, uint32_t bytes) {
  void *to = (char *)&p->raw + r->offset;
  switch ((enum form)r->form) {
  case FORM_FLAG:
    return take_flag(p, r, bytes, to);
  case FORM_NUMBER:
  case FORM_REFERENCE:
    return take_number(p, r, data, bytes, to);
  case FORM_STRING:
    return take_string(p, r, data, bytes, to);
  case FORM_STRINGS:
    return take_strings(p, r, data, bytes, to);
  case FORM_CELLS:
  case FORM_BYTES:
    return take_span(p, r, data, bytes, to);
  }
  return ERR_INVAL;
}

static err_t unknown_property(struct parser *p, enum node_kind kind, const char *name) {
  const char *known[32];
  unsigned count = 0;
  for (; count < rules_of[kind].count; count++)
    known[count] = rules_of[kind].rules[count].name;
  const char *near = scenario_nearest(known, count, name);
  if (near)
    return parse_fail(p, "unknown property `%s` (did you mean `%s`?)", name, near);
  return parse_fail(p, "unknown property `%s`", name);
}

err_t raw_property(struct parser *p, const char *name, const uint8_t *data, uint32_t bytes) {
  static const struct rule phandle = {SCN_PHANDLE, FORM_REFERENCE, false, AT(phandle), 0, 0};
  enum node_kind kind = p->kind[p->depth - 1];
  if (strcmp(name, SCN_PHANDLE) == 0 || strcmp(name, SCN_LINUX_PHANDLE) == 0)
    return take(p, &phandle, data, bytes);
  for (unsigned i = 0; i < rules_of[kind].count; i++) {
    const struct rule *r = &rules_of[kind].rules[i];
    if (strcmp(name, r->name) != 0)
      continue;
    if (p->seen & 1u << i)
      return parse_fail(p, "%s: given twice", name);
    p->seen |= 1u << i;
    return take(p, r, data, bytes);
  }
  return unknown_property(p, kind, name);
}

err_t raw_complete(struct parser *p) {
  enum node_kind kind = p->kind[p->depth - 1];
  for (unsigned i = 0; i < rules_of[kind].count; i++)
    if (rules_of[kind].rules[i].required && !(p->seen & 1u << i))
      return parse_fail(p, "property `%s` is missing", rules_of[kind].rules[i].name);
  return ERR_OK;
}
