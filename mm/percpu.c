/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Per-CPU lists: what most allocations and frees meet, without a lock.
 *
 * Each CPU has, per migrate type, a stack of single frames and one of whole pageblocks, and for movable frames one of runs, 64 neighbours
 * put by as a block: a pageblock's worth goes to and from the zone under one hold of its lock. What lies there is in state CACHED with
 * FRAME_F_PERCPU and of the CPU's own node. An empty stack is refilled by a batch under one hold of the zone's lock, from few blocks, so
 * that it hands out ascending neighbours; a full one gives a batch back, neighbours as blocks again. Batches of pageblocks double as long
 * as things move the same way, and are small when they turn: what goes up and down by more than a list holds takes only the difference to
 * the zone and back. A list of pageblocks that is now empty, now full grows instead, up to its share of RAM, until it is drained.
 *
 * Only the owning CPU, interrupts masked, writes its stacks; others may glimpse at the counts, and ask by `drain_wanted` for all of it. A
 * refill stops at the low watermark: below, requests go to the buddy one by one (slowpath.c).
 */
#include "core/string.h"
#include "mm/zone.h"

struct percpu percpus[PORT_CPUS_MAX];
struct percpu *percpu_of[PORT_CPUS_MAX];

/* --- how much a list holds -------------------------------------------------------------------------------------------------------- */

static unsigned cpus_used;

static uint32_t managed_pageblocks(void) {
  uint64_t managed = 0;
  for (unsigned i = 0; i < zone_count; i++)
    managed += zones[i].managed;
  return (uint32_t)(managed >> PAGEBLOCK_ORDER);
}

/*
 * Where a list begins: single frames as many as there is room for, of pageblocks 1/64 of RAM, of runs as many as there are in 1/256; 0 on a
 * machine too small.
 */
static uint32_t first_high(const struct percpu_list *list) {
  if (list->order == PERCPU_RUN_ORDER)
    return (uint32_t)min_u64(managed_pageblocks() / 32, PERCPU_RUNS_HIGH);
  return list->order == 0 ? PERCPU_ROOM : (uint32_t)min_u64(managed_pageblocks() / 64, PERCPU_BLOCKS_HIGH);
}

/* How far it may grow: all CPUs together hold 1/8 of RAM of a type (Linux: MIN_PERCPU_PAGELIST_HIGH_FRACTION). */
static uint32_t last_high(void) {
  return (uint32_t)min_u64(managed_pageblocks() / 8 / max_u64(atomic_load_relaxed(&cpus_used), 1), PERCPU_ROOM);
}

/* Not over a 0 that percpu_set_enabled() has put there meanwhile. */
static void set_high(struct percpu_list *list, uint32_t high) {
  uint32_t old = atomic_load_relaxed(&list->high);
  while (old != 0 && !atomic_cas(&list->high, &old, high))
    continue;
}

/* A list that was empty is full: so much comes and goes, and may stay. False if it must not grow any more. */
static bool grow(struct percpu_list *list) {
  uint32_t high = atomic_load_relaxed(&list->high);
  if (list->order == 0 || high == 0 || high >= last_high())
    return false;
  set_high(list, (uint32_t)min_u64(high * 2, last_high()));
  return true;
}

/*
 * How many single frames move next. A refill takes twice as many each time, less again after an overflow; back goes half a list at once:
 * neighbours, mostly, that should come as large blocks.
 */
static unsigned next_frames(struct percpu_list *list, bool refills) {
  unsigned most = (atomic_load_relaxed(&list->high) + 1) / 2, batch = list->batch;
  unsigned next = refills ? batch * 2 : batch / 2;
  list->batch = (uint16_t)(next > PERCPU_BATCH ? PERCPU_BATCH : next < PERCPU_BATCH_FIRST ? PERCPU_BATCH_FIRST : next);
  return refills && batch < most ? batch : most;
}

/* How many pageblocks: twice as many as the last time, or a pair if that was the other way. */
static unsigned next_pageblocks(struct percpu_list *list, bool refills) {
  unsigned most = (atomic_load_relaxed(&list->high) + 1) / 2, batch = list->refilled == refills && list->batch != 0 ? list->batch * 2u : 2;
  list->refilled = refills;
  list->batch = (uint16_t)(batch < most ? batch : most);
  return list->batch;
}

