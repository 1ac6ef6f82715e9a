/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_PORT_IMPL_H
#define GUEST_PORT_IMPL_H

/*
 * mm/port.h at EL1. The kernel runs with interrupts masked throughout (guest/arch/vectors.S), so masking is free here. Every frame of
 * RAM is in the linear map. Events of the core go to the trace of a hypervisor, when one listens (guest/kernel/trace.c).
 */

#include "arch/barrier.h"
#include "arch/zva.h"
#include "core/compiler.h"
#include "guest/arch/cpu.h"
#include "guest/arch/current.h"
#include "guest/arch/layout.h"
#include "guest/arch/vlock.h"

#define PORT_CPUS_MAX CPUS_MAX

static inline unsigned port_cpu(void) {
  return current_cpu_id();
}

typedef uint64_t port_flags_t;

static inline port_flags_t port_irq_save(void) {
  compiler_barrier();
  return 0;
}

static inline void port_irq_restore(port_flags_t flags) {
  (void)flags;
  compiler_barrier();
}

static inline void port_relax(void) {
  cpu_relax();
}

/* The resched SGI passes page_drain_poll() (guest/kernel/sched.c). */
static inline void port_kick_others(void) {
  smp_kick_others();
}

struct port_lock {
  struct vlock lock;
};

static inline void port_lock_acquire(struct port_lock *l) {
  vlock_acquire(&l->lock);
}

static inline void port_lock_release(struct port_lock *l) {
  vlock_release(&l->lock);
}

static inline void *port_frame_ptr(pfn_t f) {
  return (void *)(LINEAR_BASE + (f.v << PAGE_SHIFT));
}

static inline pfn_t port_ptr_frame(const void *p) {
  return pfn(((uint64_t)p - LINEAR_BASE) >> PAGE_SHIFT);
}

/* DCZID_EL0's block in bytes, at most 2 KiB; 0 if DC ZVA is prohibited. Set by the boot CPU. */
extern uint64_t cpu_zva_bytes;

void port_zero_slow(void *to, uint64_t bytes);
void port_copy_frame(pfn_t to, pfn_t from);

static inline void port_zero_frames(pfn_t f, uint64_t frames) {
  char *to = port_frame_ptr(f);
  char *end = to + (frames << PAGE_SHIFT);
  if (unlikely(cpu_zva_bytes != ZVA_BYTES)) {
    port_zero_slow(to, frames << PAGE_SHIFT);
    return;
  }
  for (; to < end; to += PAGE_SIZE)
    zva_zero_page(to);
}

/* Users see memory through the caches, as the kernel does; instruction caches are seen to when a page becomes executable (guest/vm). */
static inline void port_cleanse_frames(pfn_t f, uint64_t frames) {
  port_zero_frames(f, frames);
}

static inline uint64_t port_pte_load(const uint64_t *p) {
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void port_pte_store(uint64_t *p, uint64_t v) {
  __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static inline bool port_pte_cas(uint64_t *p, uint64_t old, uint64_t desired) {
  return __atomic_compare_exchange_n(p, &old, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline void port_dsb_ishst(void) {
  dsb(ishst);
}

static inline void port_dsb_ish(void) {
  dsb(ish);
}

static inline void port_isb(void) {
  isb();
}

/* Bit per enum mm_event; 0 unless the `trace` bootarg is given under a hypervisor that takes trace calls. */
extern uint32_t guest_trace_mask;
void guest_trace_event(enum mm_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);

static inline bool port_event_on(enum mm_event event) {
  return unlikely(guest_trace_mask >> event & 1);
}

static inline void port_event(enum mm_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
  if (port_event_on(event))
    guest_trace_event(event, a, b, c, d, e);
}

#endif
