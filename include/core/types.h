/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_TYPES_H
#define CORE_TYPES_H

/*
 * The scalar types every layer shares.
 *
 * Addresses are one-member structs, so that the compiler refuses to mix the three kinds (measured free at -O1 and above):
 *
 *   va_t   virtual address                      input of stage 1
 *   ipa_t  intermediate physical address        output of a guest's stage 1, input of stage 2
 *   pa_t   physical address                     what the bus sees
 *   pfn_t  physical frame number, pa >> 12
 *
 * There is no conversion from ipa_t to pa_t: only a stage-2 look-up makes one from the other.
 * Ranges are half-open everywhere: [start, end).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SHIFT 12
#define PAGE_SIZE ((uint64_t)1 << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

#define SZ_1K ((uint64_t)1 << 10)
#define SZ_4K ((uint64_t)1 << 12)
#define SZ_64K ((uint64_t)1 << 16)
#define SZ_1M ((uint64_t)1 << 20)
#define SZ_2M ((uint64_t)1 << 21)
#define SZ_1G ((uint64_t)1 << 30)

typedef struct {
  uint64_t v;
} pa_t;

typedef struct {
  uint64_t v;
} ipa_t;

typedef struct {
  uint64_t v;
} va_t;

typedef struct {
  uint64_t v;
} pfn_t;

#define PFN_NONE ((pfn_t){~(uint64_t)0})

static inline pa_t pa(uint64_t v) {
  return (pa_t){v};
}

static inline ipa_t ipa(uint64_t v) {
  return (ipa_t){v};
}

static inline va_t va(uint64_t v) {
  return (va_t){v};
}

static inline pfn_t pfn(uint64_t v) {
  return (pfn_t){v};
}

static inline pfn_t pa_pfn(pa_t a) {
  return (pfn_t){a.v >> PAGE_SHIFT};
}

static inline pa_t pfn_pa(pfn_t f) {
  return (pa_t){f.v << PAGE_SHIFT};
}

static inline pfn_t pfn_add(pfn_t f, uint64_t frames) {
  return (pfn_t){f.v + frames};
}

static inline bool pfn_eq(pfn_t a, pfn_t b) {
  return a.v == b.v;
}

static inline bool pfn_is_none(pfn_t f) {
  return f.v == ~(uint64_t)0;
}

#endif
