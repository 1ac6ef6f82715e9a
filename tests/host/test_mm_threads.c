/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The allocator under real threads, one per CPU, with ThreadSanitizer watching: single frames, blocks, exact placement, states, slabs,
 * reports; frames freed on another CPU than they came from. A frame handed to two threads is found by a flag per frame; at the end all
 * frames are there.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// cflags: -fno-sanitize=address,undefined -fsanitize=thread
// libs: -fno-sanitize=address,undefined -fsanitize=thread -lpthread
#include "core/atomic.h"
#include "mm/slab.h"
#include "mm_world.h"
#include <pthread.h>
#include <stdlib.h>

enum {
  CPUS = 4,
  HELD = 96,
  STEPS = 30000
};

static const struct world_config map = {
    "two banks", {{{0x40000}, {0x40000 + F(24)}}, {{0x48000}, {0x48000 + F(9) + 3}}}, {{{0x40000}, {0x40025}}}, 0x50000};
static struct world w;
static uint8_t *taken; /* a flag per frame of the world */
static struct slab_cache *cache;

/* Frames passed on to be freed by another CPU; order in the low bits. */
static uint64_t mailbox[CPUS];

struct cpu_work {
  unsigned cpu;
  pfn_t f[HELD];
  unsigned order[HELD];
  unsigned count;
  uint64_t seed;
};

static void mark(pfn_t f, unsigned order, uint8_t from, uint8_t to) {
  for (uint64_t i = 0; i < (uint64_t)1 << order; i++) {
    if (__atomic_exchange_n(&taken[f.v + i - w.base], to, __ATOMIC_RELAXED) != from)
      port_host_die("a frame was handed out twice or is no RAM");
  }
}

static void keep(struct cpu_work *k, pfn_t f, unsigned order) {
  mark(f, order, WORLD_FREE, WORLD_USED);
  *(uint64_t *)port_frame_ptr(f) = k->cpu; /* unsynchronised on purpose: it is ours alone */
  k->f[k->count] = f;
  k->order[k->count++] = order;
}

static void give(pfn_t f, unsigned order) {
  mark(f, order, WORLD_USED, WORLD_FREE);
  page_free(f, order);
}

static void do_alloc(struct cpu_work *k, uint64_t r) {
  unsigned order = r % 5 ? 0 : (unsigned)(r >> 8) % (MAX_ORDER + 1);
  pfn_t f;
  if (k->count < HELD && page_alloc(order, (alloc_flags_t)(r >> 16) % 3, &f) == ERR_OK)
    keep(k, f, order);
}

static void do_alloc_at(struct cpu_work *k, uint64_t r) {
  unsigned order = (unsigned)(r >> 8) % 4;
  pfn_t f = pfn((w.base + (r >> 16) % F(24)) & ~(((uint64_t)1 << order) - 1));
  if (k->count < HELD && page_alloc_at(f, order, ALLOC_MOVABLE) == ERR_OK)
    keep(k, f, order);
}

static void do_free(struct cpu_work *k, uint64_t r) {
  if (k->count == 0)
    return;
  unsigned i = (unsigned)(r >> 8) % k->count;
  pfn_t f = k->f[i];
  unsigned order = k->order[i];
  k->count--;
  k->f[i] = k->f[k->count];
  k->order[i] = k->order[k->count];
  if (r >> 40 & 1) {
    give(f, order);
    return;
  }
  uint64_t other = atomic_exchange(&mailbox[(r >> 41) % CPUS], f.v << 8 | order | 0x80);
  if (other)
    give(pfn(other >> 8), other & 0x7f);
}

static void do_claim(struct cpu_work *k, uint64_t r) {
  if (k->count == 0)
    return;
  unsigned i = (unsigned)(r >> 8) % k->count;
  if (frame_state(k->f[i]) == FRAME_CACHED || frame_state(k->f[i]) == FRAME_OWNED)
    frame_set_state(k->f[i], k->order[i], FRAME_OWNED, (owner_t)(k->cpu + 1), r);
}

static void look(uint64_t r) {
  struct ledger l;
  struct buddyinfo info;
  if (r >> 8 & 15) {
    frame_state(pfn(w.base + (r >> 16) % w.frames));
    return;
  }
  ledger_read(&l);
  page_buddyinfo(0, &info);
  page_free_frames();
}

static void *run(void *arg) {
  struct cpu_work *k = arg;
  port_host_cpu = k->cpu;
  for (unsigned step = 0; step < STEPS; step++) {
    uint64_t r = world_random(&k->seed);
    switch (r >> 56 & 15) {
    case 0:
      do_alloc_at(k, r);
      break;
    case 1:
      do_claim(k, r);
      break;
    case 2:
      look(r);
      break;
    case 3:
      slab_free(cache, slab_alloc(cache));
      break;
    case 4:
      if ((r & 63) == 0)
        page_drain_local();
      break;
    default:
      if (r >> 60 & 1)
        do_alloc(k, r);
      else
        do_free(k, r);
    }
  }
  while (k->count)
    do_free(k, ~(uint64_t)0);
  return NULL;
}

static void cpus_do_not_disturb_each_other(void **state) {
  (void)state;
  static struct cpu_work work[CPUS];
  pthread_t thread[CPUS];
  world_create(&w, &map);
  taken = w.what;
  assert_int_equal(slab_create("shared", 200, 0, &cache), ERR_OK);
  for (unsigned i = 0; i < CPUS; i++) {
    work[i] = (struct cpu_work){.cpu = i, .seed = 1234567 + i * 99991};
    pthread_create(&thread[i], NULL, run, &work[i]);
  }
  for (unsigned i = 0; i < CPUS; i++)
    pthread_join(thread[i], NULL);
  for (unsigned i = 0; i < CPUS; i++) {
    if (mailbox[i])
      give(pfn(mailbox[i] >> 8), mailbox[i] & 0x7f);
  }
  slab_destroy(cache);
  slab_shrink_all(~(uint64_t)0);
  for (port_host_cpu = 0; port_host_cpu < CPUS; port_host_cpu++)
    page_drain_local();
  port_host_cpu = 0;
  struct ledger l;
  ledger_read(&l);
  assert_int_equal(l.frames[FRAME_CORE], 0);
  assert_int_equal(page_free_frames(), w.free);
  assert_int_equal(l.frames[FRAME_FREE], page_free_frames());
  assert_int_equal(l.frames[FRAME_CACHED] + l.frames[FRAME_OWNED], 0);
  world_destroy(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(cpus_do_not_disturb_each_other)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
