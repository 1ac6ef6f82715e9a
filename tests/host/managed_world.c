/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine around one managed block: see managed_world.h. */
#include "managed_world.h"
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define TRIES_MAX 8
#define HOME LOCATION_HOME

static uint64_t bit(unsigned n) {
  return (uint64_t)1 << n;
}

static bool has(uint64_t mask, unsigned n) {
  return mask >> n & 1;
}

void world_init(struct world *w, unsigned members, const struct managed_policy *policy) {
  memset(w, 0, sizeof *w);
  w->members = members;
  w->policy = *policy;
  w->present = (uint8_t)((1u << (members + 1)) - 2);
  for (unsigned l = 0; l < MANAGED_LOCATIONS; l++)
    w->quota[l] = WORLD_UNLIMITED;
}

/* ---- What must hold ---- */

static unsigned count_copies(const struct world *w, unsigned page) {
  unsigned copies = 0;
  for (unsigned l = 0; l < MANAGED_LOCATIONS; l++)
    copies += w->copy[l][page].there;
  return copies;
}

static void check_copies(const struct world *w, unsigned page) {
  unsigned copies = count_copies(w, page);
  for (unsigned l = 0; l < MANAGED_LOCATIONS; l++) {
    assert_int_equal(w->copy[l][page].there, managed_mask_has(&w->block.resident[l], page));
    if (w->copy[l][page].there)
      assert_int_equal(w->copy[l][page].value, w->truth[page]); /* two copies never differ, none is out of date */
  }
  assert_false(copies == 0 && w->truth[page] != 0); /* what was written is somewhere */
  assert_false(copies > 1 && w->copy[HOME][page].there);
}

static void check_ptes(const struct world *w, unsigned page) {
  unsigned copies = count_copies(w, page);
  for (unsigned m = 0; m < MANAGED_LOCATIONS; m++) {
    const struct world_pte *pte = &w->pte[m][page];
    assert_int_equal(pte->valid, managed_mask_has(&w->block.mapped[m], page));
    assert_int_equal(pte->writable, managed_mask_has(&w->block.writable[m], page));
    assert_false(pte->writable && (!pte->valid || copies != 1)); /* a duplicate is never writable */
    if (!pte->valid)
      continue;
    assert_true(has(w->present, m));
    assert_true(w->copy[pte->frame_of][page].there);
    assert_true(copies == 1 || pte->frame_of == m);
    assert_int_equal(pte->frame_of, managed_block_source(&w->block, m, page));
  }
}

void world_check_page(const struct world *w, unsigned page) {
  check_copies(w, page);
  check_ptes(w, page);
}

void world_check(const struct world *w) {
  unsigned frames[MANAGED_LOCATIONS] = {0};
  for (unsigned page = 0; page < MANAGED_PAGES; page++) {
    world_check_page(w, page);
    for (unsigned l = 0; l < MANAGED_LOCATIONS; l++)
      frames[l] += w->copy[l][page].there;
  }
  for (unsigned word = 0; word < MANAGED_WORDS; word++)
    assert_true(managed_block_is_sound(&w->block, word));
  for (unsigned l = 0; l < MANAGED_LOCATIONS; l++) {
    assert_int_equal(frames[l], w->frames[l]);
    assert_true(frames[l] <= w->quota[l]);
  }
}

/* ---- Carrying out a plan ---- */

static void add_copy(struct world *w, unsigned location, unsigned page, uint64_t value) {
  assert_false(w->copy[location][page].there);
  w->copy[location][page] = (struct world_copy){true, value};
  w->frames[location]++;
}

/* No descriptor may lead to it any more. */
static void drop_copy(struct world *w, unsigned location, unsigned page) {
  assert_true(w->copy[location][page].there);
  for (unsigned m = 0; m < MANAGED_LOCATIONS; m++)
    assert_false(w->pte[m][page].valid && w->pte[m][page].frame_of == location);
  w->copy[location][page] = (struct world_copy){false, 0};
  w->frames[location]--;
}

static void lose_rights(struct world *w, const struct managed_plan *plan, unsigned i, unsigned page) {
  for (unsigned m = 0; m < MANAGED_LOCATIONS; m++) {
    struct world_pte *pte = &w->pte[m][page];
    assert_false(has(plan->unmap[m] & plan->protect[m], i));
    if (has(plan->unmap[m], i)) {
      assert_true(pte->valid);
      *pte = (struct world_pte){0};
    }
    if (has(plan->protect[m], i)) {
      assert_true(pte->writable);
      pte->writable = false;
    }
  }
}

