/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory on the move under four CPUs, with ThreadSanitizer watching: two of them allocate, write, compare and free blocks of their own; one
 * compacts by both policies in all modes, takes contiguous ranges and gives them back; one fragments, and moves whatever it comes upon. A
 * block's contents are known to its owner alone, so a lost, doubled or torn copy is found; in the end every frame is free again.
 */
// sources: tests/host/host_zone.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -fno-sanitize=address,undefined -fsanitize=thread
// libs: -fno-sanitize=address,undefined -fsanitize=thread -lpthread
#include "core/atomic.h"
#include "host_zone.h"
#include "mm/compact.h"
#include "mm/fragment.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "mm/port.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FRAMES ((uint64_t)24 << 9) /* 48 MiB */
#define OWNERS 2u
#define SLOTS 2048u
#define STEPS 60000u
#define FRAGMENTER ((owner_t)(OWNERS + 1))

struct slot {
  uint64_t at; /* 0: none */
  uint64_t value;
  unsigned order;
};

/* One thread's blocks. Its lock covers the slots and what the frames hold. */
static struct owner {
  struct port_lock lock;
  struct slot slot[SLOTS];
  uint64_t seed, wrong;
} owners[OWNERS];

static pfn_t base;
static unsigned working; /* owners that are not done yet */
static uint64_t moved, ranges, won, direct;

static uint64_t next_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545f4914f6cdd1dull;
}

static bool still_working(void) {
  return __atomic_load_n(&working, __ATOMIC_ACQUIRE) != 0;
}

/* --- the owners' side of a move -------------------------------------------------------------------------------------------------- */

static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  if (owner == FRAGMENTER)
    return fragment_migrate_ops.freeze(from, order, owner, rmap);
  if (owner == 0 || owner > OWNERS || rmap >= SLOTS)
    return ERR_NOENT;
  struct owner *o = &owners[owner - 1];
  port_lock_acquire(&o->lock);
  if (o->slot[rmap].at == from.v && o->slot[rmap].order == order)
    return ERR_OK;
  port_lock_release(&o->lock);
  return ERR_NOENT;
}

static void move(pfn_t from, pfn_t to, unsigned order) {
  if (frame_of(to)->owner == FRAGMENTER) {
    fragment_migrate_ops.move(from, to, order);
    return;
  }
  for (uint64_t i = 0; i < (uint64_t)1 << order; i++)
    port_copy_frame(pfn_add(to, i), pfn_add(from, i));
  owners[frame_of(to)->owner - 1].slot[frame_of(to)->rmap].at = to.v;
}

static void thaw(pfn_t at, unsigned order, owner_t owner) {
  if (owner == FRAGMENTER)
    fragment_migrate_ops.thaw(at, order, owner);
  else
    port_lock_release(&owners[owner - 1].lock);
}

static const struct migrate_ops ops = {.freeze = freeze, .move = move, .thaw = thaw};

/* --- owners at work -------------------------------------------------------------------------------------------------------------- */

static uint64_t *word_of(const struct slot *s, uint64_t i) {
  return (uint64_t *)port_frame_ptr(pfn(s->at + i)) + s->value % 512;
}

static void fill(const struct slot *s) {
  for (uint64_t i = 0; i < (uint64_t)1 << s->order; i++)
    *word_of(s, i) = s->value + i;
}

static void compare(struct owner *o, const struct slot *s) {
  for (uint64_t i = 0; i < (uint64_t)1 << s->order; i++)
    o->wrong += *word_of(s, i) != s->value + i;
}

static void acquire_block(struct owner *o, uint64_t id, uint64_t r) {
  unsigned order = r >> 20 & 3 ? 0 : (unsigned)(r >> 24) % 6;
  struct slot s = {.value = r, .order = order};
  pfn_t f;
  if (page_alloc(order, ALLOC_MOVABLE | (r >> 30 & 1 ? ALLOC_MAY_COMPACT : 0), &f) != ERR_OK)
    return;
  s.at = f.v;
  fill(&s);
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&o->lock);
  o->slot[id] = s;
  frame_set_state(f, order, FRAME_OWNED, (owner_t)(o - owners + 1), id);
  port_lock_release(&o->lock);
  port_irq_restore(irq);
}

/* Look at the block, then write it anew or give it back. */
static void visit_block(struct owner *o, struct slot *s, uint64_t r) {
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&o->lock);
  struct slot gone = *s;
  compare(o, s);
  if (r & 3) {
    s->value = r;
    fill(s);
  } else {
    s->at = 0;
  }
  port_lock_release(&o->lock);
  port_irq_restore(irq);
  if ((r & 3) == 0)
    page_free(pfn(gone.at), gone.order);
}

static bool has_block(struct owner *o, uint64_t id) {
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&o->lock);
  bool has = o->slot[id].at != 0;
  port_lock_release(&o->lock);
  port_irq_restore(irq);
  return has;
}

static void *work(void *arg) {
  struct owner *o = arg;
  port_host_cpu = 2 + (unsigned)(o - owners);
  for (unsigned step = 0; step < STEPS; step++) {
    uint64_t r = next_random(&o->seed), id = (r >> 40) % SLOTS;
    if (has_block(o, id))
      visit_block(o, &o->slot[id], r);
    else
      acquire_block(o, id, r);
    if (step % 64 == 0)
      page_drain_poll();
  }
  for (unsigned id = 0; id < SLOTS; id++) {
    if (has_block(o, id))
      visit_block(o, &o->slot[id], 0);
  }
  __atomic_sub_fetch(&working, 1, __ATOMIC_RELEASE);
  return NULL;
}

