/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_LOCK_H
#define ARCH_LOCK_H

/* A fair ticket spin lock for both kernels. Taken with interrupts masked. Zero-initialised is unlocked. */

#include "arch/barrier.h"
#include "core/atomic.h"
#include <stdint.h>

struct spinlock {
  uint16_t next;  /* ticket the next comer takes */
  uint16_t owner; /* ticket being served */
};

static inline void spin_lock(struct spinlock *lock) {
  uint16_t ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);
  while (atomic_load_acquire(&lock->owner) != ticket)
    cpu_relax();
}

static inline bool spin_trylock(struct spinlock *lock) {
  uint32_t seen, free_slot;
  uint16_t owner = atomic_load_relaxed(&lock->owner);
  seen = (uint32_t)owner << 16 | owner;
  free_slot = (uint32_t)owner << 16 | (uint16_t)(owner + 1);
  return __atomic_compare_exchange_n((uint32_t *)(void *)lock, &seen, free_slot, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void spin_unlock(struct spinlock *lock) {
  atomic_store_release(&lock->owner, (uint16_t)(lock->owner + 1));
}

static inline bool spin_is_locked(const struct spinlock *lock) {
  return atomic_load_relaxed(&lock->owner) != atomic_load_relaxed(&lock->next);
}

/* Mask IRQ and FIQ, returning what DAIF was; and put it back. */
static inline uint64_t irq_save(void) {
  uint64_t daif;
  __asm__ volatile("mrs %0, daif\n\tmsr daifset, #3" : "=r"(daif)::"memory");
  return daif;
}

static inline void irq_restore(uint64_t daif) {
  __asm__ volatile("msr daif, %0" ::"r"(daif) : "memory");
}

#endif
