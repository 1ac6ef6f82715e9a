/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory, the masks of one block: what a decision takes for 64 pages at a time (a word of each mask), and what the masks are
 * afterwards.
 *
 * A plan sees each page in one of two ways:
 *
 *     single   it will be resident at `to` only, and whoever maps it may write it. Copies elsewhere are dropped; who had them, or another frame, mapped loses that first
 *     shared   copies stay (duplicate): nobody may write. Who had it mapped from afar loses that, who has a copy keeps it, read-only
 *
 * Invariants: managed_block_is_sound() before and after. Lock: the block's. Refuses nothing: who calls has decided.
 */
#include "core/bits.h"
#include "hyp/mem/managed_bits.h"

// NOLINTNEXTLINE(bugprone-macro-parentheses): it declares m_
#define for_each_member(m_) for (unsigned m_ = 1; (m_) < MANAGED_LOCATIONS; (m_)++)

unsigned managed_block_source(const struct managed_block *b, unsigned member, unsigned page) {
  if (managed_mask_has(&b->resident[member], page))
    return member;
  for_each_location(l) if (managed_mask_has(&b->resident[l], page)) return l;
  return LOCATION_NONE;
}

/* Nothing is done about pages of `word`, so far. Word by word, since EL2's memset() is made for more than this. */
static ALWAYS_INLINE void begin_plan(const struct managed_block *b, unsigned word, unsigned member, unsigned to, struct managed_plan *out) {
  out->member = (uint8_t)member;
  out->to = (uint8_t)to;
  out->word = (uint8_t)word;
  out->touched = (uint8_t)(BIT(to) | BIT(member));
  out->evict = false;
  out->lapse_us = 0;
  out->asked = out->pages = out->populate = 0;
  for_each_location(l) {
    out->from[l] = out->drop[l] = out->unmap[l] = out->protect[l] = out->map_read[l] = out->map_write[l] = 0;
    out->touched |= (uint8_t)(((b->resident[l].word[word] | b->mapped[l].word[word]) != 0) << l);
  }
}

/* ---- the plan of a fault ---- */

/* Pages of the decision's range in `word`. */
static uint64_t in_range(const struct managed_decision *d, unsigned word) {
  unsigned first = d->first / 64, last = (d->first + d->count - 1u) / 64;
  if (word < first || word > last)
    return 0;
  return d->count >= 64 ? ~(uint64_t)0 : (BIT(d->count) - 1) << (d->first % 64);
}

static uint64_t restless(const struct managed_block *b, const struct managed_policy *p, unsigned word, uint64_t pages) {
  uint64_t found = 0;
  for (; pages; pages &= pages - 1) {
    unsigned bit = bits_ffs(pages);
    const struct managed_page *g = &b->page[word * 64 + bit];
    if (g->state != MANAGED_PAGE_FREE || managed_page_thrashes(p, g))
      found |= BIT(bit);
  }
  return found;
}

/* Of pages that nobody asked for: those that may come along. */
static uint64_t fetchable(const struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f,
                          const struct managed_decision *d, unsigned word, uint64_t pages) {
  if (likely(pages == 0))
    return 0;
  pages &= ~b->resident[d->to].word[word];
  if (p->no_migrate || (p->accessed_by >> f->member & 1))
    pages &= ~managed_resident_elsewhere(b, d->to, word);
  bool prefers = p->preferred != LOCATION_NONE && p->preferred != d->to;
  if (prefers) /* what is nowhere, too, would go there */
    pages &= managed_resident_elsewhere(b, LOCATION_HOME, word) & ~b->resident[p->preferred].word[word];
  return pages & ~restless(b, p, word, pages);
}

/* Where contents come from: the lowest location that has them. */
static void find_sources(const struct managed_block *b, struct managed_plan *out) {
  uint64_t left = out->pages & ~b->resident[out->to].word[out->word];
  for_each_in(l, out->touched) {
    out->from[l] = left & b->resident[l].word[out->word];
    left &= ~out->from[l];
  }
  out->populate = left;
}

