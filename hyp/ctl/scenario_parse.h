/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_SCENARIO_PARSE_H
#define HYP_CTL_SCENARIO_PARSE_H

/* Inside the scenario parser: what its files share. scenario.c walks, scenario_rules.c knows names and forms, scenario_check.c meanings. */

#include "hyp/ctl/scenario.h"

enum node_kind {
  NODE_ROOT = 0,
  NODE_HYPERVISOR,
  NODE_IMAGES,
  NODE_IMAGE,
  NODE_VMS,
  NODE_VM,
  NODE_TIMELINE,
  NODE_STEP,
  NODE_MANAGED,
  NODE_RANGE,
  NODE_KINDS,
  NODE_NONE = NODE_KINDS
};

/* A property's bytes in the blob, not aligned. */
struct span {
  const uint8_t *data;
  uint32_t bytes;
};

/* Properties of one node as they stand in the blob, forms checked, meanings not. */
struct raw_root {
  const char *compatible, *description, *machine_cpu;
  uint32_t machine_cpus, machine_memory, timeout;
  struct span machine_nodes;
};

struct raw_hypervisor {
  struct scenario_strings trace, features_off;
  uint32_t trace_records, vmid_bits, slice_us, zeroed_pool_mib, sample_ms, policy_period_ms;
  const char *policy;
  bool console_quiet, measure_masked, handover_self_test, measure_el2;
};

struct raw_image {
  struct span data;
};

/* MiB; RAW_NONE where nothing is said. */
#define RAW_NONE (~(uint32_t)0)
struct raw_quota {
  uint32_t min, low, high, max;
};

struct raw_vm {
  const char *compatible, *bootargs;
  uint32_t memory_mib, window_mib, vcpus, image, initrd, weight, memory_weight;
  struct raw_quota quota;
  struct span affinity;
  struct scenario_strings virtio, balloon_features;
  bool no_autostart, trap_stage1_faults, force_4k, console_quiet;
};

struct raw_range {
  uint32_t size_mib, prefetch, events, throttles, lapse_us, nap_us, pin_ms;
  const char *transfer, *prefer;
  struct scenario_strings members, accessed_by;
  struct span quota;
  bool read_dup, no_migrate;
};

struct raw_step {
  uint32_t after_ms, within_ms;
  struct scenario_strings run, expect, expect_not, verdict;
};

/* Nodes whose children have properties of their own are done with theirs before a child begins, so one union serves all depths. */
struct raw {
  uint32_t phandle;
  union {
    struct raw_root root;
    struct raw_hypervisor hypervisor;
    struct raw_image image;
    struct raw_vm vm;
    struct raw_range range;
    struct raw_step step;
  };
};

#define PARSE_DEPTH_MAX 3u

struct parser {
  const void *blob;
  struct scenario *s;
  char *error; /* SCENARIO_ERROR_MAX bytes */
  uint64_t ram_bytes;
  unsigned cpus;

  unsigned depth; /* open nodes; 0: outside the root */
  enum node_kind kind[PARSE_DEPTH_MAX];
  const char *name[PARSE_DEPTH_MAX];
  bool root_seen;
  bool properties_open;   /* the innermost node may still get properties */
  uint32_t seen;          /* bit per rule of the innermost node */
  uint32_t seen_sections; /* bit per enum node_kind below the root */
  struct raw raw;
};

/* Set the error to "<path of the open node>: <text>" and return ERR_INVAL. */
MUST_CHECK err_t parse_fail(struct parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The kind of a child called `name` of a node of kind `parent`; NODE_NONE if such a node has no such child. */
enum node_kind node_child_kind(enum node_kind parent, const char *name);
/* "did you mean" for a child of the root; NULL if nothing is near. */
const char *node_nearest_child(const char *name);

/* Defaults of a node's properties, before any is read. */
void raw_begin(struct parser *p, enum node_kind kind);
/* Check the form of one property of the innermost node and keep it in p->raw. */
MUST_CHECK err_t raw_property(struct parser *p, const char *name, const uint8_t *data, uint32_t bytes);
/* All properties of the innermost node are read: are the required ones there? */
MUST_CHECK err_t raw_complete(struct parser *p);

/* Give the innermost node its meaning in p->s. */
MUST_CHECK err_t check_node(struct parser *p);
/* scenario_managed.c: the same for /managed/<range>, and when all VMs are known. */
MUST_CHECK err_t check_range(struct parser *p);
MUST_CHECK err_t resolve_range(struct parser *p, struct scenario_range *r);

/* After the last node: references, images, what the machine has. */
MUST_CHECK err_t check_scenario(struct parser *p);

static inline uint32_t be32(const uint8_t *b) {
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline uint64_t le64(const uint8_t *b) {
  uint64_t v = 0;
  for (unsigned i = 8; i-- > 0;)
    v = v << 8 | b[i];
  return v;
}

#endif
