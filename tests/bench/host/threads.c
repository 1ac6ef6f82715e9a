/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Throughput of two threads on two CPUs over one thread's, by the clock: "threads-WHAT-orderN RATIO", the median of several rounds in which one
 * thread and two take turns. It needs two idle cores to mean anything, so it is reported and never a test.
 */
#include "host_zone.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
  ROUNDS = 7,
  BULK = 65536, /* frames held by a thread in bulk */
  TURN_NS = 60000000,
  CPUS_USED = 2
};

struct worker {
  pthread_t thread;
  unsigned cpu, order;
  bool bulk;
  uint64_t deadline_ns, pairs;
  pfn_t *held;
};

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void take_and_give(struct worker *w, uint64_t blocks) {
  for (uint64_t i = 0; i < blocks; i++) {
    if (page_alloc(w->order, ALLOC_MOVABLE, &w->held[i]) != ERR_OK)
      abort();
  }
  for (uint64_t i = 0; i < blocks; i++)
    page_free(w->held[i], w->order);
  w->pairs += blocks;
}

static void *work(void *arg) {
  struct worker *w = arg;
  port_host_cpu = w->cpu;
  while (now_ns() < w->deadline_ns) {
    if (w->bulk)
      take_and_give(w, BULK >> w->order);
    for (unsigned i = 0; !w->bulk && i < 1000; i++)
      take_and_give(w, 1);
  }
  page_drain_local();
  return NULL;
}

/* Pairs in a turn by so many threads. */
static double turn(struct worker *workers, unsigned threads, unsigned order, bool bulk) {
  uint64_t start = now_ns(), pairs = 0;
  for (unsigned i = 0; i < threads; i++) {
    workers[i].cpu = i;
    workers[i].order = order;
    workers[i].bulk = bulk;
    workers[i].pairs = 0;
    workers[i].deadline_ns = start + TURN_NS;
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
      abort();
  }
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    pairs += workers[i].pairs;
  }
  return (double)pairs / (double)(now_ns() - start);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void measure(struct worker *workers, unsigned order, bool bulk) {
  double ratio[ROUNDS];
  turn(workers, CPUS_USED, order, bulk); /* warm */
  for (unsigned i = 0; i < ROUNDS; i++) {
    double one = turn(workers, 1, order, bulk);
    ratio[i] = turn(workers, CPUS_USED, order, bulk) / one;
  }
  qsort(ratio, ROUNDS, sizeof(*ratio), compare);
  printf("threads-%s-order%u %.2f\n", bulk ? "bulk" : "hot", order, ratio[ROUNDS / 2]);
}

int main(void) {
  static struct worker workers[CPUS_USED];
  host_zone_create((uint64_t)4 << 18);
  for (unsigned i = 0; i < CPUS_USED; i++)
    workers[i].held = calloc(BULK, sizeof(*workers[i].held));
  for (unsigned order = 0; order <= PAGEBLOCK_ORDER; order += PAGEBLOCK_ORDER) {
    measure(workers, order, false);
    measure(workers, order, true);
  }
  for (unsigned i = 0; i < CPUS_USED; i++)
    free(workers[i].held);
  return 0;
}
