/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PORT_IMPL_H
#define PORT_IMPL_H

/*
 * mm/port.h on the build machine. RAM is an arena of anonymous memory that stands for frames [base, base + frames); a CPU is a
 * thread that has set port_host_cpu; interrupts do not exist, but masking is counted, so that a test can see it balanced and a
 * lock taken with interrupts on is found. Locks and atomics are the compiler's, so ThreadSanitizer understands them.
 *
 * A test program names tests/host/port/port_host.c among its sources. With PORT_HOST_RELEASE (tests/bench/host/) nothing is done for
 * the tests' sake: masks are not counted, no hook is looked at, and a spin keeps its CPU for a while.
 */

#include "core/atomic.h"
#include "core/types.h"
#include <sched.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#ifndef PORT_CPUS_MAX
#define PORT_CPUS_MAX 8
#endif

extern _Thread_local unsigned port_host_cpu;       /* 0 .. PORT_CPUS_MAX - 1; a thread sets its own */
extern _Thread_local unsigned port_host_irq_depth; /* port_irq_save() not restored yet */

/* The arena. Frames outside it trap in port_frame_ptr(). */
extern uint8_t *port_host_ram;
extern uint64_t port_host_ram_base, port_host_ram_frames;

/* A fresh arena of zero pages (replacing the last one), not touched until used: sizes of many GiB are fine. */
void port_host_ram_create(uint64_t base_pfn, uint64_t frames);
void port_host_ram_destroy(void);

/* What port_frame_ptr() does with a frame outside the arena, port_lock_acquire() with interrupts on and so on: says so and aborts. */
_Noreturn void port_host_die(const char *what);

/*
 * A CHECK that fails ends the program with its text, unless the test expects it:
 *
 *   if (PORT_EXPECT_CHECK()) { page_free(f, 0); page_free(f, 0); port_expect_none(); fail(); }
 *
 * On a failed CHECK control returns to PORT_EXPECT_CHECK(), which then is false. What the code held is in no defined state.
 */
extern _Thread_local jmp_buf *port_host_check_jump;
extern _Thread_local jmp_buf port_host_check_buf;
#define PORT_EXPECT_CHECK() (port_host_check_jump = &port_host_check_buf, setjmp(port_host_check_buf) == 0)
static inline void port_expect_none(void) {
  port_host_check_jump = NULL;
}

static inline unsigned port_cpu(void) {
  return port_host_cpu;
}

typedef unsigned port_flags_t;

#ifdef PORT_HOST_RELEASE

static inline port_flags_t port_irq_save(void) {
  return 0;
}

static inline void port_irq_restore(port_flags_t flags) {
  (void)flags;
}

/* A short while on the CPU: whoever holds the lock may wait for this very core. */
static inline void port_relax(void) {
  static _Thread_local unsigned spins;
  if (++spins % 256 == 0)
    sched_yield();
}

#else

static inline port_flags_t port_irq_save(void) {
  return port_host_irq_depth++;
}

static inline void port_irq_restore(port_flags_t flags) {
  if (--port_host_irq_depth != flags)
    port_host_die("port_irq_restore out of order");
}

static inline void port_relax(void) {
  sched_yield();
}

#endif

struct port_lock {
  uint32_t next, owner; /* tickets */
};

static inline void port_lock_acquire(struct port_lock *lock) {
  uint32_t ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);
#ifndef PORT_HOST_RELEASE
  if (port_host_irq_depth == 0)
    port_host_die("lock taken with interrupts on");
#endif
  while (atomic_load_acquire(&lock->owner) != ticket)
    port_relax();
}

/* Called each time a lock has been released, if set: what another CPU might do at just that moment. */
extern void (*port_host_unlocked)(void);

static inline void port_lock_release(struct port_lock *lock) {
  atomic_store_release(&lock->owner, atomic_load_relaxed(&lock->owner) + 1);
#ifndef PORT_HOST_RELEASE
  if (port_host_unlocked)
    port_host_unlocked();
#endif
}

/* Called when the core asks other CPUs to come by, if set; threads come by in their slow paths anyway. */
extern void (*port_host_kicked)(void);

static inline void port_kick_others(void) {
  if (port_host_kicked)
    port_host_kicked();
}

static inline void *port_frame_ptr(pfn_t f) {
  if (f.v - port_host_ram_base >= port_host_ram_frames)
    port_host_die("frame outside RAM");
  return port_host_ram + ((f.v - port_host_ram_base) << PAGE_SHIFT);
}

static inline pfn_t port_ptr_frame(const void *p) {
  uint64_t offset = (uint64_t)((const uint8_t *)p - port_host_ram);
  if (offset >> PAGE_SHIFT >= port_host_ram_frames)
    port_host_die("pointer outside RAM");
  return pfn(port_host_ram_base + (offset >> PAGE_SHIFT));
}

static inline void port_zero_frames(pfn_t f, uint64_t frames) {
  if (frames != 0)
    port_frame_ptr(pfn_add(f, frames - 1));
#ifdef PORT_HOST_RELEASE
  /* as an instruction per line would do it; callgrind counts each turn of the library's REP STOS */
  uint64_t *line = port_frame_ptr(f);
  for (const uint64_t *end = line + (frames << PAGE_SHIFT) / sizeof(*line); line < end; line += 8) {
    line[0] = line[1] = line[2] = line[3] = line[4] = line[5] = line[6] = line[7] = 0;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
  }
#else
  memset(port_frame_ptr(f), 0, frames << PAGE_SHIFT);
#endif
}

/* As an owner would find them who looks past the caches: nothing is kept back. */
static inline void port_cleanse_frames(pfn_t f, uint64_t frames) {
  port_zero_frames(f, frames);
}

static inline void port_copy_frame(pfn_t to, pfn_t from) {
  memcpy(port_frame_ptr(to), port_frame_ptr(from), PAGE_SIZE);
}

static inline uint64_t port_pte_load(const uint64_t *entry) {
  return atomic_load_relaxed(entry);
}

static inline void port_pte_store(uint64_t *entry, uint64_t desc) {
  atomic_store_release(entry, desc);
}

static inline bool port_pte_cas(uint64_t *entry, uint64_t old, uint64_t desired) {
  return atomic_cas(entry, &old, desired);
}

/* Events, barriers among them, go to the function the test has set; none by default. The enum is complete only in mm/port.h. */
typedef void port_host_event_fn(unsigned event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e);
extern port_host_event_fn *port_host_event;

static inline bool port_event_on(unsigned event) {
  (void)event;
#ifdef PORT_HOST_RELEASE
  return false;
#else
  return port_host_event != NULL;
#endif
}

static inline void port_event(unsigned event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
  if (port_host_event)
    port_host_event(event, a, b, c, d, e);
}

static inline void port_dsb_ishst(void) {
  port_event(MM_EVENT_DSB_ISHST, 0, 0, 0, 0, 0);
}

static inline void port_dsb_ish(void) {
  port_event(MM_EVENT_DSB_ISH, 0, 0, 0, 0, 0);
}

static inline void port_isb(void) {
  port_event(MM_EVENT_ISB, 0, 0, 0, 0, 0);
}

#endif