static void plan_single(const struct managed_block *b, uint64_t single, struct managed_plan *out) {
  unsigned w = out->word;
  uint64_t stays = b->resident[out->to].word[w];
  for_each_in(l, out->touched & ~BIT(out->to)) out->drop[l] = b->resident[l].word[w] & single;
  for_each_in(m, out->touched & ~BIT(LOCATION_HOME)) {
    /* Mapped from where it stays: its own copy, or, without one, the only one. */
    uint64_t keeps = m == out->to ? stays : stays & ~b->resident[m].word[w];
    out->unmap[m] |= b->mapped[m].word[w] & single & ~keeps;
  }
}

static void plan_shared(const struct managed_block *b, uint64_t shared, struct managed_plan *out) {
  unsigned w = out->word;
  for_each_member(m) {
    uint64_t own = b->resident[m].word[w];
    out->unmap[m] |= b->mapped[m].word[w] & shared & ~own;
    out->protect[m] |= b->writable[m].word[w] & shared & own;
  }
}

static void plan_mapping(const struct managed_block *b, unsigned member, uint64_t single, uint64_t shared, struct managed_plan *out) {
  unsigned w = out->word;
  out->map_write[member] = single & ~(b->writable[member].word[w] & ~out->unmap[member]);
  out->map_read[member] = shared & ~(b->mapped[member].word[w] & ~out->unmap[member]);
}

/* Members that keep a mapping whoever has the page get one of what has come. */
static void map_for_watchers(const struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f, uint64_t single,
                             struct managed_plan *out) {
  uint8_t watchers = p->accessed_by & f->present & (uint8_t)~BIT(f->member);
  out->touched |= watchers;
  for_each_member(m) if (watchers >> m & 1) plan_mapping(b, m, single, 0, out);
}

void managed_block_plan(const struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f,
                        const struct managed_decision *d, unsigned word, uint64_t pages, struct managed_plan *out) {
  uint64_t asked = f->page / 64 == word ? BIT(f->page % 64) & pages : 0;
  pages &= in_range(d, word);
  begin_plan(b, word, f->member, d->to, out);
  out->asked = asked;
  out->lapse_us = p->lapse_us;
  out->pages = asked | fetchable(b, p, f, d, word, pages & ~asked);
  find_sources(b, out);
  uint64_t shared = d->duplicate ? asked : 0;
  if (p->read_dup && !f->write && d->to == f->member) /* of the others, what another member has */
    shared |= out->pages & ~asked & ~out->populate & ~out->from[LOCATION_HOME];
  uint64_t single = out->pages & ~shared;
  plan_single(b, single, out);
  if (shared)
    plan_shared(b, shared, out);
  plan_mapping(b, f->member, single, shared, out);
  if (p->accessed_by)
    map_for_watchers(b, p, f, single, out);
}

uint64_t managed_plan_frames(const struct managed_plan *plan) {
  uint64_t pages = plan->populate;
  for_each_in(l, plan->touched) pages |= plan->from[l];
  return managed_count(pages);
}

/* ---- other plans ---- */

void managed_block_plan_evict(const struct managed_block *b, unsigned member, unsigned word, uint64_t pages, bool all,
                              struct managed_plan *out) {
  uint64_t gone = b->resident[member].word[word] & pages, sole = gone & ~managed_resident_elsewhere(b, member, word);
  begin_plan(b, word, member, LOCATION_HOME, out);
  out->evict = true;
  out->from[member] = sole;
  out->drop[member] = gone;
  for_each_member(m) out->unmap[m] = b->mapped[m].word[word] & sole;
  out->unmap[member] = b->mapped[member].word[word] & (all ? pages : gone);
  out->pages = gone | out->unmap[member];
}