/* How many blocks go next into an empty list or out of a full one. */
static unsigned next_batch(struct percpu_list *list, bool refills) {
  return list->order == 0 ? next_frames(list, refills) : next_pageblocks(list, refills);
}

/* --- out of the buddy ------------------------------------------------------------------------------------------------------------ */

/* As many blocks of `order` as the zone may spare, `want` at most. */
static unsigned allowance(const struct zone *z, unsigned want, unsigned order) {
  uint32_t reserve = zone_reserve(z, MARK_LOW), spare = z->free > reserve ? (z->free - reserve) >> order : 0;
  return spare < want ? spare : want;
}

/* Runs, if nothing smaller lies about, which goes first; then larger blocks come from it only. */
static unsigned take_runs(struct zone *z, enum migratetype type, unsigned want, struct block *to) {
  bool crumbs = z->avail[type] & ((1u << PERCPU_RUN_ORDER) - 1);
  if (crumbs || z->avail[type] == 0)
    return 0;
  unsigned got = buddy_take_many(z, type, to, want << PERCPU_RUN_ORDER, PERCPU_RUN_ORDER);
  for (unsigned i = 0; i < got; i++) {
    if (pageblock_kind(pageblock_of(to[i].index)) == PAGEBLOCK_WHOLE)
      pageblock_write_entries(pageblock_of(to[i].index));
  }
  return got;
}

static ALWAYS_INLINE unsigned take_from(struct zone *z, enum migratetype type, unsigned want, struct block *to, unsigned order) {
  port_lock_acquire(&z->lock);
  want = allowance(z, want, order);
  unsigned got = order == 0                  ? buddy_take_many(z, type, to, want, 0)
                 : order == PERCPU_RUN_ORDER ? take_runs(z, type, want, to)
                                             : buddy_take_pageblocks(z, type, to, want);
  port_lock_release(&z->lock);
  return got;
}

/* From the node's own zones; returns the number of blocks, of any order. */
static ALWAYS_INLINE unsigned take(const struct percpu *pc, enum migratetype type, unsigned want, struct block *to, unsigned order) {
  unsigned got = 0;
  for (const uint8_t *i = pc->zones; *i < zone_count && got == 0; i++) {
    struct zone *z = &zones[*i];
    if (PAGEBLOCK_STATE(PAGEBLOCK_SPLIT, z->node) != pc->local)
      break;
    got = take_from(z, type, want, to, order);
  }
  return got;
}

/* The parts of a block, the last one first, so that they are handed out in ascending order. */
static ALWAYS_INLINE pfn_t *add_block(pfn_t *to, const struct block *block, uint64_t word, unsigned order) {
  struct frame *head = frame_at(block->index), *frame = head + ((uint64_t)1 << block->order);
  uint64_t f = index_pfn(block->index).v + ((uint64_t)1 << block->order), step = (uint64_t)1 << order;
  do {
    frame -= step;
    f -= step;
    word_store(frame, word);
    atomic_store_relaxed(&to->v, f);
    to++;
  } while (frame != head);
  return to;
}

/* `order`, the list's, is known at compile time. */
static ALWAYS_INLINE bool refill(struct percpu *pc, struct percpu_list *list, enum migratetype type, unsigned want, unsigned order) {
  struct block batch[PERCPU_BATCH];
  uint64_t word = list->word;
  pfn_t *to = list->frames;
  for (unsigned left = take(pc, type, want, batch, order); left != 0;)
    to = add_block(to, &batch[--left], word, order);
  unsigned got = (unsigned)(to - list->frames);
  atomic_store_relaxed(&list->count, got);
  ledger_move(pc, ledger_key(FRAME_FREE, OWNER_CORE), ledger_key(FRAME_CACHED, OWNER_CORE), got << order);
  return got != 0;
}

