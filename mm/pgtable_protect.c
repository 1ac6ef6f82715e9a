/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changing what mapped leaves allow: protection, ageing, dirty logging.
 *
 * These are the changes that the Arm ARM lets happen in a valid descriptor (D8.14.1): one compare-and-swap per leaf, since hardware may
 * set AF or dirty state at the same moment, and one flush for all of them at the end. Between the two, other CPUs may act on either form.
 *
 * Dirty logging: a leaf that is writable in principle carries DESC_LOGGED. Read-only in bit 7 means clean, writable means dirty. The first
 * write either faults (pt_mark_accessed makes it dirty) or, with DBM, is noted by hardware. pt_collect_dirty makes it clean again.
 */
#include "mm/pgtable_priv.h"

#define PERMS (PT_R | PT_W | PT_X | PT_USER | PT_UX)
#define CHANGEABLE (PERMS | PT_OLD | PT_DIRTY_LOG | PT_SW0 | PT_SW1 | PT_SW2)

/* A TLB that holds the old form would let through what the new one does not. */
static bool is_loss(pt_prot_t old, pt_prot_t now) {
  return (old & ~now & PERMS) || (now & ~old & (PT_OLD | PT_DIRTY_LOG));
}

struct change {
  struct pt *pt;
  pt_prot_fn *fn;
  void *ctx;
  bool whole_runs; /* every leaf of a contiguous run gets the same */
  bool lost, changed;
  struct pt_span span;
};

/* The leaf `desc` under `prot`; a leaf that was logged and still is keeps its dirty state. */
static uint64_t recode(const struct pt *pt, uint64_t desc, unsigned shift, pt_prot_t prot) {
  uint64_t now = pt->ops->leaf(pt, desc_out(desc), shift_level(shift), prot);
  if (unlikely(desc & now & DESC_LOGGED))
    now = desc_set_writable(pt, now, desc_is_writable(pt, desc));
  return now;
}

static void change_leaf(struct change *c, uint64_t ia, struct pt_at at) {
  struct pt *pt = c->pt;
  uint64_t desc = at.desc;
  pt_prot_t old = pt->ops->prot(pt, desc);
  pt_prot_t now = (c->fn(c->ctx, ia, desc_out(desc), shift_level(at.shift), old) & CHANGEABLE) | (old & ~CHANGEABLE);
  if (now == old)
    return;
  if (unlikely(desc & DESC_CONTIG) && !c->whole_runs)
    pt_uncontig(pt, at.entry, ia, at.shift);
  do {
    desc = port_pte_load(at.entry);
    pt_prot_t kept = desc & DESC_CONTIG ? now : now & ~PT_CONTIG;
    at.desc = recode(pt, desc, at.shift, kept);
  } while (!pt_update(pt, at.entry, desc, at.desc, ia, at.shift));
  c->changed = true;
  c->lost |= is_loss(old, now);
  span_add(&c->span, ia, at.shift);
}

static void change_range(struct change *c, uint64_t ia, uint64_t size) {
  struct pt_scan scan = scan_over(ia, size);
  c->span = span_none();
  for (; pt_scan_next(c->pt, &scan); pt_scan_step(&scan))
    change_leaf(c, align_down(scan.ia, BIT(scan.at.shift)), scan.at);
}

static pt_prot_t same_for_all(void *ctx, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot) {
  (void)ia, (void)out, (void)level, (void)prot;
  return *(const pt_prot_t *)ctx;
}

err_t pt_protect(struct pt *pt, uint64_t ia, uint64_t size, pt_prot_t prot) {
  err_t err = pt_check_range(pt, ia, size);
  if (err == ERR_OK)
    err = pt_isolate(pt, ia, ia + size);
  if (err != ERR_OK)
    return err;
  struct change c = {.pt = pt, .fn = same_for_all, .ctx = &prot, .whole_runs = true};
  change_range(&c, ia, size);
  if (c.changed)
    span_flush(pt, &c.span);
  return ERR_OK;
}

/* One page in the table used last, neither in a contiguous run nor logged. False if it takes more than that. */
static ALWAYS_INLINE bool protect_one(struct pt *pt, uint64_t ia, pt_prot_fn *fn, void *ctx) {
  if (ia >> SHIFT_L2 != pt->hint_index || ia & (PAGE_SIZE - 1))
    return false;
  uint64_t *entry = table_entry(pt->hint_table, ia, SHIFT_L3), desc = port_pte_load(entry);
  if (!desc_is_valid(desc) || desc & (DESC_CONTIG | DESC_LOGGED))
    return !desc_is_valid(desc);
  pt_prot_t old = pt_page_prot(pt, desc);
  pt_prot_t now = (fn(ctx, ia, desc_out(desc), 3, old) & CHANGEABLE) | (old & ~CHANGEABLE);
  if (now == old)
    return true;
  uint64_t leaf = pt_page_bits(pt, now) | desc_out(desc).v;
  while (unlikely(!pt_update(pt, entry, desc, leaf, ia, SHIFT_L3)))
    desc = port_pte_load(entry);
  if (is_loss(old, now))
    pt->ops->tlb_flush(pt, ia, PAGE_SIZE, 3, false);
  else
    pt->ops->publish(pt);
  return true;
}

