/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FAKEHW_VCPU_FAKE_H
#define FAKEHW_VCPU_FAKE_H

/* The parts of a vCPU that hyp/core/vcpu.c resets, for host tests: el1_reset() by the Arm ARM's reset values, the others counted. */

extern unsigned fake_gic_resets, fake_gic_power_downs, fake_timer_resets, fake_fp_resets;

#endif
