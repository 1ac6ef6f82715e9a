/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_VLOCK_H
#define GUEST_ARCH_VLOCK_H

/*
 * The spin lock of a kernel whose CPUs may be taken away at any moment. A fair (ticket) lock hands itself to whoever has waited longest,
 * even if that vCPU is not running now: with two vCPUs on one CPU every hand-over then costs a time slice. This one is test-and-set:
 * whoever runs and finds it free has it (Linux takes the same way on x86 guests, virt_spin_lock()). Critical sections are short, so
 * starving is not to be feared. Taken with interrupts masked. Zero-initialised is unlocked.
 */

#include "arch/barrier.h"
#include "core/atomic.h"
#include "core/compiler.h"
#include <stdint.h>

struct vlock {
  uint32_t held;
};

static inline void vlock_acquire(struct vlock *l) {
  while (unlikely(__atomic_exchange_n(&l->held, 1u, __ATOMIC_ACQUIRE) != 0))
    while (atomic_load_relaxed(&l->held))
      cpu_relax();
}

static inline bool vlock_try(struct vlock *l) {
  return atomic_load_relaxed(&l->held) == 0 && __atomic_exchange_n(&l->held, 1u, __ATOMIC_ACQUIRE) == 0;
}

static inline void vlock_release(struct vlock *l) {
  atomic_store_release(&l->held, 0u);
}

#endif
