/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory, carrying out a plan: descriptors go, contents are copied or frames change hands, copies are dropped, descriptors come.
 *
 *     lose       leaves are made invalid, or read-only, in each member that the plan names, with that VM's TLB maintenance (Arm ARM D8.13, D8.14.1)
 *     contents   a zeroed frame, a copy, or the same frame for another owner: nobody can write what is read now
 *     drop       frames of copies that are no more go back
 *     map        new leaves, or the right to write for those that are there
 *     commit     the masks say so
 *
 * Nothing fails but a map that finds no frame for a table: the page is then where it belongs and mapped by nobody, which is sound. A
 * frame's copies hang together by frame.next; whose it is says its owner.
 *
 * Lock: the block's, the caller's; each member's s2.lock while its tables change, one at a time. Refuses nothing: the plan was made for
 * this state, under this lock.
 */
#include "core/check.h"
#include "hyp/arch/cleanse.h"
#include "hyp/mem/managed_priv.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

#define PROT_READ PT_R
#define PROT_WRITE (PT_R | PT_W)

/* ---- frames of a page ---- */

static uint32_t index_of(pfn_t f) {
  return (uint32_t)(f.v - frame_base_pfn);
}

struct frame *managed_find_frame(const struct managed_place *at, unsigned location, unsigned page) {
  owner_t owner = managed_owner(at->range, location);
  uint32_t index = at->chunk->first[page];
  while (index != FRAME_LINK_NONE && frame_table[index].owner != owner)
    index = frame_table[index].next;
  return index != FRAME_LINK_NONE ? &frame_table[index] : NULL;
}

struct frame *managed_frame(const struct managed_place *at, unsigned location, unsigned page) {
  struct frame *f = managed_find_frame(at, location, page);
  CHECK(f);
  return f;
}

static void own(const struct managed_place *at, pfn_t f, unsigned location, unsigned page) {
  frame_set_state(f, 0, FRAME_MANAGED, managed_owner(at->range, location), managed_rmap(at->range->number, managed_offset(at, page)));
}

static void link_frame(const struct managed_place *at, pfn_t f, unsigned location, unsigned page) {
  own(at, f, location, page);
  frame_of(f)->next = at->chunk->first[page];
  at->chunk->first[page] = index_of(f);
}

/* The link that leads to a frame of the page. */
static uint32_t *link_to(const struct managed_place *at, uint32_t index, unsigned page) {
  uint32_t *link = &at->chunk->first[page];
  while (*link != index)
    link = &frame_table[*link].next;
  return link;
}

static void unlink_frame(struct frame *f, uint32_t *link) {
  *link = f->next;
  f->next = FRAME_LINK_NONE;
  page_free(frame_pfn(f), 0);
}

static void drop_frame(const struct managed_place *at, unsigned location, unsigned page) {
  struct frame *f = managed_frame(at, location, page);
  unlink_frame(f, link_to(at, index_of(frame_pfn(f)), page));
  atomic_store_relaxed(&at->chunk->copies, at->chunk->copies - 1); /* glimpsed by managed_shed() */
}

/* ---- contents ---- */

/*
 * A guest may have written past the caches, and the taker may read past them (design.md, cache rule). What is here is executed by nobody.
 */
void managed_copy(pfn_t from, pfn_t to) {
  if (features.needs_clean) {
    cache_clean_invalidate_poc(port_frame_ptr(from), PAGE_SIZE);
    copy_page_poc(port_frame_ptr(to), port_frame_ptr(from));
  } else {
    copy_page(port_frame_ptr(to), port_frame_ptr(from));
  }
}

unsigned managed_frames_wanted(const struct managed_place *at, const struct managed_plan *plan) {
  uint64_t pages = plan->populate;
  bool keeps = plan->evict || at->range->config.move; /* a page that leaves takes its frame along, for another owner */
  for_each_in(l, plan->touched) pages |= keeps ? plan->from[l] & ~plan->drop[l] : plan->from[l];
  return managed_count(pages);
}

#define for_each_page(bit_, mask_) for (uint64_t left_ = (mask_); left_ && ((bit_) = bits_ffs(left_), true); left_ &= left_ - 1)

