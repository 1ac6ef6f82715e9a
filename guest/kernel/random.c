/* SPDX-License-Identifier: BSD-2-Clause */
/* Random numbers: the entropy device's; without one, splitmix64 (Steele, Lea, Flood 2014) over an atomic counter. */
#include "guest/kernel/random.h"

#include "core/atomic.h"
#include "guest/drivers/virtio/rng.h"

static uint64_t state = 0x536c7569636521ull;

static uint64_t splitmix(void) {
  uint64_t z = atomic_fetch_add_relaxed(&state, 0x9e3779b97f4a7c15ull) + 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

uint64_t random_u64(void) {
  uint64_t word;
  return virtio_rng_read(&word, sizeof word) ? word : splitmix();
}
