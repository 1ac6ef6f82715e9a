/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Per-CPU lists: what most allocations and frees meet, without a lock.
 *
 * Each CPU has, per migrate type, a stack of single frames and a short one of whole pageblocks; what lies there is in state CACHED with
 * FRAME_F_PERCPU and of the CPU's own node. An empty stack is refilled by a batch under one hold of the zone's lock, from few blocks, so that
 * it hands out ascending neighbours; a full one gives its oldest part back, neighbours as blocks again. A batch doubles with each refill and
 * halves with each overflow. Only the owning CPU, interrupts masked, writes its stacks; others may glimpse at the counts, and ask by
 * `drain_wanted` for all of it.
 *
 * A refill stops at the low watermark: below, requests go to the buddy one by one (slowpath.c).
 */
#include "core/string.h"
#include "mm/zone.h"

struct percpu percpus[PORT_CPUS_MAX];
struct percpu *percpu_of[PORT_CPUS_MAX];

/* --- single frames --------------------------------------------------------------------------------------------------------------- */

static unsigned allowance(const struct zone *z, unsigned want) {
  uint32_t reserve = zone_reserve(z, MARK_LOW);
  if (z->free <= reserve)
    return 0;
  return z->free - reserve < want ? z->free - reserve : want;
}

/* Blocks from the node's own zones; returns their number. */
static unsigned take(const struct percpu *pc, enum migratetype type, unsigned want, struct block *to) {
  unsigned got = 0;
  for (const uint8_t *i = pc->zones; *i < zone_count && got == 0; i++) {
    struct zone *z = &zones[*i];
    if (PAGEBLOCK_STATE(PAGEBLOCK_SPLIT, z->node) != pc->local)
      break;
    port_lock_acquire(&z->lock);
    got = buddy_take_many(z, type, to, allowance(z, want));
    port_lock_release(&z->lock);
  }
  return got;
}

/* The frames of a block, the last one first, so that they are handed out in ascending order. */
static ALWAYS_INLINE pfn_t *add_block(pfn_t *to, const struct block *block, uint64_t word) {
  uint64_t first = index_pfn(block->index).v;
  struct frame *frame = frame_at(block->index);
  for (unsigned i = 1u << block->order; i-- != 0;) {
    word_store(&frame[i], word);
    atomic_store_relaxed(&to->v, first + i);
    to++;
  }
  return to;
}

bool percpu_refill(struct percpu *pc, enum migratetype type) {
  struct percpu_list *list = &pc->list[type];
  struct block batch[PERCPU_BATCH];
  pfn_t *to = list->frames;
  for (unsigned left = list->high == 0 ? 0 : take(pc, type, list->batch, batch); left != 0;)
    to = add_block(to, &batch[--left], list->word);
  unsigned got = (unsigned)(to - list->frames);
  atomic_store_relaxed(&list->count, got);
  if (list->batch < PERCPU_BATCH)
    list->batch *= 2;
  ledger_move(pc, ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(FRAME_CACHED, OWNER_CORE), got);
  return got != 0;
}

/* How many of the frames, the first ones, lie in the zone. */
static unsigned count_in_zone(const struct zone *z, const pfn_t *frames, unsigned count) {
  unsigned n = 1;
  if (zone_count == 1)
    return count;
  while (n < count && pfn_index(frames[n]) - z->start < z->end - z->start)
    n++;
  return n;
}

/* Frames of one zone, or pageblocks, up to the first of another; returns how many went. */
static unsigned give_zone(const pfn_t *frames, unsigned count, bool whole) {
  struct zone *z = zone_of(pfn_index(frames[0]));
  unsigned n = count_in_zone(z, frames, count);
  port_lock_acquire(&z->lock);
  if (whole)
    buddy_give_pageblocks(z, frames, n);
  else
    buddy_give_frames(z, frames, n);
  port_lock_release(&z->lock);
  return n;
}

