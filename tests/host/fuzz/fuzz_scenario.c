/* SPDX-License-Identifier: BSD-2-Clause */
// sources: hyp/ctl/scenario.c hyp/ctl/scenario_rules.c hyp/ctl/scenario_check.c hyp/ctl/scenario_words.c hyp/ctl/scenario_managed.c
// sources: hyp/mem/policy_kit.c hyp/mem/policy_none.c hyp/mem/policy_proportional.c hyp/mem/policy_wss.c
// sources: mm/lib/format.c tests/host/host_strlcpy.c
// libs: -lfdt

/*
 * Any bytes as a scenario. The parser must answer without touching a byte outside them; what it accepts must hold what docs/scenario.md
 * promises, checked here from the result alone.
 */

#include "hyp/ctl/scenario.h"

#include <stdlib.h>
#include <string.h>

#define MIB 1048576ull

static void require(bool holds) {
  if (!holds)
    abort();
}

static bool inside(const void *p, uint64_t bytes, const uint8_t *blob, size_t size) {
  uintptr_t from = (uintptr_t)p, start = (uintptr_t)blob;
  return from >= start && bytes <= size && from - start <= size - bytes;
}

static void check_vm(const struct vm_config *c, const uint8_t *blob, size_t size) {
  require(strlen(c->name) > 0 && strlen(c->name) < VM_NAME_MAX);
  require(c->memory_bytes >= 4 * MIB && c->memory_bytes <= 1024 * MIB && c->memory_bytes % (2 * MIB) == 0);
  require(c->vcpus >= 1 && c->vcpus <= VCPUS_MAX);
  require(c->weight >= 1 && c->weight <= 1000);
  require((c->affinity & ~0xfull) == 0);
  require(c->image_bytes >= 64 && inside(c->image, c->image_bytes, blob, size));
  require(c->initrd ? inside(c->initrd, c->initrd_bytes, blob, size) : c->initrd_bytes == 0);
  require(*c->bootargs == '\0' || inside(c->bootargs, strlen(c->bootargs) + 1, blob, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char error[SCENARIO_ERROR_MAX];
  struct scenario *s;
  uint8_t *blob = malloc(size ? size : 1); /* 8-byte aligned, as boot places it */
  memcpy(blob, data, size);
  if (scenario_parse(blob, size, 1024 * MIB, 4, &s, error) == ERR_OK) {
    require(error[0] == '\0' && s->vms >= 1 && s->vms <= SCENARIO_VMS_MAX);
    for (unsigned i = 0; i < s->vms; i++)
      check_vm(scenario_vm(s, i), blob, size);
    for (unsigned i = 0; i < s->steps; i++)
      require(scenario_string_count(&s->step[i].expect) <= SCENARIO_STRINGS_MAX);
  } else {
    require(s == NULL && error[0] != '\0' && strlen(error) < sizeof error);
  }
  free(blob);
  return 0;
}