/* Contents are looked at only when nobody can write them. */
static void bring(struct world *w, const struct managed_plan *plan, unsigned i, unsigned page) {
  unsigned sources = 0;
  if (has(plan->populate, i)) {
    assert_int_equal(count_copies(w, page), 0);
    add_copy(w, plan->to, page, 0);
    sources++;
  }
  for (unsigned l = 0; l < MANAGED_LOCATIONS; l++) {
    if (!has(plan->from[l], i))
      continue;
    assert_true(w->copy[l][page].there);
    for (unsigned m = 0; m < MANAGED_LOCATIONS; m++)
      assert_false(w->pte[m][page].writable);
    add_copy(w, plan->to, page, w->copy[l][page].value);
    sources++;
    w->moves++;
  }
  assert_true(sources <= 1);
}

static void make_maps(struct world *w, const struct managed_plan *plan, unsigned i, unsigned page) {
  for (unsigned m = 0; m < MANAGED_LOCATIONS; m++) {
    bool read = has(plan->map_read[m], i), write = has(plan->map_write[m], i);
    assert_false(read && write);
    if (!read && !write)
      continue;
    unsigned from = w->copy[m][page].there ? m : 0;
    while (!w->copy[from][page].there)
      assert_true(++from < MANAGED_LOCATIONS);
    assert_true(has(w->present, m));
    /* with more rights than before, and to the same frame */
    assert_false(w->pte[m][page].valid && (w->pte[m][page].writable || read || w->pte[m][page].frame_of != from));
    w->pte[m][page] = (struct world_pte){true, write, (uint8_t)from};
  }
}

static void check_shape(const struct managed_plan *plan, uint64_t allowed) {
  uint64_t all = plan->populate, sum = 0;
  for (unsigned l = 0; l < MANAGED_LOCATIONS; l++) {
    uint64_t here = plan->from[l] | plan->drop[l] | plan->unmap[l] | plan->protect[l] | plan->map_read[l] | plan->map_write[l];
    assert_true(here == 0 || has(plan->touched, l));
    all |= here;
    sum |= plan->from[l];
  }
  assert_int_equal(all & ~plan->pages, 0);
  assert_int_equal(plan->pages & ~allowed, 0);
  assert_int_equal(plan->drop[plan->to], 0);
  assert_int_equal(plan->from[plan->to], 0);
  assert_int_equal(managed_plan_frames(plan), __builtin_popcountll(sum | plan->populate));
}

static void cut_maps(struct world *w, struct managed_plan *plan) {
  if (w->fail_tables == 0)
    return;
  w->fail_tables--;
  uint64_t done = w->choose ? (uint64_t)w->choose(0x10000) * 0x9e3779b97f4a7c15ull : 0;
  for (unsigned m = 0; m < MANAGED_LOCATIONS; m++) {
    plan->map_read[m] &= done;
    plan->map_write[m] &= done;
  }
}

static void carry_out(struct world *w, struct managed_plan *plan, uint64_t allowed) {
  check_shape(plan, allowed);
  cut_maps(w, plan);
  for (uint64_t left = plan->pages; left; left &= left - 1) {
    unsigned i = (unsigned)__builtin_ctzll(left), page = plan->word * 64u + i;
    lose_rights(w, plan, i, page);
    bring(w, plan, i, page);
    for (unsigned l = 0; l < MANAGED_LOCATIONS; l++)
      if (has(plan->drop[l], i))
        drop_copy(w, l, page);
    make_maps(w, plan, i, page);
  }
  assert_true(w->frames[plan->to] <= w->quota[plan->to]);
  managed_block_commit(&w->block, plan, w->now_us);
  w->plans++;
  for (uint64_t left = plan->pages; left; left &= left - 1)
    world_check_page(w, plan->word * 64u + (unsigned)__builtin_ctzll(left));
  assert_true(managed_block_is_sound(&w->block, plan->word));
}

/* ---- Faults ---- */

static unsigned room(const struct world *w, unsigned location) {
  return w->quota[location] - w->frames[location];
}