static const pfn_t *populate(const struct managed_place *at, const struct managed_plan *plan, const pfn_t *frames) {
  unsigned bit;
  for_each_page(bit, plan->populate) {
    cleanse_page(port_frame_ptr(*frames));
    link_frame(at, *frames++, plan->to, plan->word * 64u + bit);
  }
  return frames;
}

/* One page. True if it used up a frame. */
static bool bring_page(const struct managed_place *at, const struct managed_plan *plan, unsigned l, unsigned page, bool leaves,
                       const pfn_t *next) {
  struct frame *from = managed_frame(at, l, page);
  if (leaves && (plan->evict || at->range->config.move)) {
    own(at, frame_pfn(from), plan->to, page);
    return false;
  }
  uint32_t *link = link_to(at, index_of(frame_pfn(from)), page);
  pfn_t to = *next;
  managed_copy(frame_pfn(from), to);
  link_frame(at, to, plan->to, page);
  if (leaves)
    unlink_frame(from, link == &at->chunk->first[page] ? &frame_of(to)->next : link);
  else
    atomic_store_relaxed(&at->chunk->copies, at->chunk->copies + 1);
  return true;
}

static const pfn_t *bring(const struct managed_place *at, const struct managed_plan *plan, unsigned l, const pfn_t *frames) {
  unsigned bit;
  for_each_page(bit, plan->from[l]) frames += bring_page(at, plan, l, plan->word * 64u + bit, plan->drop[l] >> bit & 1, frames);
  return frames;
}

/* What came from here has gone with it; now copies that are of no more use. */
static void drop(const struct managed_place *at, const struct managed_plan *plan, unsigned l) {
  unsigned bit;
  for_each_page(bit, plan->drop[l] & ~plan->from[l]) drop_frame(at, l, plan->word * 64u + bit);
  managed_unreserve(at->range, l, managed_count(plan->drop[l]));
}

static void change_contents(const struct managed_place *at, const struct managed_plan *plan, const pfn_t *frames) {
  if (plan->populate)
    frames = populate(at, plan, frames);
  for_each_in(l, plan->touched) {
    if (plan->from[l])
      frames = bring(at, plan, l, frames);
    if (plan->drop[l])
      drop(at, plan, l);
  }
}

/* ---- descriptors ---- */

static uint64_t ipa_of(const struct managed_place *at, const struct managed_plan *plan, unsigned m, unsigned bit) {
  return at->range->member[m].base + managed_offset(at, plan->word * 64u + bit);
}

static bool always(void *ctx, uint64_t ia, pa_t out) {
  (void)ctx, (void)ia, (void)out;
  return true;
}

static void unmap(const struct managed_place *at, const struct managed_plan *plan, unsigned m) {
  uint64_t ias[64];
  pfn_t frames[64]; /* known already */
  unsigned bit, count = 0;
  if (is_pow2(plan->unmap[m])) { /* the usual fault */
    err_t err = pt_unmap(&at->range->member[m].vm->s2.pt, ipa_of(at, plan, m, bits_ffs(plan->unmap[m])), PAGE_SIZE, NULL, NULL);
    CHECK(err == ERR_OK); /* nothing but single pages is mapped here: there is nothing to split */
    return;
  }
  for_each_page(bit, plan->unmap[m]) ias[count++] = ipa_of(at, plan, m, bit);
  (void)pt_unmap_leaves(&at->range->member[m].vm->s2.pt, 3, &count, ias, &(struct pt_leaves){.may = always, .frames = frames});
}

/* Bits of `mask` that are set from its lowest on. */
static unsigned run_length(uint64_t mask) {
  uint64_t rest = ~(mask >> bits_ffs(mask));
  return rest ? bits_ffs(rest) : 64;
}

/* Neighbours under one flush. */
static void protect(const struct managed_place *at, const struct managed_plan *plan, unsigned m, uint64_t pages, pt_prot_t prot) {
  while (pages) {
    unsigned bit = bits_ffs(pages), count = run_length(pages);
    err_t err = pt_protect(&at->range->member[m].vm->s2.pt, ipa_of(at, plan, m, bit), count * PAGE_SIZE, prot);
    CHECK(err == ERR_OK); /* as above */
    pages &= ~(GENMASK(count - 1, 0) << bit);
  }
}