static NOINLINE void protect_range(struct pt *pt, uint64_t ia, uint64_t size, pt_prot_fn *fn, void *ctx) {
  struct change c = {.pt = pt, .fn = fn, .ctx = ctx};
  if (pt_check_range(pt, ia, size) != ERR_OK)
    return;
  change_range(&c, ia, size);
  if (c.lost)
    span_flush(pt, &c.span);
  else if (c.changed)
    pt->ops->publish(pt);
}

void pt_protect_each(struct pt *pt, uint64_t ia, uint64_t size, pt_prot_fn *fn, void *ctx) {
  if (size != PAGE_SIZE || !protect_one(pt, ia, fn, ctx))
    protect_range(pt, ia, size, fn, ctx);
}

/* Anything but a plain page in the table used last with a prot of late; also one that hardware has just noted something in. */
static NOINLINE void protect_leaf_slow(struct pt *pt, const struct pt_leaf *leaf, pt_prot_t prot) {
  (void)pt_page_bits(pt, prot); /* of late from now on */
  protect_range(pt, leaf->ia, BIT(level_shift(leaf->level)), same_for_all, &prot);
}

/* What is out of the ordinary ends in a tail call, so that the rest needs no stack. */
void pt_protect_leaf(struct pt *pt, const struct pt_leaf *leaf, pt_prot_t prot) {
  uint64_t ia = leaf->ia, old = leaf->desc, bits = pt->page_bits;
  bool is_last = prot == pt->last_page_prot;
  if (ia >> SHIFT_L2 != pt->hint_index || old & (DESC_CONTIG | DESC_LOGGED) || (prot != pt->page_prot && !is_last)) {
    protect_leaf_slow(pt, leaf, prot);
    return;
  }
  bits = is_last ? pt->last_page_bits : bits;
  if (!pt_update_inline(pt, table_entry(pt->hint_table, ia, SHIFT_L3), old, bits | desc_out(old).v, ia, SHIFT_L3))
    protect_leaf_slow(pt, leaf, prot);
}

/* ---- Ageing and dirty logging ---- */

static bool is_young(const struct pt *pt, uint64_t desc) {
  (void)pt;
  return desc & DESC_AF;
}

static uint64_t aged(const struct pt *pt, uint64_t desc) {
  (void)pt;
  return desc & ~DESC_AF;
}

static bool is_dirty(const struct pt *pt, uint64_t desc) {
  return (desc & DESC_LOGGED) && desc_is_writable(pt, desc);
}

static uint64_t cleaned(const struct pt *pt, uint64_t desc) {
  return desc_set_writable(pt, desc, false);
}

struct harvest {
  bool (*ripe)(const struct pt *pt, uint64_t desc);
  uint64_t (*reaped)(const struct pt *pt, uint64_t desc);
};

static const struct harvest age = {is_young, aged};
static const struct harvest dirty_log = {is_dirty, cleaned};

/* Take the mark off every leaf that has it, telling the caller; then one flush, so that the next access marks anew. */
static void harvest(struct pt *pt, const struct harvest *h, uint64_t ia, uint64_t size, pt_leaf_fn *fn, void *ctx) {
  struct pt_scan scan = scan_over(ia, size);
  struct pt_span span = span_none();
  if (pt_check_range(pt, ia, size) != ERR_OK)
    return;
  for (; pt_scan_next(pt, &scan); pt_scan_step(&scan)) {
    uint64_t desc, start = align_down(scan.ia, BIT(scan.at.shift));
    do
      desc = port_pte_load(scan.at.entry);
    while (h->ripe(pt, desc) && !pt_update(pt, scan.at.entry, desc, h->reaped(pt, desc), start, scan.at.shift));
    if (!h->ripe(pt, desc))
      continue;
    span_add(&span, start, scan.at.shift);
    if (fn)
      fn(ctx, start, desc_out(desc), shift_level(scan.at.shift), desc);
  }
  span_flush(pt, &span);
}

void pt_age(struct pt *pt, uint64_t ia, uint64_t size, pt_leaf_fn *young, void *ctx) {
  harvest(pt, &age, ia, size, young, ctx);
}

void pt_collect_dirty(struct pt *pt, uint64_t ia, uint64_t size, pt_leaf_fn *dirty, void *ctx) {
  harvest(pt, &dirty_log, ia, size, dirty, ctx);
}

err_t pt_mark_accessed(struct pt *pt, uint64_t ia, bool write) {
  if (ia >> pt->ia_bits)
    return ERR_RANGE;
  struct pt_at at = walk_hinted(pt, ia);
  if (!desc_is_valid(at.desc))
    return ERR_NOENT;
  if (write && !desc_is_writable(pt, at.desc) && !(at.desc & DESC_LOGGED))
    return ERR_PERM;
  bool dirties = write && !desc_is_writable(pt, at.desc);
  if (unlikely(dirties && (at.desc & DESC_CONTIG)))
    pt_uncontig(pt, at.entry, ia, at.shift);
  uint64_t old, desc;
  do {
    old = port_pte_load(at.entry);
    desc = dirties ? desc_set_writable(pt, old | DESC_AF, true) : old | DESC_AF;
  } while (desc != old && !pt_update(pt, at.entry, old, desc, ia, at.shift));
  if (dirties) /* TLBs may hold the read-only form; AF = 0 they never hold (Arm ARM D8.4.4) */
    pt->ops->tlb_flush(pt, align_down(ia, BIT(at.shift)), BIT(at.shift), shift_level(at.shift), false);
  else
    pt->ops->publish(pt);
  return ERR_OK;
}