static uint8_t full_locations(const struct world *w) {
  uint8_t full = 0;
  for (unsigned l = 0; l < MANAGED_LOCATIONS; l++)
    full |= (uint8_t)((room(w, l) == 0) << l);
  return full;
}

/* Fewer pages, until their frames are there; that of the fault is the last to go. False: not even for that. */
static bool plan_what_fits(const struct world *w, const struct managed_fault *f, const struct managed_decision *d, unsigned word,
                           uint64_t pages, struct managed_plan *plan) {
  uint64_t asked = f->page / 64 == word ? bit(f->page % 64) : 0;
  for (;;) {
    managed_block_plan(&w->block, &w->policy, f, d, word, pages, plan);
    if (managed_plan_frames(plan) <= room(w, d->to))
      return true;
    uint64_t others = pages & ~asked;
    if (others == 0)
      return false;
    pages &= ~bit(63u - (unsigned)__builtin_clzll(others));
  }
}

static uint64_t decided_pages(const struct managed_decision *d, unsigned word) {
  uint64_t pages = 0;
  for (unsigned i = 0; i < 64; i++)
    if (word * 64 + i - d->first < d->count)
      pages |= bit(i);
  return pages;
}

static uint8_t residents(const struct world *w, unsigned page) {
  uint8_t set = 0;
  for (unsigned l = 0; l < MANAGED_LOCATIONS; l++)
    set |= (uint8_t)(w->copy[l][page].there << l);
  return set;
}

/*
 * The set of locations that may be chosen for a page which is not pinned, by the precedence that managed_block.h promises; what a member
 * has of its own it goes on with.
 */
static uint8_t allowed_locations(const struct world *w, const struct managed_fault *f) {
  const struct managed_policy *p = &w->policy;
  uint8_t at = residents(w, f->page), self = (uint8_t)(1u << f->member), home = 1u << HOME;
  bool preferred_here = p->preferred != LOCATION_NONE && has(w->present, p->preferred);
  uint8_t fresh = preferred_here ? (uint8_t)(1u << p->preferred) : self;
  if (at & self)
    return self;
  if (p->no_migrate && at)
    return at;
  if (at & ~home) {
    if (p->read_dup && !f->write)
      return f->full & self ? at : self;
    if (preferred_here && has(at, p->preferred))
      return (uint8_t)(1u << p->preferred);
    if (has(p->accessed_by, f->member))
      return at;
    return f->full & self ? at : self;
  }
  if (at && has(p->accessed_by, f->member))
    return home;
  return f->full & fresh ? home : fresh;
}

static void check_decision(const struct world *w, const struct managed_fault *f, const struct managed_decision *d) {
  assert_true(d->count != 0 && (d->count & (d->count - 1)) == 0 && d->first % d->count == 0);
  assert_true(f->page - d->first < d->count && d->first + d->count <= MANAGED_PAGES);
  assert_true(d->to == HOME || has(w->present, d->to));
  assert_false(has(f->full, d->to) && d->to != HOME && !w->copy[d->to][f->page].there);
  assert_false(d->duplicate && f->write);
  if (d->pinned)
    assert_true(w->copy[d->to][f->page].there && d->count == 1 && !d->duplicate);
  else
    assert_true(has(allowed_locations(w, f), d->to));
  /* a copy is made where one may be, and copies that others read stay as long as nobody writes */
  bool others = residents(w, f->page) & ~(1u << HOME) & ~(1u << f->member);
  bool may_stay = !f->write && others && d->to == f->member && !d->pinned;
  if (may_stay && (w->policy.read_dup || w->copy[f->member][f->page].there))
    assert_true(d->duplicate);
}

/* The page first, so that the access goes through whatever becomes of those that come along. */
static bool serve(struct world *w, const struct managed_fault *f, const struct managed_decision *d) {
  struct managed_plan plan;
  unsigned own = f->page / 64;
  if (!plan_what_fits(w, f, d, own, decided_pages(d, own), &plan))
    return false;
  carry_out(w, &plan, decided_pages(d, own));
  for (unsigned word = d->first / 64; word <= (d->first + d->count - 1u) / 64; word++) {
    if (word == own || !plan_what_fits(w, f, d, word, decided_pages(d, word), &plan))
      continue;
    carry_out(w, &plan, decided_pages(d, word));
  }
  return true;
}

