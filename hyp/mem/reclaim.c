/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Release of pages and blocks that a guest gave up.
 *
 *     look     under s2->lock: in RAM, mapped, ours to take; a block around a single page is split
 *     unmap    up to 128 leaves from anywhere, one flush (pt_unmap_leaves)
 *     free     s2->lock dropped: what no TLB knows any more goes back in bulk
 *
 * Only a frame that is OWNED by this VM, that is one block with its leaf and that nobody has pinned is taken; s2->lock keeps it so, since a
 * frame under way (move.c) is frozen under it. Anything else stays mapped and is counted: shared and lent frames are two parties' business.
 *
 * Each call is a bounded piece: splits are the dear part, some 8,000 instructions, so a piece makes at most SPLITS_PER_PIECE of them.
 */
#include "hyp/mem/reclaim.h"
#include "core/bits.h"
#include "core/compiler.h"
#include "hyp/core/vm.h"
#include "hyp/mem/stage2.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"

#define ORDER_2M 9u
#define SPLITS_PER_PIECE 4u
#define BLOCKS_PER_PIECE 32u

_Static_assert(RECLAIM_PAGES <= PT_UNMAP_LEAVES_MAX, "a piece goes under one flush");

struct piece {
  struct stage2 *s2;
  struct reclaim_sum *sum;
  unsigned order;
  unsigned count;
  pfn_t frames[RECLAIM_PAGES]; /* [0, count): blocks of 2^order, unmapped and flushed */
};

static void begin(struct piece *p, struct stage2 *s2, unsigned order, struct reclaim_sum *sum) {
  p->s2 = s2;
  p->sum = sum;
  p->order = order;
  p->count = 0;
}

/* All of an entry but its type: state, owner, order, flags, pins. */
#define PLAIN_MASK ((struct frame){.state = 0xf, .owner = 0xfff, .order = 0xff, .flags = 0xff, .pins = 0xffff}.word)

static ALWAYS_INLINE uint64_t plain_word(const struct stage2 *s2, unsigned order) {
  return (struct frame){.state = FRAME_OWNED, .owner = s2->vm->id & 0xfff, .order = (uint8_t)order, .flags = FRAME_F_HEAD}.word;
}

/* The VM's alone, whole, and free to go: in one look at its entry. */
static ALWAYS_INLINE bool is_plain(const struct stage2 *s2, pfn_t f, unsigned order) {
  return (atomic_load_relaxed(&frame_of(f)->word) & PLAIN_MASK) == plain_word(s2, order);
}

/* What is not plain, or of a VM with views. */
static bool ask(void *ctx, uint64_t ia, pa_t out) {
  struct piece *p = ctx;
  if (unlikely(!is_plain(p->s2, pa_pfn(out), p->order))) {
    p->sum->kept += BIT(p->order);
    return false;
  }
  stage2_forget_views(p->s2, ipa(ia), PAGE_SIZE << p->order);
  return true;
}

/* Unmap and flush; s2->lock held. What was neither taken nor kept is not there. Returns how many were dealt with. */
static unsigned unmap(struct piece *p, unsigned count, const uint64_t *ias) {
  uint64_t kept = p->sum->kept;
  bool views = p->s2->vm->config.trap_stage1_faults;
  struct pt_leaves leaves = {views ? 0 : PLAIN_MASK, plain_word(p->s2, p->order), ask, p, p->frames};
  p->count = pt_unmap_leaves(&p->s2->pt, 3 - p->order / ORDER_2M, &count, ias, &leaves);
  uint64_t released = (uint64_t)p->count << p->order;
  stage2_frames_left(p->s2, released);
  p->s2->released_frames += released;
  p->sum->released += released;
  p->sum->absent += ((uint64_t)count << p->order) - released - (p->sum->kept - kept);
  return count;
}

/* No lock held. */
static void free_all(const struct piece *p) {
  if (p->order == 0)
    page_free_bulk(p->count, p->frames);
  for (unsigned i = 0; p->order != 0 && i < p->count; i++)
    page_free(p->frames[i], p->order);
}

/* --- single pages --------------------------------------------------------------------------------------------------------------- */

/* No block reaches over `ia` any more: ERR_OK. ERR_AGAIN: it would take a split, and there were enough of them. Else the page stays. */
static err_t split_around(struct stage2 *s2, uint64_t ia, unsigned *splits) {
  struct pt_leaf leaf;
  if (pt_lookup(&s2->pt, ia, &leaf) != ERR_OK || leaf.level != 2)
    return ERR_OK;
  if (!is_plain(s2, pa_pfn(pa(align_down(leaf.out.v, SZ_2M))), ORDER_2M))
    return ERR_PERM;
  if (*splits == SPLITS_PER_PIECE)
    return ERR_AGAIN;
  (*splits)++;
  return stage2_split(s2, ia);
}

