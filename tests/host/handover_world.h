/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_HANDOVER_WORLD_H
#define TESTS_HOST_HANDOVER_WORLD_H

/* Three VMs of 4 MiB, with a window of 2 MiB each, that hand memory to one another: handover_world.c. */

#include "hyp/core/vm.h"
#include "hyp/mem/handover.h"
#include "mm_world.h"

#define VMS 3u
#define THINGS 2u
#define RAM_PAGES 1024u
#define WINDOW_BYTES SZ_2M
#define TAG(t_) (0x1111111111111111ull * ((t_) + 1))

extern struct vm vms[VMS + 1]; /* by id; [0] is nobody */
extern bool hw_blocks;         /* populate by blocks of 2 MiB, unless the VM has `force_4k` */
extern unsigned hw_flushes;    /* TLB maintenance so far */
extern bool hw_must_settle;    /* contents are to be settled between two VMs: a machine without S2FWB */
extern unsigned hw_settled;    /* frames for which that was done */
extern unsigned hw_code_forgotten;
extern uint64_t hw_frames_before;

/* Set-up and tear-down of a test: RAM, and no VM. */
int hw_set_up(void **state);
int hw_tear_down(void **state);

void hw_vm_make(unsigned id);
void hw_vm_end(struct vm *vm);
/* All of them; thing 0 is a page of VM 1's, thing 1 one of VM 2's, each with its tag in the first word. */
void hw_vms_make(void);
/* In an order that depends on `turn`, so that givers and takers both die first somewhere; no frame is missing then. */
void hw_vms_end(unsigned turn);

/* Where a thing is in its first owner's RAM, and in anybody's window. */
uint64_t hw_home(unsigned thing);
uint64_t hw_slot(unsigned thing);
/* What `vm` sees at `ia`; NULL: nothing is mapped there. */
uint64_t *hw_contents(struct vm *vm, uint64_t ia);
uint64_t hw_frames_in_use(void);
/* `step` again and again until it does not say ERR_AGAIN. */
err_t hw_finish(err_t (*step)(struct vm *, uint64_t), struct vm *vm, uint64_t handle);

#endif
