/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_PSCI_H
#define HYP_DEV_PSCI_H

#include <stdint.h>

struct vcpu;

/* PSCI 1.1 (Arm DEN 0022). `fid` is of the standard-service owner; arguments are in x1..x3 of the current vCPU. The result for x0. */
int64_t psci_call(struct vcpu *v, uint32_t fid);

#endif