void managed_block_plan_unmap(const struct managed_block *b, unsigned word, uint64_t pages, struct managed_plan *out) {
  begin_plan(b, word, LOCATION_HOME, LOCATION_HOME, out);
  out->evict = true;
  for_each_member(m) out->pages |= out->unmap[m] = b->mapped[m].word[word] & pages;
}

/* ---- afterwards ---- */

/* A page was taken away from a member. */
static void note_taken(struct managed_page *g, uint32_t now_us, uint32_t lapse_us) {
  if (g->state == MANAGED_PAGE_PINNED)
    return;
  bool again = g->events != 0 && (int32_t)(now_us - g->at_us) <= (int32_t)lapse_us;
  g->throttles = again ? g->throttles : 0;
  g->events = (uint8_t)(again ? g->events + (g->events < 255) : 1);
  g->state = MANAGED_PAGE_FREE;
  g->at_us = now_us;
}

static void note_movements(struct managed_block *b, const struct managed_plan *plan, uint32_t now_us) {
  uint64_t taken = 0;
  for_each_in(m, plan->touched & ~BIT(LOCATION_HOME)) taken |= plan->drop[m];
  for (; taken; taken &= taken - 1)
    note_taken(&b->page[plan->word * 64u + bits_ffs(taken)], now_us, plan->lapse_us);
}

static void count_fault(struct managed_counts *c, const struct managed_plan *plan) {
  uint64_t came = 0, migrated = 0;
  unsigned dropped = 0;
  for_each_in(l, plan->touched) {
    came |= plan->from[l];
    migrated |= plan->from[l] & plan->drop[l];
    dropped += managed_count(plan->drop[l]);
  }
  c->faults += plan->asked != 0;
  c->populated += managed_count(plan->populate);
  unsigned moved = managed_count(migrated);
  c->migrated += moved;
  c->duplicated += managed_count(came) - moved;
  c->collapsed += dropped - moved;
  if (plan->pages != plan->asked)
    c->prefetched += managed_count((came | plan->populate) & ~plan->asked);
}

static void count_eviction(struct managed_counts *c, const struct managed_plan *plan) {
  c->evicted += managed_count(plan->from[plan->member]);
  c->shed += managed_count(plan->drop[plan->member] & ~plan->from[plan->member]);
}

void managed_block_commit(struct managed_block *b, const struct managed_plan *plan, uint32_t now_us) {
  unsigned w = plan->word;
  uint64_t came = plan->populate;
  for_each_in(l, plan->touched) {
    came |= plan->from[l];
    b->resident[l].word[w] &= ~plan->drop[l];
    b->mapped[l].word[w] = (b->mapped[l].word[w] & ~plan->unmap[l]) | plan->map_read[l] | plan->map_write[l];
    b->writable[l].word[w] = (b->writable[l].word[w] & ~plan->unmap[l] & ~plan->protect[l]) | plan->map_write[l];
  }
  b->resident[plan->to].word[w] |= came;
  if (plan->evict) {
    count_eviction(&b->counts[plan->member], plan);
  } else {
    count_fault(&b->counts[plan->member], plan);
    note_movements(b, plan, now_us);
  }
}

void managed_block_forget(struct managed_block *b, unsigned word) {
  for (unsigned i = word * 64; i < word * 64 + 64; i++)
    b->page[i] = (struct managed_page){0};
}

bool managed_block_is_sound(const struct managed_block *b, unsigned w) {
  uint64_t once = 0, twice = 0;
  for_each_location(l) {
    twice |= once & b->resident[l].word[w];
    once |= b->resident[l].word[w];
  }
  uint64_t wrong = twice & b->resident[LOCATION_HOME].word[w];
  wrong |= b->mapped[LOCATION_HOME].word[w] | b->writable[LOCATION_HOME].word[w];
  for_each_member(m) {
    uint64_t mapped = b->mapped[m].word[w];
    wrong |= (b->writable[m].word[w] & ~mapped) | (mapped & ~once) | (b->writable[m].word[w] & twice);
    wrong |= mapped & twice & ~b->resident[m].word[w];
  }
  return wrong == 0;
}