void percpu_drain(struct percpu *pc, struct percpu_list *list, unsigned count) {
  unsigned left = list->count - count;
  const pfn_t *frames = list->frames + left;
  for (unsigned done = 0; done < count;)
    done += give_zone(frames + done, count - done, false);
  atomic_store_relaxed(&list->count, left);
  if (list->batch > PERCPU_BATCH_MIN)
    list->batch /= 2;
  ledger_move(pc, ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_FREE, OWNER_CORE), count);
}

/* --- whole pageblocks ------------------------------------------------------------------------------------------------------------ */

static unsigned take_pageblocks(struct zone *z, enum migratetype type, unsigned want, pfn_t *to) {
  port_lock_acquire(&z->lock);
  unsigned got = buddy_take_pageblocks(z, type, to, allowance(z, want << PAGEBLOCK_ORDER) >> PAGEBLOCK_ORDER);
  port_lock_release(&z->lock);
  return got;
}

bool percpu_refill_blocks(struct percpu *pc, enum migratetype type) {
  struct percpu_blocks *list = &pc->blocks[type];
  unsigned got = 0;
  for (const uint8_t *i = pc->zones; list->high != 0 && got == 0 && *i < zone_count; i++) {
    if (PAGEBLOCK_STATE(PAGEBLOCK_SPLIT, zones[*i].node) != pc->local)
      break;
    got = take_pageblocks(&zones[*i], type, list->batch, list->frames);
  }
  for (unsigned i = 0; i < got; i++)
    word_store(frame_of(list->frames[i]), list->word);
  for (unsigned i = 0; i < got / 2; i++) { /* the first taken is the first handed out */
    pfn_t f = list->frames[i];
    atomic_store_relaxed(&list->frames[i].v, list->frames[got - 1 - i].v);
    atomic_store_relaxed(&list->frames[got - 1 - i].v, f.v);
  }
  atomic_store_relaxed(&list->count, got);
  if (list->batch < PERCPU_BLOCK_BATCH)
    list->batch *= 2;
  ledger_move(pc, ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(FRAME_CACHED, OWNER_CORE), got << PAGEBLOCK_ORDER);
  return got != 0;
}

void percpu_drain_blocks(struct percpu *pc, struct percpu_blocks *list, unsigned count) {
  unsigned left = list->count - count;
  for (unsigned done = 0; done < count;)
    done += give_zone(list->frames + left + done, count - done, true);
  atomic_store_relaxed(&list->count, left);
  if (list->batch > 1)
    list->batch /= 2;
  ledger_move(pc, ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_FREE, OWNER_CORE), count << PAGEBLOCK_ORDER);
}

/* --- all of it ------------------------------------------------------------------------------------------------------------------- */

void percpu_drain_all(struct percpu *pc) {
  atomic_store_relaxed(&pc->drain_wanted, 0);
  for (unsigned type = 0; type < PERCPU_TYPES; type++) {
    percpu_drain(pc, &pc->list[type], pc->list[type].count);
    percpu_drain_blocks(pc, &pc->blocks[type], pc->blocks[type].count);
  }
}

/* Whole pageblocks that a CPU may keep per type: 1/64 of RAM, all CPUs and types together being a multiple of that on small machines only. */
static uint32_t block_high(void) {
  uint64_t managed = 0;
  for (unsigned i = 0; i < zone_count; i++)
    managed += zones[i].managed;
  return (uint32_t)min_u64(managed >> PAGEBLOCK_ORDER >> 6, 2 * PERCPU_BLOCK_BATCH);
}

void percpu_set_enabled(bool on) {
  uint32_t blocks = on ? block_high() : 0;
  for (struct percpu *pc = percpus; pc < percpus + PORT_CPUS_MAX; pc++) {
    for (unsigned type = 0; type < PERCPU_TYPES; type++) {
      atomic_store_relaxed(&pc->list[type].high, on ? PERCPU_ROOM : 0);
      atomic_store_relaxed(&pc->blocks[type].high, blocks);
    }
  }
}

