/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Throughput of two threads on two CPUs over one thread's, by the clock: "threads-WHAT-orderN RATIO", the median of many short turns in
 * which one thread and two alternate.
 *
 * A turn counts only if every thread in it had its core to itself: its CPU time is its time by the clock, and all were there from the start
 * (they wait for each other). So the figure means the same on a machine that others use as well; if too few turns count, there is none. It
 * is reported and never a test.
 */
#include "host_zone.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
  ROUNDS = 25,  /* that count */
  TRIES = 1500, /* that are made for them */
  BULK = 65536, /* frames held by a thread in bulk */
  TURN_NS = 3000000,
  PAUSE_US = 4000, /* before a turn: who has slept is let run at once, and for a while */
  CPUS_USED = 2
};

struct worker {
  pthread_t thread;
  unsigned cpu, order;
  bool bulk, undisturbed;
  uint64_t pairs;
  double rate; /* pairs a nanosecond */
  pfn_t *held;
} ALIGNED(128); /* no two on a line: a neighbour's stores would cost more than what is measured */

static unsigned waiting; /* threads of this turn that have not arrived */

static uint64_t now_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
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
  atomic_add_fetch(&waiting, -1u);
  while (atomic_load_acquire(&waiting) != 0)
    port_relax();
  uint64_t start = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_THREAD_CPUTIME_ID), end = start;
  for (w->pairs = 0; end < start + TURN_NS; end = now_ns(CLOCK_MONOTONIC)) {
    if (w->bulk)
      take_and_give(w, BULK >> w->order);
    for (unsigned i = 0; !w->bulk && i < 1000; i++)
      take_and_give(w, 1);
  }
  cpu = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
  w->undisturbed = cpu * 100 >= (end - start) * 99;
  w->rate = (double)w->pairs / (double)(end - start);
  page_drain_local();
  return NULL;
}

/* Pairs a nanosecond by so many threads together; 0 if the turn does not count. */
static double turn(struct worker *workers, unsigned threads, unsigned order, bool bulk) {
  double rate = 0;
  bool counts = true;
  waiting = threads;
  usleep(PAUSE_US);
  for (unsigned i = 0; i < threads; i++) {
    workers[i].cpu = i;
    workers[i].order = order;
    workers[i].bulk = bulk;
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
      abort();
  }
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    counts = counts && workers[i].undisturbed;
    rate += workers[i].rate;
  }
  return counts ? rate : 0;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void measure(struct worker *workers, unsigned order, bool bulk) {
  double ratio[ROUNDS];
  unsigned rounds = 0, tries = 0;
  turn(workers, CPUS_USED, order, bulk); /* warm */
  for (; tries < TRIES && rounds < ROUNDS; tries++) {
    double two = turn(workers, CPUS_USED, order, bulk), one = two > 0 ? turn(workers, 1, order, bulk) : 0;
    if (one > 0)
      ratio[rounds++] = two / one;
  }
  fprintf(stderr, "order %u, %s: %u of %u turns counted\n", order, bulk ? "bulk" : "hot", rounds, tries);
  if (rounds < ROUNDS)
    return;
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
