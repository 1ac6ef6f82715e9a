/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_ATOMIC_H
#define CORE_ATOMIC_H

/*
 * Named orderings over the compiler's __atomic builtins (C11 memory model). `_relaxed` orders nothing, `_acquire` keeps later
 * accesses after it, `_release` keeps earlier ones before it. Ordering against devices, page-table walks or TLB maintenance
 * needs a DSB instead: see arch/barrier.h.
 */

#include <stdbool.h>
#include <stdint.h>

#include "core/compiler.h"

#define atomic_load_relaxed(p_) __atomic_load_n((p_), __ATOMIC_RELAXED)
#define atomic_load_acquire(p_) __atomic_load_n((p_), __ATOMIC_ACQUIRE)
#define atomic_store_relaxed(p_, v_) __atomic_store_n((p_), (v_), __ATOMIC_RELAXED)
#define atomic_store_release(p_, v_) __atomic_store_n((p_), (v_), __ATOMIC_RELEASE)
#define atomic_add_fetch(p_, v_) __atomic_add_fetch((p_), (v_), __ATOMIC_ACQ_REL)
#define atomic_fetch_add_relaxed(p_, v_) __atomic_fetch_add((p_), (v_), __ATOMIC_RELAXED)
#define atomic_fetch_or(p_, v_) __atomic_fetch_or((p_), (v_), __ATOMIC_ACQ_REL)
#define atomic_fetch_and(p_, v_) __atomic_fetch_and((p_), (v_), __ATOMIC_ACQ_REL)
#define atomic_exchange(p_, v_) __atomic_exchange_n((p_), (v_), __ATOMIC_ACQ_REL)

/* True and `*p_ == desired_` if `*p_` was `*expected_`; else false and `*expected_` holds what was found. */
#define atomic_cas(p_, expected_, desired_)                                                                                                \
  __atomic_compare_exchange_n((p_), (expected_), (desired_), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

/* Keeps the compiler (not the CPU) from moving accesses across. */
static ALWAYS_INLINE void compiler_barrier(void) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

#endif