/* The newest run as single frames, which the list has none of; or the frames of runs taken for it, as long as refills follow each other. */
static bool refill_from_runs(struct percpu *pc, struct percpu_list *list) {
  struct percpu_list *runs = &pc->list[PERCPU_RUNS];
  if (runs->count == 0 && (list->batch < PERCPU_BATCH || !refill(pc, runs, MIGRATE_MOVABLE, runs->high, PERCPU_RUN_ORDER)))
    return false;
  struct block run = {pfn_index(runs->frames[runs->count - 1]), PERCPU_RUN_ORDER};
  atomic_store_relaxed(&runs->count, runs->count - 1);
  add_block(list->frames, &run, list->word, 0);
  atomic_store_relaxed(&list->count, PERCPU_BATCH);
  return true;
}

bool percpu_refill(struct percpu *pc, unsigned number) {
  struct percpu_list *list = &pc->list[number];
  if (number == MIGRATE_MOVABLE && list->high != 0 && refill_from_runs(pc, list))
    return true;
  unsigned batch = next_batch(list, true);
  if (batch == 0)
    return false;
  if (unlikely(!pc->used)) {
    pc->used = true;
    atomic_fetch_add_relaxed(&cpus_used, 1);
  }
  if (number < PERCPU_BLOCKS)
    return refill(pc, list, (enum migratetype)number, batch, 0);
  return refill(pc, list, (enum migratetype)(number - PERCPU_BLOCKS), batch, PAGEBLOCK_ORDER);
}

/* --- back to the buddy ------------------------------------------------------------------------------------------------------------ */

/* How many of the frames, the first ones, lie in the zone. */
static unsigned count_in_zone(const struct zone *z, const pfn_t *frames, unsigned count) {
  unsigned n = 1;
  if (zone_count == 1)
    return count;
  while (n < count && pfn_index(frames[n]) - z->start < z->end - z->start)
    n++;
  return n;
}

/* Runs of one zone: as they follow each other. */
static void give_runs(struct zone *z, const pfn_t *runs, unsigned count) {
  for (unsigned done = 0, n; done < count; done += n) {
    for (n = 1; done + n < count && runs[done + n].v == runs[done].v + n * PERCPU_BATCH;)
      n++;
    buddy_give_run(z, pfn_index(runs[done]), n << PERCPU_RUN_ORDER);
  }
}

/* Blocks of one zone, up to the first of another; returns how many went. */
static unsigned give_zone(const pfn_t *frames, unsigned count, unsigned order) {
  struct zone *z = zone_of(pfn_index(frames[0]));
  unsigned n = count_in_zone(z, frames, count);
  port_lock_acquire(&z->lock);
  if (order == 0)
    buddy_give_frames(z, frames, n);
  else if (order == PERCPU_RUN_ORDER)
    give_runs(z, frames, n);
  else
    buddy_give_pageblocks(z, frames, n);
  port_lock_release(&z->lock);
  return n;
}

void percpu_drain(struct percpu *pc, struct percpu_list *list, unsigned count) {
  unsigned left = list->count - count;
  const pfn_t *frames = list->frames + left;
  for (unsigned done = 0; done < count;)
    done += give_zone(frames + done, count - done, list->order);
  atomic_store_relaxed(&list->count, left);
  ledger_move(pc, ledger_key(FRAME_CACHED, OWNER_CORE), ledger_key(FRAME_FREE, OWNER_CORE), count << list->order);
}

/* Are these frames the neighbours of a run, in ascending order? */
static bool are_run(const pfn_t *frames) {
  if (!is_aligned(frames[0].v, PERCPU_BATCH) || frames[PERCPU_BATCH - 1].v != frames[0].v + PERCPU_BATCH - 1)
    return false;
  for (unsigned i = 1; i < PERCPU_BATCH - 1; i++) {
    if (frames[i].v != frames[0].v + i)
      return false;
  }
  return true;
}

/* The newest frames of a full list, if they are a run, become one; when there are enough of them, all go to the zone. */
static bool put_by(struct percpu *pc, struct percpu_list *list) {
  struct percpu_list *runs = &pc->list[PERCPU_RUNS];
  const pfn_t *newest = list->frames + list->count - PERCPU_BATCH;
  if (list != &pc->list[MIGRATE_MOVABLE] || list->count < PERCPU_BATCH || runs->high == 0 || !are_run(newest))
    return false;
  if (runs->count >= runs->high)
    percpu_drain(pc, runs, runs->count);
  word_store(frame_of(newest[0]), runs->word);
  atomic_store_relaxed(&runs->frames[runs->count].v, newest[0].v);
  atomic_store_relaxed(&runs->count, runs->count + 1);
  atomic_store_relaxed(&list->count, list->count - PERCPU_BATCH);
  return true;
}

