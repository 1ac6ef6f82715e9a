/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_SCENARIO_H
#define HYP_CTL_SCENARIO_H

/* A scenario after parsing, for the control side itself; boot sees it through ctl.h. Pointers go into the blob. */

#include "abi/scenario.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/ctl.h"
#include "hyp/mem/managed.h"

/* A list of NUL-terminated strings, one behind the other. */
struct scenario_strings {
  const char *data;
  uint32_t bytes;
};

struct scenario_image {
  const char *name;
  uint32_t phandle; /* 0: nobody refers to it */
  const uint8_t *data;
  uint32_t bytes;
};

struct scenario_vm {
  struct vm_config config;
  uint32_t image, initrd; /* phandles; 0: none */
};

/* A range of managed memory: names of VMs as the blob has them, until all is read. */
struct scenario_range {
  struct managed_config config;
  const char *prefer; /* NULL: none */
  struct scenario_strings members, accessed_by;
};

struct scenario_step {
  const char *name;
  uint32_t after_ms, within_ms;
  struct scenario_strings run, expect, expect_not, verdict;
};

struct scenario {
  const char *description;
  struct hyp_options options;
  unsigned images, vms, ranges, steps;
  struct scenario_image image[SCENARIO_IMAGES_MAX];
  struct scenario_vm vm[SCENARIO_VMS_MAX];
  struct scenario_range range[MANAGED_RANGES_MAX];
  struct scenario_step step[SCENARIO_STEPS_MAX];
};

/* The string at `*at`, moving on to the next; NULL behind the last. Start with at = 0. */
const char *scenario_next_string(const struct scenario_strings *list, uint32_t *at);
unsigned scenario_string_count(const struct scenario_strings *list);

/* Index of the VM called `name` (`length` bytes of it), or -1. */
int scenario_find_vm(const struct scenario *s, const char *name, size_t length);

/* What `virtio` of the VM of this index says from now on, for its next creation: a bit per word of SCENARIO_VIRTIO. */
void scenario_set_virtio(unsigned index, uint64_t mask);

/* True if any step expects something: then the end of the timeline is the verdict. */
bool scenario_has_expectations(const struct scenario *s);

/* Bits of `word` in a NULL-terminated or counted list of words; -1 if it is none of them. */
int scenario_word_index(const char *const *words, unsigned count, const char *word);

/* The name in `names` that is nearest to `name` in spelling, or NULL if none is near enough to be meant. */
const char *scenario_nearest(const char *const *names, unsigned count, const char *name);

#endif