/* Which of `ipas` can be unmapped as pages: into `ias`, `*taken` of them. Returns how many were looked at. */
static unsigned gather(struct piece *p, unsigned count, const uint64_t *ipas, uint64_t *ias, unsigned *taken) {
  uint64_t known = ~(uint64_t)0; /* the 2 MiB that the last one lay in: no block there */
  unsigned splits = 0, i;
  *taken = 0;
  for (i = 0; i < count; i++) {
    uint64_t ia = ipas[i];
    if (unlikely(!is_aligned(ia, PAGE_SIZE) || !stage2_is_ram(p->s2, ipa(ia)))) {
      p->sum->outside++;
      continue;
    }
    if (ia / SZ_2M != known) {
      err_t err = split_around(p->s2, ia, &splits);
      if (unlikely(err == ERR_AGAIN))
        break;
      if (unlikely(err != ERR_OK)) {
        p->sum->kept++;
        continue;
      }
      known = ia / SZ_2M;
    }
    ias[(*taken)++] = ia;
  }
  return i;
}

unsigned reclaim_pages(struct stage2 *s2, unsigned count, const uint64_t *ipas, struct reclaim_sum *sum) {
  uint64_t ias[RECLAIM_PAGES];
  struct piece p;
  unsigned taken, done;
  begin(&p, s2, 0, sum);
  spin_lock(&s2->lock);
  done = gather(&p, (unsigned)min_u64(count, RECLAIM_PAGES), ipas, ias, &taken);
  (void)unmap(&p, taken, ias);
  spin_unlock(&s2->lock);
  free_all(&p);
  return done;
}

/* --- ranges --------------------------------------------------------------------------------------------------------------------- */

/* Where a call goes on: `at` of `range`, of which `left` bytes are left. */
struct cursor {
  const struct reclaim_range *range, *end;
  uint64_t at, left;
};

static uint64_t range_bytes(const struct stage2 *s2, const struct reclaim_range *r) {
  return is_aligned(r->at | r->bytes, PAGE_SIZE) && stage2_is_ram_range(s2, ipa(r->at), r->bytes) ? r->bytes : 0;
}

/* Enter the ranges `skip` bytes in. False if that is the end. */
static bool enter(struct cursor *c, const struct stage2 *s2, uint64_t skip) {
  for (; c->range < c->end; c->range++) {
    uint64_t bytes = range_bytes(s2, c->range);
    if (skip < bytes) {
      c->at = c->range->at + skip;
      c->left = bytes - skip;
      return true;
    }
    skip -= bytes;
  }
  return false;
}

static bool advance(struct cursor *c, const struct stage2 *s2, uint64_t bytes) {
  c->at += bytes;
  c->left -= bytes;
  if (c->left > 0)
    return true;
  c->range++;
  return enter(c, s2, 0);
}

static bool at_block(const struct cursor *c) {
  return is_aligned(c->at, SZ_2M) && c->left >= SZ_2M;
}

/*
 * As many whole blocks as follow one another in the ranges, and are none that was split. Returns the bytes dealt with: 0 if the first is
 * none.
 */
static uint64_t release_blocks(struct cursor c, struct stage2 *s2, struct reclaim_sum *sum) {
  uint64_t ias[BLOCKS_PER_PIECE];
  struct piece p;
  unsigned count = 0;
  bool more = true;
  begin(&p, s2, ORDER_2M, sum);
  spin_lock(&s2->lock);
  while (more && count < BLOCKS_PER_PIECE && at_block(&c)) {
    ias[count++] = c.at;
    more = advance(&c, s2, SZ_2M);
  }
  count = unmap(&p, count, ias);
  spin_unlock(&s2->lock);
  free_all(&p);
  return count * SZ_2M;
}

/* Pages up to the next 2 MiB. */
static uint64_t release_pages(const struct cursor *c, struct stage2 *s2, struct reclaim_sum *sum) {
  uint64_t ipas[RECLAIM_PAGES], bytes = min_u64(c->left, SZ_2M - c->at % SZ_2M);
  unsigned count = (unsigned)min_u64(bytes / PAGE_SIZE, RECLAIM_PAGES);
  for (unsigned i = 0; i < count; i++)
    ipas[i] = c->at + i * PAGE_SIZE;
  return reclaim_pages(s2, count, ipas, sum) * PAGE_SIZE;
}

bool reclaim_ranges(struct stage2 *s2, unsigned count, const struct reclaim_range *ranges, uint64_t *done, struct reclaim_sum *sum) {
  struct cursor c = {.range = ranges, .end = ranges + count};
  if (!enter(&c, s2, *done))
    return true;
  uint64_t bytes = release_blocks(c, s2, sum);
  if (bytes == 0)
    bytes = release_pages(&c, s2, sum);
  *done += bytes;
  return !enter(&(struct cursor){.range = ranges, .end = ranges + count}, s2, *done);
}
