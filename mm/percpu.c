/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Per-CPU lists of single frames: what most allocations and frees meet, without a lock.
 *
 * Each CPU has a stack of frame indexes per migrate type; its frames are in state CACHED with FRAME_F_PERCPU. An empty stack is
 * refilled by a batch under one hold of the zone's lock, preferably from one block, so that it hands out ascending neighbours; a full
 * one gives its oldest half back, neighbours as blocks again. Only the owning CPU, interrupts masked, writes its stacks; others may
 * glimpse at the counts.
 *
 * A refill stops at the min watermark; an ALLOC_ATOMIC one goes below by a single frame, lest the rest of its batch feed others.
 */
#include "core/string.h"
#include "mm/zone.h"

struct percpu percpus[PORT_CPUS_MAX];
struct percpu *percpu_of[PORT_CPUS_MAX];

static uint32_t allowance(const struct zone *z, bool atomic) {
  if (z->free > z->min)
    return z->free - z->min < PERCPU_BATCH ? z->free - z->min : PERCPU_BATCH;
  return atomic && z->free != 0;
}

static unsigned take(struct zone *z, enum migratetype type, bool atomic, struct block *to) {
  unsigned got;
  port_lock_acquire(&z->lock);
  got = buddy_take_many(z, type, to, allowance(z, atomic));
  port_lock_release(&z->lock);
  return got;
}

/* The frames of a block, the last one first, so that they are handed out in ascending order. */
static pfn_t *add_block(pfn_t *to, const struct block *block, uint64_t word) {
  pfn_t first = index_pfn(block->index);
  struct frame *frame = frame_at(block->index);
  for (unsigned i = 1u << block->order; i-- != 0;) {
    frame_reset(&frame[i], word);
    atomic_store_relaxed(&to->v, first.v + i);
    to++;
  }
  return to;
}

bool percpu_refill(struct percpu *pc, enum migratetype type, bool atomic) {
  uint64_t word = word_make(FRAME_CACHED, 0, type, FRAME_F_HEAD | FRAME_F_PERCPU);
  struct block batch[PERCPU_BATCH];
  pfn_t *to = pc->frames[type];
  unsigned got = 0;
  for (struct zone *z = zones; z < zones + zone_count && got == 0; z++)
    got = take(z, type, atomic, batch);
  for (const struct block *block = batch; to < pc->frames[type] + got; block++)
    to = add_block(to, block, word);
  atomic_store_relaxed(&pc->count[type], got);
  ledger_move(pc, ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(FRAME_CACHED, OWNER_CORE), got);
  return got != 0;
}

/* The first entries of `frames` that are neighbours, up or down: their number, and the lowest of them. */
static ALWAYS_INLINE unsigned take_run(const pfn_t *frames, unsigned count, pfn_t *lowest) {
  uint64_t step = count > 1 ? frames[1].v - frames[0].v : 0, expected = frames[0].v + step;
  unsigned length = 1;
  if (step == 1 || step == ~(uint64_t)0) {
    for (; length < count && frames[length].v == expected; length++)
      expected += step;
  }
  *lowest = step == 1 ? frames[0] : frames[length - 1];
  return length;
}

/* Frames of one zone up to the first of another; returns how many went. */
static unsigned give_zone(const pfn_t *frames, unsigned count) {
  struct zone *z = zone_of(pfn_index(frames[0]));
  unsigned done = 0;
  port_lock_acquire(&z->lock);
  while (done < count && pfn_index(frames[done]) >= z->start && pfn_index(frames[done]) < z->end) {
    pfn_t lowest;
    unsigned length = take_run(frames + done, count - done, &lowest);
    buddy_give_run(z, pfn_index(lowest), length);
    done += length;
  }
  port_lock_release(&z->lock);
  return done;
}

void percpu_drain(struct percpu *pc, unsigned type, unsigned count) {
  uint64_t left = pc->count[type] - count;
  const pfn_t *frames = pc->frames[type] + left;
  for (unsigned done = 0; done < count;)
    done += give_zone(frames + done, count - done);
  atomic_store_relaxed(&pc->count[type], left);
  ledger_move(pc, ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_FREE, OWNER_CORE), count);
}

void percpu_drain_all(struct percpu *pc) {
  for (unsigned type = 0; type < PERCPU_TYPES; type++)
    percpu_drain(pc, type, (unsigned)pc->count[type]);
}

void percpu_reset(void) {
  if (ledger_total() != 0) /* not the first time: the image's own memory came zeroed */
    memset(percpus, 0, sizeof(percpus));
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++)
    percpu_of[cpu] = &percpus[cpu];
}

static uint64_t count_in(const struct percpu *pc, unsigned type, pfn_t start, pfn_t end) {
  uint64_t sum = 0, count = atomic_load_relaxed(&pc->count[type]);
  for (uint64_t i = 0; i < count; i++) {
    uint64_t f = atomic_load_relaxed(&pc->frames[type][i].v);
    sum += f >= start.v && f < end.v;
  }
  return sum;
}

uint64_t percpu_cached(pfn_t start, pfn_t end) {
  uint64_t sum = 0;
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++) {
    for (unsigned type = 0; type < PERCPU_TYPES; type++)
      sum += count_in(&percpus[cpu], type, start, end);
  }
  return sum;
}
