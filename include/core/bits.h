/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_BITS_H
#define CORE_BITS_H

/* Bit fields, alignment and small bitmaps. `hi` and `lo` are bit numbers, both inclusive, as the Arm ARM writes [hi:lo]. */

#include <stdbool.h>
#include <stdint.h>

#define BIT(n_) ((uint64_t)1 << (n_))
#define GENMASK(hi_, lo_) ((~(uint64_t)0 >> (63 - (hi_))) & (~(uint64_t)0 << (lo_)))

static inline uint64_t bits_get(uint64_t value, unsigned hi, unsigned lo) {
  return (value & GENMASK(hi, lo)) >> lo;
}

static inline uint64_t bits_set(uint64_t value, unsigned hi, unsigned lo, uint64_t field) {
  return (value & ~GENMASK(hi, lo)) | ((field << lo) & GENMASK(hi, lo));
}

/* `align` is a power of two. align_up of a value within `align` of 2^64 wraps: check the range first. */
static inline uint64_t align_down(uint64_t value, uint64_t align) {
  return value & ~(align - 1);
}

static inline uint64_t align_up(uint64_t value, uint64_t align) {
  return (value + align - 1) & ~(align - 1);
}

static inline bool is_aligned(uint64_t value, uint64_t align) {
  return (value & (align - 1)) == 0;
}

static inline bool is_pow2(uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

/* Number of the lowest (ffs) or highest (fls) set bit; `value` must not be 0. */
static inline unsigned bits_ffs(uint64_t value) {
  return (unsigned)__builtin_ctzll(value);
}

static inline unsigned bits_fls(uint64_t value) {
  return 63u - (unsigned)__builtin_clzll(value);
}

/* Sign-extend the low `width` bits (1..64) of `value`. */
static inline int64_t bits_sext(uint64_t value, unsigned width) {
  return (int64_t)(value << (64 - width)) >> (64 - width);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

#endif
