/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FAKEHW_STAGE2_FAKE_H
#define FAKEHW_STAGE2_FAKE_H

/*
 * A VM's memory for host tests of devices and of hyp/mem: the page-table engine and the memory core are the real ones, the machine around
 * them is played. It has a TLB that remembers every page that was ever translated until it is flushed, and fails the test when a frame is
 * freed while it is remembered.
 */

#include "core/types.h"

struct vm;

/* `vm` gets an empty stage 2 of `bytes` at VM_RAM_BASE; the memory core is set up already. */
void fake_stage2_open(struct vm *vm, uint64_t bytes);
/* All of it is taken down; every frame must have come back that came from the core since. */
void fake_stage2_close(void);

/* Back `ia` by a page, or by its whole block if nothing of that is there. */
void fake_stage2_back(uint64_t ia, bool block);
/* What the guest does: 0 if nothing is backed. It fills the TLB. */
uint64_t fake_guest_read(uint64_t ia);
void fake_guest_write(uint64_t ia, uint64_t value);
/* The frame behind `ia`; PFN_NONE. By a walk of its own, not the engine's. */
pfn_t fake_stage2_frame(uint64_t ia, unsigned *order);

extern unsigned fake_flushes, fake_splits, fake_views_forgotten;
extern uint64_t fake_frames_left; /* from RAM, told on the way that all must take (stage2_frames_left) */
extern unsigned fake_tables_left; /* table allocations until one fails */

#endif
