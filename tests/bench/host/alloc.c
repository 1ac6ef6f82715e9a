/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an allocation and its free cost on the host, in instructions: run under callgrind, which counts only between start() and stop().
 * Each row becomes a part of callgrind's output that is named by it and by the number of operations (callgrind.out.*: "desc: Trigger").
 *
 *   hot        allocate one, free it, repeated: the pair
 *   bulk       half of the zone allocated, then freed in the order of allocation: the pair
 *   random     the same half freed in random order: the free alone
 *
 * The loops' own instructions are in the figures. The first use of memory, when its part of the frame table is written, is in those rows
 * that are not called "again".
 */
#include "host_zone.h"
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/callgrind.h>

#define FRAMES ((uint64_t)4 << 18) /* 4 GiB */
#define HOT_ROUNDS 200000u

static pfn_t *held;

static void start(void) {
  CALLGRIND_ZERO_STATS;
  CALLGRIND_TOGGLE_COLLECT;
}

static void stop(const char *row, unsigned order, uint64_t operations) {
  char name[64];
  CALLGRIND_TOGGLE_COLLECT;
  snprintf(name, sizeof(name), "%s-order%u %lu", row, order, (unsigned long)operations);
  CALLGRIND_DUMP_STATS_AT(name);
}

static NOINLINE void hot(unsigned order, unsigned rounds) {
  pfn_t f;
  for (unsigned i = 0; i < rounds; i++) {
    if (page_alloc(order, ALLOC_MOVABLE, &f) != ERR_OK)
      abort();
    page_free(f, order);
  }
}

static NOINLINE void take(unsigned order, uint64_t blocks) {
  for (uint64_t i = 0; i < blocks; i++) {
    if (page_alloc(order, ALLOC_MOVABLE, &held[i]) != ERR_OK)
      abort();
  }
}

static NOINLINE void give(unsigned order, uint64_t blocks) {
  for (uint64_t i = 0; i < blocks; i++)
    page_free(held[i], order);
}

static void shuffle(uint64_t blocks) {
  uint64_t random = 1;
  for (uint64_t i = blocks - 1; i > 0; i--) {
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    uint64_t j = (random >> 32) * (i + 1) >> 32;
    pfn_t f = held[i];
    held[i] = held[j];
    held[j] = f;
  }
}

static void measure_hot(unsigned order) {
  host_zone_create(FRAMES);
  hot(order, 100);
  start();
  hot(order, HOT_ROUNDS);
  stop("hot", order, HOT_ROUNDS);
}

static void measure_bulk(unsigned order) {
  uint64_t blocks = FRAMES / 2 >> order;
  host_zone_create(FRAMES);
  for (unsigned round = 0; round < 2; round++) {
    start();
    take(order, blocks);
    give(order, blocks);
    stop(round == 0 ? "bulk" : "bulk-again", order, blocks);
  }
}

static void measure_random(unsigned order) {
  uint64_t blocks = FRAMES / 2 >> order;
  host_zone_create(FRAMES);
  take(order, blocks);
  shuffle(blocks);
  start();
  give(order, blocks);
  stop("random", order, blocks);
}

int main(void) {
  held = calloc(FRAMES, sizeof(*held));
  for (unsigned order = 0; order <= PAGEBLOCK_ORDER; order += PAGEBLOCK_ORDER) {
    measure_hot(order);
    measure_bulk(order);
    measure_random(order);
  }
  free(held);
  return 0;
}