static void set_up(struct percpu *pc) {
  for (unsigned type = 0; type <= PERCPU_TYPES; type++)
    pc->lists[type] = &pc->list[type];
  for (unsigned type = 0; type < PERCPU_TYPES; type++) {
    pc->list[type].batch = PERCPU_BATCH_MIN;
    pc->list[type].word = word_make(FRAME_CACHED, 0, type, FRAME_F_HEAD | FRAME_F_PERCPU);
    pc->blocks[type].batch = 1;
    pc->blocks[type].word = word_make(FRAME_CACHED, PAGEBLOCK_ORDER, type, FRAME_F_HEAD | FRAME_F_PERCPU);
  }
  pc->local = PAGEBLOCK_STATE(PAGEBLOCK_SPLIT, 0);
  pc->zones = zone_order[0];
}

void percpu_reset(void) {
  if (ledger_total() != 0) /* not the first time: the image's own memory came zeroed */
    memset(percpus, 0, sizeof(percpus));
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++) {
    percpu_of[cpu] = &percpus[cpu];
    set_up(&percpus[cpu]);
  }
}

err_t page_set_cpu_node(unsigned cpu, unsigned node) {
  if (cpu >= PORT_CPUS_MAX || node >= NODES_MAX)
    return ERR_INVAL;
  struct percpu *pc = &percpus[cpu];
  for (unsigned type = 0; type < PERCPU_TYPES; type++)
    CHECK(pc->list[type].count == 0 && pc->blocks[type].count == 0);
  pc->local = PAGEBLOCK_STATE(PAGEBLOCK_SPLIT, node);
  pc->zones = zone_order[node];
  return ERR_OK;
}

static uint64_t count_in(const pfn_t *frames, uint32_t count, pfn_t start, pfn_t end) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint64_t f = atomic_load_relaxed(&frames[i].v);
    sum += f >= start.v && f < end.v;
  }
  return sum;
}

uint64_t percpu_cached(pfn_t start, pfn_t end) {
  uint64_t sum = 0;
  for (const struct percpu *pc = percpus; pc < percpus + PORT_CPUS_MAX; pc++) {
    for (unsigned type = 0; type < PERCPU_TYPES; type++) {
      sum += count_in(pc->list[type].frames, atomic_load_relaxed(&pc->list[type].count), start, end);
      sum += count_in(pc->blocks[type].frames, atomic_load_relaxed(&pc->blocks[type].count), start, end) << PAGEBLOCK_ORDER;
    }
  }
  return sum;
}

/* --- drains that others ask for ---------------------------------------------------------------------------------------------------- */

void page_drain_local(void) {
  port_flags_t irq = port_irq_save();
  percpu_drain_all(percpu_this());
  port_irq_restore(irq);
}

void page_drain_poll(void) {
  port_flags_t irq = port_irq_save();
  struct percpu *pc = percpu_this();
  if (unlikely(atomic_load_relaxed(&pc->drain_wanted) != 0))
    percpu_drain_all(pc);
  port_irq_restore(irq);
}

static bool has_some(const struct percpu *pc) {
  uint32_t sum = 0;
  for (unsigned type = 0; type < PERCPU_TYPES; type++)
    sum |= atomic_load_relaxed(&pc->list[type].count) | atomic_load_relaxed(&pc->blocks[type].count);
  return sum != 0;
}

bool page_drain_others(void) {
  port_flags_t irq = port_irq_save();
  const struct percpu *self = percpu_this();
  bool asked = false;
  port_irq_restore(irq);
  for (struct percpu *pc = percpus; pc < percpus + PORT_CPUS_MAX; pc++) {
    if (pc == self || !has_some(pc))
      continue;
    atomic_store_relaxed(&pc->drain_wanted, 1);
    asked = true;
  }
  if (asked)
    port_kick_others();
  return asked;
}
