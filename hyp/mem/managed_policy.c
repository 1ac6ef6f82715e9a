/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory, the decisions: what to do about a fault, before anything is done. Three questions, as UVM asks them:
 *
 *   does the page thrash?        managed_page: taken away again and again, each time within lapse_us. First one user naps, then the page is pinned
 *   where is it to be resident?  preference, accessed-by, read duplication, or simply with who touches it
 *   how much comes with it?      a binary tree over the block: the largest subtree of which more than prefetch_percent will be there
 *
 *   FREE --taken away thrash_events times--> (thrashes) --> THROTTLED <--> FREE ... thrash_throttles times --> PINNED --pin_us--> FREE
 *
 * Invariants: b->page of the fault's page and counts change, masks do not. Lock: the block's. Times are 32 bits of microseconds that wrap;
 * what is further apart than half of that is taken for recent, at worst a nap too many.
 */
#include "core/bits.h"
#include "hyp/mem/managed_bits.h"

/* ---- thrashing ---- */

static int32_t since(const struct managed_page *g, uint32_t now_us) {
  return (int32_t)(now_us - g->at_us); /* negative: a nap that is not over */
}

static void calm(struct managed_page *g) {
  *g = (struct managed_page){0};
}

static bool takes_something_away(const struct managed_block *b, const struct managed_fault *f) {
  uint64_t others = managed_resident_elsewhere(b, f->member, f->page / 64) & ~b->resident[LOCATION_HOME].word[f->page / 64];
  bool own = managed_mask_has(&b->resident[f->member], f->page);
  return (others >> (f->page % 64) & 1) && (!own || f->write);
}

static bool pin_holds(const struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f) {
  const struct managed_page *g = &b->page[f->page];
  return since(g, f->now_us) < (int32_t)p->pin_us && managed_mask_has(&b->resident[g->location], f->page);
}

static void pin(struct managed_block *b, const struct managed_fault *f, unsigned location) {
  b->page[f->page] = (struct managed_page){.at_us = f->now_us, .state = MANAGED_PAGE_PINNED, .location = (uint8_t)location};
  b->counts[f->member].pinned++;
}

static void hold_back(struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f) {
  struct managed_page *g = &b->page[f->page];
  g->state = MANAGED_PAGE_THROTTLED;
  g->location = (uint8_t)f->member;
  g->at_us = f->now_us + p->nap_us;
  g->throttles++;
  b->counts[f->member].throttled++;
}

enum hint {
  HINT_NONE,
  HINT_PINNED,
  HINT_THROTTLE
};

/* The page thrashes, and the fault would go on with it. */
static enum hint thrash(struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f) {
  struct managed_page *g = &b->page[f->page];
  bool napped = g->state == MANAGED_PAGE_THROTTLED && g->location == f->member;
  if (napped && since(g, f->now_us) < 0)
    return HINT_THROTTLE; /* woken early */
  if (since(g, f->now_us) > (int32_t)p->lapse_us) {
    calm(g);
    return HINT_NONE;
  }
  if (napped) /* its turn; managed_block_commit() makes the page FREE */
    return HINT_NONE;
  if (g->throttles >= p->thrash_throttles) {
    pin(b, f, managed_block_source(b, f->member, f->page));
    return HINT_PINNED;
  }
  hold_back(b, p, f);
  return HINT_THROTTLE;
}

static enum hint thrashing_hint(struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f) {
  struct managed_page *g = &b->page[f->page];
  if (g->state == MANAGED_PAGE_PINNED) {
    if (pin_holds(b, p, f))
      return HINT_PINNED;
    calm(g);
  }
  if (likely(!managed_page_thrashes(p, g)) || !takes_something_away(b, f))
    return HINT_NONE;
  return thrash(b, p, f);
}

/* ---- where to ---- */

static bool is_in(uint8_t set, unsigned location) {
  return set >> location & 1;
}

/* A new frame is wanted at `location`: can it have one? */
static unsigned if_not_full(const struct managed_fault *f, unsigned location, unsigned otherwise) {
  return is_in(f->full, location) ? otherwise : location;
}

static unsigned select_new(const struct managed_policy *p, const struct managed_fault *f) {
  unsigned to = p->preferred != LOCATION_NONE && is_in(f->present, p->preferred) ? p->preferred : f->member;
  return if_not_full(f, to, LOCATION_HOME);
}

/* Resident at other members, not at this one. */
static unsigned select_taken(const struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f, unsigned at) {
  if (p->read_dup && !f->write)
    return if_not_full(f, f->member, at);
  if (p->preferred != LOCATION_NONE && managed_mask_has(&b->resident[p->preferred], f->page))
    return p->preferred;
  return is_in(p->accessed_by, f->member) ? at : if_not_full(f, f->member, at);
}

static unsigned select_residency(const struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f) {
  unsigned at = managed_block_source(b, f->member, f->page);
  if (at == LOCATION_NONE)
    return select_new(p, f);
  if (at == f->member || p->no_migrate)
    return at;
  if (at != LOCATION_HOME)
    return select_taken(b, p, f, at);
  if (is_in(p->accessed_by, f->member))
    return LOCATION_HOME;
  return select_new(p, f);
}

/* ---- how much ---- */

static unsigned count_resident(const struct managed_mask *m, unsigned first, unsigned count) {
  unsigned sum = 0;
  if (count < 64)
    return managed_count(m->word[first / 64] >> (first % 64) & (BIT(count) - 1));
  for (unsigned w = first / 64; w < (first + count) / 64; w++)
    sum += managed_count(m->word[w]);
  return sum;
}

/* The page of the fault counts as there. */
static void select_region(const struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f,
                          struct managed_decision *d) {
  const struct managed_mask *there = &b->resident[d->to];
  unsigned here = !managed_mask_has(there, f->page);
  for (unsigned count = 2; count <= MANAGED_PAGES; count *= 2) {
    unsigned first = f->page & ~(count - 1);
    if ((count_resident(there, first, count) + here) * 100 > count * p->prefetch_percent) {
      d->first = (uint16_t)first;
      d->count = (uint16_t)count;
    }
  }
}

static bool has_what_it_asks(const struct managed_block *b, const struct managed_fault *f) {
  return managed_mask_has(f->write ? &b->writable[f->member] : &b->mapped[f->member], f->page);
}

void managed_block_decide(struct managed_block *b, const struct managed_policy *p, const struct managed_fault *f,
                          struct managed_decision *d) {
  *d = (struct managed_decision){.first = (uint16_t)f->page, .count = 1};
  if (has_what_it_asks(b, f)) {
    d->verdict = MANAGED_NOTHING;
    return;
  }
  enum hint hint = thrashing_hint(b, p, f);
  if (hint == HINT_THROTTLE) {
    d->verdict = MANAGED_THROTTLE;
    d->until_us = b->page[f->page].at_us;
    return;
  }
  d->pinned = hint == HINT_PINNED;
  d->to = d->pinned ? b->page[f->page].location : (uint8_t)select_residency(b, p, f);
  bool own = managed_mask_has(&b->resident[f->member], f->page);
  bool elsewhere = (own || p->read_dup) && (managed_resident_elsewhere(b, f->member, f->page / 64) >> (f->page % 64) & 1);
  bool home = managed_mask_has(&b->resident[LOCATION_HOME], f->page);
  d->duplicate = d->to == f->member && !f->write && elsewhere && !home && !d->pinned && (own || p->read_dup);
  if (d->to == f->member && !d->pinned && p->prefetch_percent < 100)
    select_region(b, p, f, d);
}
