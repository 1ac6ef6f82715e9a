/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_VTTBR_H
#define HYP_ARCH_VTTBR_H

/* Which stage 2 this CPU uses. */

#include "core/types.h"

struct pt;
struct vcpu;
struct vmid;

/*
 * Make the stage 2 of `v` (its active view, if it has views) this CPU's, with a current VMID, and VTCR_EL2 with it. Part of a vCPU switch;
 * the EL1 state of neither vCPU is in use between. If another vCPU of this VM ran on this CPU last, the entries it left (same VMID, perhaps
 * the same ASID for something else) are dropped.
 */
void vttbr_load(struct vcpu *v);
/*
 * The same where another vCPU of its VM, without views, was the last to load it on this CPU: only what the two must not share in the TLB
 * goes.
 */
void vttbr_share(struct vcpu *v);
/* Use no VM's tables any more: an empty stage 2 with VMID 0. */
void vttbr_park(void);

/* For the length of a TLB operation: act under `vmid`, then put back what was there. Not nested. */
struct vttbr_guard {
  uint64_t vttbr, tcr_el1, sctlr_el1;
  bool switched;
};
void vttbr_enter(struct vttbr_guard *guard, const struct pt *pt, const struct vmid *vmid);
void vttbr_leave(const struct vttbr_guard *guard);

#endif
