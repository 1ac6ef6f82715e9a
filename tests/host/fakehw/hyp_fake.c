/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest's machine calls in the rest of the hypervisor, for host tests of hyp/dev. */
#include "fakehw/vgic_fake.h" /* before any header that it replaces */

#include "core/check.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/trace.h"
#include <stdio.h>
#include <stdlib.h>

uint64_t trace_mask;

void trace_write(enum trace_type type, uint16_t vmid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4) {
  (void)type, (void)vmid, (void)a0, (void)a1, (void)a2, (void)a3, (void)a4;
}

void vcpu_request(struct vcpu *v, uint32_t requests) {
  v->requests |= requests;
}

void check_failed(const char *expr, const char *file, int line) {
  fprintf(stderr, "CHECK(%s) at %s:%d\n", expr, file, line);
  abort();
}