/* --- compaction and contiguous ranges -------------------------------------------------------------------------------------------- */

static void compact_once(unsigned round) {
  static const enum compact_mode modes[] = {COMPACT_SYNC, COMPACT_PROACTIVE, COMPACT_ASYNC};
  struct compact_request r = {.policy = round & 1 ? &compact_classic : &compact_occupancy,
                              .mode = modes[round % 3],
                              .order = PAGEBLOCK_ORDER,
                              .owner = COMPACT_ANY_OWNER};
  struct compact_run run;
  if (compact_begin(&run, &r) != ERR_OK)
    return;
  for (unsigned step = 0; compact_step(&run, 32) == ERR_AGAIN; step++) {
    page_drain_poll();
    if (step == 400)
      compact_stop(&run);
  }
  compact_end(&run);
  __atomic_add_fetch(&moved, run.report.moved_frames, __ATOMIC_RELAXED);
  __atomic_add_fetch(&won, run.report.pageblocks_freed, __ATOMIC_RELAXED);
}

static void take_range(unsigned round) {
  struct contig_run run;
  err_t err = ERR_AGAIN;
  if (contig_begin(&run, PAGEBLOCK_FRAMES << (round & 1), PAGEBLOCK_FRAMES, base, pfn_add(base, FRAMES)) != ERR_OK)
    return;
  for (unsigned step = 0; err == ERR_AGAIN; step++) {
    err = contig_step(&run, 32);
    page_drain_poll();
    if (step == 300 + round % 64)
      contig_stop(&run);
  }
  __atomic_add_fetch(&moved, run.moved_frames, __ATOMIC_RELAXED);
  if (err != ERR_OK)
    return;
  ranges++;
  port_zero_frames(run.start, run.frames); /* whoever still had a part of it would notice */
  contig_free(run.start, run.frames);
}

static void *compact_all(void *arg) {
  (void)arg;
  port_host_cpu = 0;
  for (unsigned round = 0; still_working(); round++) {
    compact_once(round);
    take_range(round);
    sched_yield();
  }
  return NULL;
}

/* --- fragments, and moves of anything -------------------------------------------------------------------------------------------- */

static void move_some(uint64_t *seed) {
  for (unsigned i = 0; i < 256; i++) {
    pfn_t from = pfn_add(base, next_random(seed) % FRAMES), to;
    if (frame_state(from) != FRAME_OWNED || frame_movable(from) != MOVE_DONE || page_alloc(0, ALLOC_MOVABLE, &to) != ERR_OK)
      continue;
    if (frame_move(from, 0, to) == MOVE_DONE)
      __atomic_add_fetch(&direct, 1, __ATOMIC_RELAXED);
    else
      page_free(to, 0);
  }
}

static void *fragment_all(void *arg) {
  uint64_t seed = 99, *bad = arg;
  err_t err;
  port_host_cpu = 1;
  for (unsigned round = 0; still_working(); round++) {
    const struct fragment_config c = {
        .seed = round, .frames = FRAMES / 4, .occupancy = 50, .unmovable = 1, .words = 2, .owner = FRAGMENTER};
    *bad += fragment_begin(&c) != ERR_OK;
    while (fragment_step(64) == ERR_AGAIN)
      move_some(&seed);
    fragment_verify_begin();
    while ((err = fragment_verify_step(64)) == ERR_AGAIN)
      page_drain_poll();
    *bad += err != ERR_OK;
    while (fragment_free_step(64) == ERR_AGAIN)
      page_drain_poll();
  }
  return NULL;
}

/* --------------------------------------------------------------------------------------------------------------------------------- */

static void nothing_is_lost_on_the_move(void **state) {
  (void)state;
  pthread_t thread[OWNERS + 2];
  uint64_t bad = 0;
  struct ledger l;
  base = host_zone_create(FRAMES);
  migrate_set_ops(&ops);
  working = OWNERS;
  for (unsigned i = 0; i < OWNERS; i++) {
    owners[i].seed = 4711 + i;
    pthread_create(&thread[i], NULL, work, &owners[i]);
  }
  pthread_create(&thread[OWNERS], NULL, compact_all, NULL);
  pthread_create(&thread[OWNERS + 1], NULL, fragment_all, &bad);
  for (unsigned i = 0; i < OWNERS + 2; i++)
    pthread_join(thread[i], NULL);
  print_message("%lu frames moved for %lu free pageblocks and %lu ranges, %lu at random\n", (unsigned long)moved, (unsigned long)won,
                (unsigned long)ranges, (unsigned long)direct);
  assert_int_equal(owners[0].wrong + owners[1].wrong, 0);
  assert_int_equal(bad, 0);
  assert_true(moved > 500 && ranges > 0 && direct > 100);
  for (port_host_cpu = 0; port_host_cpu < OWNERS + 2; port_host_cpu++)
    page_drain_local();
  port_host_cpu = 0;
  ledger_read(&l);
  assert_int_equal(l.frames[FRAME_FREE], FRAMES);
  assert_int_equal(page_free_frames(), FRAMES);
  for (uint64_t i = 0; i < FRAMES; i += PAGEBLOCK_FRAMES) {
    assert_int_equal(page_block_free(pfn_add(base, i)), PAGEBLOCK_FRAMES);
    assert_int_not_equal(page_block_type(pfn_add(base, i)), MIGRATE_ISOLATE);
  }
  port_host_ram_destroy();
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_lost_on_the_move)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
