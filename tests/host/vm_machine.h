/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VM_MACHINE_H
#define VM_MACHINE_H

/*
 * The machine under guest/vm in host tests: CPUs that translate by walking the tables in memory as the Arm ARM says (own code, bit by
 * bit, RES0 fields asserted), through TLBs and walk caches that forget only what they are told to. Every access of a "user
 * program" goes through here, faults into handle_mm_fault() and is retried, so a lost flush, a frame freed too early, a wrong
 * permission or a livelock shows up as a wrong value, a failed assertion or a wrong verdict.
 */

#include "guest/vm/mm_types.h"
#include "guest/vm/vm.h"
#include "mm/migrate.h"

#define MACHINE_CPUS 2u

enum access {
  ACCESS_LOAD,
  ACCESS_STORE,
  ACCESS_FETCH
};

/* Boot: RAM of `frames`, the core, the VM layer with 8-bit ASIDs. Once per program. */
void machine_boot(uint64_t frames);

/* A device's memory of `pages` from frame number MACHINE_WINDOW_PFN on, zeroed; where it stands. The one before is gone. */
#define MACHINE_WINDOW_PFN ((uint64_t)0x200000)
void *machine_create_window(uint64_t pages);

/* Free frames with nothing kept back by slabs or CPUs. */
uint64_t machine_free_frames(void);

/* The CPU on which the following calls run. */
void machine_set_cpu(unsigned cpu);

/*
 * One 8-byte access by a user program in `mm` at `addr` (8-byte aligned): loads into *value, stores *value, or fetches (as a load).
 * VM_FAULT_OK when it went through.
 */
enum vm_fault machine_access(struct mm_struct *mm, uint64_t addr, enum access kind, uint64_t *value);

/* An independent look at the tables. False: nothing mapped. */
struct machine_pte {
  uint64_t frame;
  bool user, writable, user_exec;
  bool block; /* of machine_walk() only */
};
bool machine_walk(const struct mm_struct *mm, uint64_t addr, struct machine_pte *out);

/* Every user page mapped in `mm`, ascending. */
typedef void machine_page_fn(void *ctx, uint64_t addr, const struct machine_pte *pte);
void machine_each_page(const struct mm_struct *mm, machine_page_fn *fn, void *ctx);
/* Table frames of `mm`, the root included, counted by walking. */
uint64_t machine_count_tables(const struct mm_struct *mm);

/* The invariants of one address space: chain, tree, gaps, no two neighbours alike, counters against the tables. */
void machine_check_mm(const struct mm_struct *mm);
/*
 * References of every user frame against the mappings there are in `mms`, which must be all address spaces. A page of a shared object has
 * one more, for the object.
 */
void machine_check_refs(struct mm_struct *const *mms, unsigned count);

/* Move the frame to another one, wherever there is room; what stood in the old one is wiped out. */
enum move_result machine_move(uint64_t frame);

/* ---- Failures on demand (link with --wrap of page_alloc, page_alloc_owned and slab_alloc) ---- */

/* Let the `nth` allocation from now (1: the next) fail; 0: none. */
void machine_fail_allocation(unsigned nth);
/* Allocations asked for since machine_fail_allocation(). */
unsigned machine_allocations(void);

/* Instruction-cache maintenance asked for so far. */
extern uint64_t machine_icache_syncs;
/* Flushes seen so far, by kind. */
extern uint64_t machine_flushes, machine_flushes_local;

#endif
