/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_PORT_H
#define MM_PORT_H

/*
 * All that the memory core must know about the platform it runs on. Each home (hypervisor at EL2, guest kernel at EL1, host tests)
 * has a "port_impl.h" on its include path that defines, inline, everything below. The core uses no other platform service: no
 * asm, no MMIO, no notion of a guest or a process.
 *
 *   PORT_CPUS_MAX                         compile-time bound on port_cpu()
 *   unsigned port_cpu(void)               this CPU's number; stable only while interrupts are masked
 *   port_flags_t                          saved interrupt mask
 *   port_flags_t port_irq_save(void)      mask interrupts on this CPU
 *   void port_irq_restore(port_flags_t)
 *   void port_relax(void)                 in every spin loop: YIELD (under QEMU icount a spin without it starves the other CPUs)
 *
 *   void port_kick_others(void)           make every other CPU pass page_drain_poll() soon (an interrupt); does not wait
 *
 *   struct port_lock                      a fair spin lock; zero-initialised is unlocked
 *   void port_lock_acquire(struct port_lock *)      acquire ordering; interrupts must be masked by the caller
 *   void port_lock_release(struct port_lock *)      release ordering
 *
 *   void *port_frame_ptr(pfn_t)           where this home can read and write the frame (its linear map); never NULL for RAM
 *   pfn_t port_ptr_frame(const void *)    the inverse
 *   void port_zero_frames(pfn_t, uint64_t frames)   zeroes through port_frame_ptr's mapping (DC ZVA where there is one)
 *   void port_cleanse_frames(pfn_t, uint64_t frames)  zeroes them so that any owner may have them next: where owners can look past the
 *                                                   caches, cleaned; nothing old left in instruction caches. No lock is held
 *   void port_copy_frame(pfn_t to, pfn_t from)
 *
 *   uint64_t port_pte_load(const uint64_t *)        one single-copy atomic load (Arm ARM B2.2)
 *   void port_pte_store(uint64_t *, uint64_t)       one single-copy atomic store, release ordering: what a new table holds is
 *                                                   observable before the entry that points to it
 *   bool port_pte_cas(uint64_t *, uint64_t old, uint64_t desired)   for entries that hardware updates (AF, dirty state)
 *   void port_dsb_ishst(void), port_dsb_ish(void), port_isb(void)   as the Arm ARM names them
 *
 *   bool port_event_on(enum mm_event)     cheap: is anybody listening?
 *   void port_event(enum mm_event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
 *                                         tell the home what the core does (it becomes a trace record at EL2)
 */

#include "core/types.h"

enum mm_event {
  MM_EVENT_PTE_WRITE, /* a: physical address of the entry, b: old, c: new, d: ia | level (ia is 4 KiB aligned), e: table set id << 32 | per-set sequence */
  MM_EVENT_DSB_ISHST, /* no arguments; likewise the next two */
  MM_EVENT_DSB_ISH,
  MM_EVENT_ISB,
  MM_EVENT_TABLE_ALLOC, /* a: pfn, b: level it serves, c: ia, e: table set id << 32 */
  MM_EVENT_TABLE_FREE,  /* a: pfn, e: table set id << 32 */
  MM_EVENT_FRAME_ALLOC, /* a: pfn, b: order, c: migrate type */
  MM_EVENT_FRAME_FREE,  /* a: pfn, b: order */
  MM_EVENT_FRAME_STATE, /* a: pfn, b: order, c: old state, d: new state | owner << 8 */
  MM_EVENT_FRAME_MOVE,  /* a: from pfn, b: to pfn, c: order */
  MM_EVENT_COUNT
};

#include "port_impl.h"

#endif
