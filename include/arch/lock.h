/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_LOCK_H
#define ARCH_LOCK_H

/* A fair ticket spin lock for both kernels. Taken with interrupts masked. Zero-initialised is unlocked. */

#include "arch/barrier.h"
#include "core/atomic.h"
#include <stdint.h>

struct spinlock {
  uint16_t owner; /* ticket being served */
  uint16_t next;  /* ticket the next comer takes; the upper half, so that counting it up does not carry into the other */
} __attribute__((aligned(4)));

static inline void spin_lock_wait(struct spinlock *lock, uint16_t ticket) {
  while (atomic_load_acquire(&lock->owner) != ticket)
    cpu_relax();
}

/* One exclusive access takes a ticket and tells whose turn it is (little-endian). */
static inline void spin_lock(struct spinlock *lock) {
  uint32_t seen = __atomic_fetch_add((uint32_t *)(void *)lock, 1u << 16, __ATOMIC_ACQUIRE);
  if (__builtin_expect((uint16_t)seen != seen >> 16, 0))
    spin_lock_wait(lock, (uint16_t)(seen >> 16));
}

static inline bool spin_trylock(struct spinlock *lock) {
  uint32_t seen, free_slot;
  uint16_t owner = atomic_load_relaxed(&lock->owner);
  seen = (uint32_t)owner << 16 | owner;
  free_slot = seen + (1u << 16);
  return __atomic_compare_exchange_n((uint32_t *)(void *)lock, &seen, free_slot, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void spin_unlock(struct spinlock *lock) {
  atomic_store_release(&lock->owner, (uint16_t)(lock->owner + 1));
}

static inline bool spin_is_locked(const struct spinlock *lock) {
  return atomic_load_relaxed(&lock->owner) != atomic_load_relaxed(&lock->next);
}

#endif
