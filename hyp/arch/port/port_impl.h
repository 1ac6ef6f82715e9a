/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PORT_IMPL_H
#define PORT_IMPL_H

/* mm/port.h at EL2: RAM is mapped one to one, interrupts are always masked, events become trace records. */

#include "arch/barrier.h"
#include "arch/lock.h"
#include "core/string.h"
#include "core/types.h"
#include "hyp/arch/zero.h"
#include "hyp/core/cpu.h"
#include "hyp/core/kick.h"
#include "hyp/ctl/trace.h"

#define PORT_CPUS_MAX CPUS_MAX

typedef uint64_t port_flags_t;

struct port_lock {
  struct spinlock spin;
};

static ALWAYS_INLINE unsigned port_cpu(void) {
  return this_cpu()->id;
}

/* EL2 runs with interrupts masked from exception to ERET: nothing to save. */
static ALWAYS_INLINE port_flags_t port_irq_save(void) {
  compiler_barrier();
  return 0;
}

static ALWAYS_INLINE void port_irq_restore(port_flags_t flags) {
  (void)flags;
  compiler_barrier();
}

static inline void port_relax(void) {
  cpu_relax();
}

/* Their interrupt passes page_drain_poll() (hyp/core/sched.c). */
static inline void port_kick_others(void) {
  smp_kick_others();
}

static inline void port_lock_acquire(struct port_lock *lock) {
  spin_lock(&lock->spin);
}

static inline void port_lock_release(struct port_lock *lock) {
  spin_unlock(&lock->spin);
}

static inline void *port_frame_ptr(pfn_t f) {
  return (void *)(f.v << PAGE_SHIFT);
}

static inline pfn_t port_ptr_frame(const void *p) {
  return pfn((uint64_t)p >> PAGE_SHIFT);
}

static inline void port_zero_frames(pfn_t f, uint64_t frames) {
  zero_lines(port_frame_ptr(f), frames << PAGE_SHIFT);
}

/* For the zeroed pool: as a stage-2 fault would find them after its own (hyp/arch/cleanse.h). */
void port_cleanse_frames(pfn_t f, uint64_t frames);

static inline void port_copy_frame(pfn_t to, pfn_t from) {
  copy_page(port_frame_ptr(to), port_frame_ptr(from));
}

static ALWAYS_INLINE uint64_t port_pte_load(const uint64_t *entry) {
  return atomic_load_relaxed(entry);
}

static ALWAYS_INLINE void port_pte_store(uint64_t *entry, uint64_t desc) {
  atomic_store_release(entry, desc);
}

static inline bool port_pte_cas(uint64_t *entry, uint64_t old, uint64_t desired) {
  return atomic_cas(entry, &old, desired);
}

static inline void port_dsb_ishst(void) {
  dsb(ishst);
  trace(TRACE_GROUP_PT, TRACE_DSB, 0, 0, 0, 0, 0, 0);
}

static inline void port_dsb_ish(void) {
  dsb(ish);
  trace(TRACE_GROUP_PT, TRACE_DSB, 0, 1, 0, 0, 0, 0);
}

static inline void port_isb(void) {
  isb();
  trace(TRACE_GROUP_PT, TRACE_ISB, 0, 0, 0, 0, 0, 0);
}

/* The trace group an event belongs to. */
static inline enum trace_group port_event_group(enum mm_event event) {
  return event >= MM_EVENT_FRAME_ALLOC ? TRACE_GROUP_FRAME : TRACE_GROUP_PT;
}

static inline bool port_event_on(enum mm_event event) {
  return trace_on(port_event_group(event));
}

void port_event_write(enum mm_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);

static inline void port_event(enum mm_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
  if (port_event_on(event))
    port_event_write(event, a, b, c, d, e);
}

#endif