static void lose(const struct managed_place *at, const struct managed_plan *plan, unsigned m) {
  struct stage2 *s2 = &at->range->member[m].vm->s2;
  spin_lock(&s2->lock);
  if (plan->unmap[m])
    unmap(at, plan, m);
  if (plan->protect[m])
    protect(at, plan, m, plan->protect[m], PROT_READ);
  spin_unlock(&s2->lock);
}

/* Those of `pages` that could be mapped. */
static uint64_t map(const struct managed_place *at, const struct managed_plan *plan, unsigned m, uint64_t pages, pt_prot_t prot) {
  const struct managed_block *b = &at->chunk->block;
  struct stage2 *s2 = &at->range->member[m].vm->s2;
  unsigned bit;
  uint64_t done = 0;
  for_each_page(bit, pages) {
    bool own = m == plan->to || ((b->resident[m].word[plan->word] & ~plan->drop[m]) >> bit & 1);
    pfn_t f = frame_pfn(managed_frame(at, own ? m : plan->to, plan->word * 64u + bit));
    if (pt_map_leaf(&s2->pt, ipa_of(at, plan, m, bit), pfn_pa(f), 3, prot) != ERR_OK)
      break;
    s2->managed_faults++;
    done |= BIT(bit);
  }
  return done;
}

/* What has a leaf already gets more rights, with its TLB maintenance: a TLB may hold the read-only one. */
static err_t gain(const struct managed_place *at, struct managed_plan *plan, unsigned m) {
  struct stage2 *s2 = &at->range->member[m].vm->s2;
  uint64_t there = at->chunk->block.mapped[m].word[plan->word] & ~plan->unmap[m];
  uint64_t read = plan->map_read[m] & ~there, write = plan->map_write[m] & ~there;
  spin_lock(&s2->lock);
  protect(at, plan, m, plan->map_write[m] & there, PROT_WRITE);
  uint64_t did_read = read ? map(at, plan, m, read, PROT_READ) : 0, did_write = write ? map(at, plan, m, write, PROT_WRITE) : 0;
  spin_unlock(&s2->lock);
  plan->map_read[m] &= ~(read & ~did_read);
  plan->map_write[m] &= ~(write & ~did_write);
  return did_read == read && did_write == write ? ERR_OK : ERR_NOMEM;
}

/* ---- all of it ---- */

static void note(const struct managed_place *at, enum trace_type type, const struct managed_plan *plan, uint64_t pages, unsigned from) {
  if (pages)
    trace(TRACE_GROUP_MANAGED, type, 0, managed_rmap(at->range->number, managed_offset(at, plan->word * 64u)), pages, from, plan->to,
          plan->member);
}

static void trace_plan(const struct managed_place *at, const struct managed_plan *plan) {
  note(at, TRACE_MANAGED_FAULT, plan, plan->asked, plan->member);
  note(at, TRACE_MANAGED_PREFETCH, plan, plan->evict ? 0 : plan->pages & ~plan->asked, plan->member);
  for_each_in(l, plan->touched) {
    note(at, plan->evict ? TRACE_MANAGED_EVICT : TRACE_MANAGED_MIGRATE, plan, plan->from[l] & plan->drop[l], l);
    note(at, TRACE_MANAGED_DUPLICATE, plan, plan->from[l] & ~plan->drop[l], l);
    note(at, TRACE_MANAGED_COLLAPSE, plan, plan->drop[l] & ~plan->from[l], l);
  }
}

err_t managed_carry_out(const struct managed_place *at, struct managed_plan *plan, const pfn_t *frames, uint32_t now_us) {
  err_t err = ERR_OK;
  for_each_in(m, plan->touched) if (plan->unmap[m] | plan->protect[m]) lose(at, plan, m);
  change_contents(at, plan, frames);
  for_each_in(m, plan->touched) if ((plan->map_read[m] | plan->map_write[m]) && gain(at, plan, m) != ERR_OK) err = ERR_NOMEM;
  if (trace_on(TRACE_GROUP_MANAGED))
    trace_plan(at, plan);
  managed_block_commit(&at->chunk->block, plan, now_us);
  return err;
}