void percpu_make_room(struct percpu *pc, struct percpu_list *list) {
  bool turned = list->refilled;
  unsigned batch = next_batch(list, false);
  if ((turned && grow(list)) || put_by(pc, list))
    return;
  percpu_drain(pc, list, batch != 0 && batch < list->count ? batch : list->count);
}

/* --- all of it ------------------------------------------------------------------------------------------------------------------- */

void percpu_drain_all(struct percpu *pc) {
  atomic_store_relaxed(&pc->drain_wanted, 0);
  for (struct percpu_list *list = pc->list; list < pc->list + PERCPU_LISTS; list++) {
    percpu_drain(pc, list, list->count);
    if (list->order != 0)
      set_high(list, first_high(list));
  }
}

void percpu_set_enabled(bool on) {
  for (struct percpu *pc = percpus; pc < percpus + PORT_CPUS_MAX; pc++) {
    for (unsigned type = 0; type < PERCPU_TYPES; type++) {
      for (unsigned number = type; number < PERCPU_RUNS; number += PERCPU_BLOCKS)
        atomic_store_relaxed(&pc->list[number].high, on ? first_high(&pc->list[number]) : 0);
    }
    atomic_store_relaxed(&pc->list[PERCPU_RUNS].high, on ? first_high(&pc->list[PERCPU_RUNS]) : 0);
  }
}

static void set_up(struct percpu *pc) {
  for (unsigned number = 0; number < PERCPU_LISTS; number++) {
    struct percpu_list *list = &pc->list[number];
    list->order = number < PERCPU_BLOCKS ? 0 : number < PERCPU_RUNS ? PAGEBLOCK_ORDER : PERCPU_RUN_ORDER;
    list->batch = number < PERCPU_BLOCKS ? PERCPU_BATCH_FIRST : 0;
    unsigned type = number == PERCPU_RUNS ? MIGRATE_MOVABLE : number % PERCPU_BLOCKS;
    list->word = word_make(FRAME_CACHED, list->order, type, FRAME_F_HEAD | FRAME_F_PERCPU);
    pc->lists[number] = list;
  }
  pc->local = PAGEBLOCK_STATE(PAGEBLOCK_SPLIT, 0);
  pc->zones = zone_order[0];
}

void percpu_reset(void) {
  if (ledger_total() != 0) /* not the first time: the image's own memory came zeroed */
    memset(percpus, 0, sizeof(percpus));
  cpus_used = 0;
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++) {
    percpu_of[cpu] = &percpus[cpu];
    set_up(&percpus[cpu]);
  }
}

static bool has_some(const struct percpu *pc) {
  uint32_t sum = 0;
  for (const struct percpu_list *list = pc->list; list < pc->list + PERCPU_LISTS; list++)
    sum |= atomic_load_relaxed(&list->count);
  return sum != 0;
}

err_t page_set_cpu_node(unsigned cpu, unsigned node) {
  if (cpu >= PORT_CPUS_MAX || node >= NODES_MAX)
    return ERR_INVAL;
  struct percpu *pc = &percpus[cpu];
  CHECK(!has_some(pc));
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
    for (const struct percpu_list *list = pc->list; list < pc->list + PERCPU_LISTS; list++)
      sum += count_in(list->frames, atomic_load_relaxed(&list->count), start, end) << list->order;
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

bool page_drain_others(void) {
  port_flags_t irq = port_irq_save();
  const struct percpu *self = percpu_this();
  bool asked = false, newly = false;
  port_irq_restore(irq);
  for (struct percpu *pc = percpus; pc < percpus + PORT_CPUS_MAX; pc++) {
    if (pc == self || !has_some(pc))
      continue;
    newly |= atomic_exchange(&pc->drain_wanted, 1u) == 0; /* else the last kick is still on its way */
    asked = true;
  }
  if (newly)
    port_kick_others();
  return asked;
}
