/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_ASID_H
#define GUEST_VM_ASID_H

/*
 * ASIDs with generations, after Linux's arch/arm64/mm/context.c. A context id is generation << 16 | ASID; a context whose
 * generation is not the current one gets a new ASID before it runs. When all ASIDs of a generation are used up, a new generation
 * begins: the ASIDs that CPUs run at that moment stay theirs, and every CPU flushes its TLB before it runs anything else.
 * ASID 0 is never handed out: it belongs to the empty TTBR0 of kernel threads.
 */

#include "core/err.h"
#include "core/types.h"
#include "guest/vm/mm_types.h"
#include "mm/port.h"

#define ASID_MAX_BITS 16u

struct asid_space {
  struct port_lock lock;
  uint64_t generation;                       /* (a) a multiple of 2^16, never 0; written under lock */
  uint64_t active[PORT_CPUS_MAX];            /* (a) the id each CPU runs; 0 from a rollover until its next switch */
  uint64_t reserved[PORT_CPUS_MAX];          /* lock; the id each CPU ran at the last rollover */
  bool flush_pending[PORT_CPUS_MAX];         /* lock */
  uint32_t bits, next;                       /* lock; `next` is where the search for a free ASID begins */
  uint64_t used[(1u << ASID_MAX_BITS) / 64]; /* lock */
};

/* `bits` is 8 or 16 (ID_AA64MMFR0_EL1.ASIDBits); ERR_INVAL. */
MUST_CHECK err_t asid_space_init(struct asid_space *space, unsigned bits);

/*
 * Make `ctx` current on `cpu` (this CPU, interrupts masked). Returns true if this CPU must flush its whole TLB before the
 * ASID is used; the flush is owed to the caller exactly once.
 */
MUST_CHECK bool asid_check_context(struct asid_space *space, struct mm_context *ctx, unsigned cpu);

static inline uint16_t mm_context_asid(const struct mm_context *ctx) {
  return (uint16_t)__atomic_load_n(&ctx->id, __ATOMIC_RELAXED);
}

#endif
