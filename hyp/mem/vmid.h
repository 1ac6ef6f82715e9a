/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_VMID_H
#define HYP_MEM_VMID_H

/*
 * VMIDs with generations. A VM holds (generation, vmid); when the generation is old it gets a new VMID before it next runs. When all are
 * used up the generation advances: VMIDs in use on a CPU at that moment stay theirs, all others are free again, and each CPU clears its
 * TLB before it next takes up a VMID. VMID 0 is never given: it marks "none". Pure C, built into host tests.
 */

#include "core/atomic.h"
#include "core/types.h"

struct vmid {
  uint64_t tag; /* generation << 16 | vmid; 0: never had one; atomic */
};

/*
 * 8 or 16 bits; lower for tests (a scenario's `vmid-bits`). There must be more VMIDs, less the 0, than CPUs: up to one for each stays in
 * use across a rollover. All VMIDs given before are forgotten: no guest may be running.
 */
void vmid_init(unsigned bits, unsigned cpu_total);

/*
 * Make `v` valid on `cpu`, the calling one, which is about to run its owner; interrupts masked. Fast path: when the generation is current,
 * one compare and one compare-and-swap. Then vmid_value() is the VMID, and stays so while it is active here.
 *
 * True: generations rolled over since `cpu` last took up a VMID, and its TLB may hold entries that others left under this one. The caller
 * must clear EL1&0 entries of all VMIDs (TLBI ALLE1, on this CPU or with IS on all; DSB; ISB) before VTTBR_EL2 holds the new VMID.
 */
bool vmid_activate(struct vmid *v, unsigned cpu);

/* `cpu`, the calling one, runs no guest any more, and VTTBR_EL2 does not hold its last VMID any more. */
void vmid_deactivate(unsigned cpu);

/*
 * The VMID last given to `v`, 0: none. If `v` is active on no CPU it may be somebody else's by now: right for TLBI (at worst it clears too
 * much).
 */
static inline uint16_t vmid_value(const struct vmid *v) {
  return (uint16_t)atomic_load_relaxed(&v->tag);
}

/* Counts rollovers; starts at 1. */
uint64_t vmid_generation(void);

#endif