enum managed_verdict world_fault(struct world *w, unsigned member, unsigned page, bool write, uint32_t *until_us) {
  const struct managed_fault f = {
      .member = member, .page = page, .write = write, .present = w->present, .full = full_locations(w), .now_us = w->now_us};
  static struct managed_block before;
  struct managed_decision d;
  memcpy(&before, &w->block, offsetof(struct managed_block, counts));
  managed_block_decide(&w->block, &w->policy, &f, &d);
  assert_memory_equal(&before, &w->block, offsetof(struct managed_block, counts));
  if (d.verdict == MANAGED_THROTTLE)
    *until_us = d.until_us;
  if (d.verdict != MANAGED_SERVE)
    return d.verdict;
  check_decision(w, &f, &d);
  return serve(w, &f, &d) ? MANAGED_SERVE : MANAGED_THROTTLE;
}

static bool permits(const struct world_pte *pte, bool write) {
  return pte->valid && (pte->writable || !write);
}

enum world_result world_access(struct world *w, unsigned member, unsigned page, bool write, uint64_t value, uint32_t *until_us) {
  const struct world_pte *pte = &w->pte[member][page];
  for (int tries = 0; !permits(pte, write); tries++) {
    assert_true(tries < TRIES_MAX);
    uint32_t until = w->now_us - 1;
    enum managed_verdict verdict = world_fault(w, member, page, write, &until);
    assert_int_not_equal(verdict, MANAGED_NOTHING); /* the descriptor said otherwise */
    *until_us = until;
    if (verdict == MANAGED_THROTTLE)
      return (int32_t)(until - w->now_us) > 0 ? WORLD_NAP : WORLD_NO_FRAME;
  }
  struct world_copy *copy = &w->copy[pte->frame_of][page];
  assert_true(copy->there);
  if (write)
    copy->value = w->truth[page] = value;
  else
    assert_int_equal(copy->value, w->truth[page]);
  return WORLD_DONE;
}

/* ---- The rest ---- */

bool world_evict(struct world *w, unsigned member, unsigned word, uint64_t pages, bool all) {
  struct managed_plan plan;
  managed_block_plan_evict(&w->block, member, word, pages, all, &plan);
  if (managed_plan_frames(&plan) > room(w, HOME))
    return false;
  carry_out(w, &plan, pages);
  assert_int_equal(w->block.resident[member].word[word] & pages, 0);
  if (all)
    assert_int_equal(w->block.mapped[member].word[word] & pages, 0);
  return true;
}

void world_unmap(struct world *w, unsigned word, uint64_t pages) {
  struct managed_plan plan;
  managed_block_plan_unmap(&w->block, word, pages, &plan);
  assert_int_equal(managed_plan_frames(&plan), 0);
  carry_out(w, &plan, pages);
  for (unsigned m = 0; m < MANAGED_LOCATIONS; m++)
    assert_int_equal(w->block.mapped[m].word[word] & pages, 0);
}

/* Naps and pins may end with what they were decided under, and need not. */
static void maybe_forget(struct world *w) {
  for (unsigned word = 0; word < MANAGED_WORDS; word++)
    if (w->choose == NULL || w->choose(2))
      managed_block_forget(&w->block, word);
}

void world_leave(struct world *w, unsigned member) {
  for (unsigned word = 0; word < MANAGED_WORDS; word++)
    assert_true(world_evict(w, member, word, ~(uint64_t)0, true));
  w->present &= (uint8_t) ~(1u << member);
  maybe_forget(w);
  assert_int_equal(w->frames[member], 0);
}

void world_join(struct world *w, unsigned member) {
  w->present |= (uint8_t)(1u << member);
}

void world_set_policy(struct world *w, const struct managed_policy *policy) {
  w->policy = *policy;
  maybe_forget(w);
}

void world_follow_masks(struct world *w, unsigned pages) {
  for (unsigned page = 0; page < pages; page++)
    for (unsigned l = 0; l < MANAGED_LOCATIONS; l++) {
      bool there = managed_mask_has(&w->block.resident[l], page);
      w->frames[l] += (unsigned)there - w->copy[l][page].there;
      w->copy[l][page] = (struct world_copy){there, there ? w->truth[page] : 0};
      w->pte[l][page] = (struct world_pte){
          .valid = managed_mask_has(&w->block.mapped[l], page),
          .writable = managed_mask_has(&w->block.writable[l], page),
          .frame_of = (uint8_t)managed_block_source(&w->block, l, page),
      };
    }
}
