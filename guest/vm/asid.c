/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The ASID allocator: see asid.h. Modelled on Linux's arch/arm64/mm/context.c, whose argument for the lock-free path is kept: a CPU may go
 * on with its ASID if, in one step, it finds the generation current and its active[] entry not zeroed. A rollover zeroes that entry with an
 * exchange, so either the CPU is seen (and its ASID reserved into the new generation) or it sees the zero and takes the lock.
 *
 * Invariant: two contexts of the current generation never share an ASID. Lock: space->lock, interrupts masked by the caller.
 */

#include "guest/vm/asid.h"
#include "core/atomic.h"
#include "core/bits.h"
#include "core/check.h"
#include "core/string.h"

#define GENERATION_STEP ((uint64_t)1 << ASID_MAX_BITS)
#define ASID_OF(id_) ((uint32_t)((id_) & (GENERATION_STEP - 1)))
#define GENERATION_OF(id_) ((id_) & ~(GENERATION_STEP - 1))

static bool test_and_set(struct asid_space *s, uint32_t asid) {
  uint64_t bit = BIT(asid % 64);
  bool was = s->used[asid / 64] & bit;
  s->used[asid / 64] |= bit;
  return was;
}

err_t asid_space_init(struct asid_space *s, unsigned bits) {
  if (bits != 8 && bits != 16)
    return ERR_INVAL;
  memset(s, 0, sizeof *s);
  s->bits = bits;
  s->next = 1;
  s->generation = GENERATION_STEP;
  return ERR_OK;
}

/* A new generation: what runs now keeps its ASID, and every CPU owes a flush. */
static void rollover(struct asid_space *s) {
  atomic_add_fetch(&s->generation, GENERATION_STEP);
  memset(s->used, 0, sizeof s->used);
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++) {
    uint64_t id = atomic_exchange(&s->active[cpu], 0);
    /* A CPU that has not switched since the last rollover still runs what was reserved for it then. */
    if (id == 0)
      id = s->reserved[cpu];
    s->reserved[cpu] = id;
    if (id)
      (void)test_and_set(s, ASID_OF(id));
    s->flush_pending[cpu] = true;
  }
  s->next = 1;
}

/* If `id` was reserved by some CPU, all such reservations move on to `fresh`, the same ASID in this generation. */
static bool renew_reserved(struct asid_space *s, uint64_t id, uint64_t fresh) {
  bool hit = false;
  for (unsigned cpu = 0; cpu < PORT_CPUS_MAX; cpu++) {
    if (s->reserved[cpu] == id) {
      s->reserved[cpu] = fresh;
      hit = true;
    }
  }
  return hit;
}

/* A free ASID from `next` on, taken; 0 if this generation has none left. */
static uint32_t take_free(struct asid_space *s) {
  for (uint32_t asid = s->next; asid < 1u << s->bits; asid++) {
    if (!test_and_set(s, asid)) {
      s->next = asid + 1;
      return asid;
    }
  }
  return 0;
}

static uint64_t new_context(struct asid_space *s, uint64_t old) {
  if (old) {
    uint64_t same = s->generation | ASID_OF(old);
    /* Running elsewhere across the rollover: it keeps its ASID. */
    if (renew_reserved(s, old, same))
      return same;
    /* Its old ASID may be free still: keeping it costs nothing. */
    if (!test_and_set(s, ASID_OF(old)))
      return same;
  }
  uint32_t asid = take_free(s);
  if (!asid) {
    rollover(s);
    asid = take_free(s);
    CHECK(asid != 0);
  }
  return s->generation | asid;
}

static bool is_current(const struct asid_space *s, uint64_t id) {
  return id && GENERATION_OF(id) == atomic_load_relaxed(&s->generation);
}

static bool switch_slow(struct asid_space *s, struct mm_context *ctx, unsigned cpu) {
  port_lock_acquire(&s->lock);
  uint64_t id = atomic_load_relaxed(&ctx->id);
  if (!is_current(s, id)) {
    id = new_context(s, id);
    atomic_store_relaxed(&ctx->id, id);
  }
  bool flush = s->flush_pending[cpu];
  s->flush_pending[cpu] = false;
  atomic_store_relaxed(&s->active[cpu], id);
  port_lock_release(&s->lock);
  return flush;
}

bool asid_check_context(struct asid_space *s, struct mm_context *ctx, unsigned cpu) {
  uint64_t id = atomic_load_relaxed(&ctx->id);
  uint64_t active = atomic_load_relaxed(&s->active[cpu]);
  if (active && is_current(s, id) && atomic_cas(&s->active[cpu], &active, id))
    return false;
  return switch_slow(s, ctx, cpu);
}
