/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_PGTABLE_PRIV_H
#define MM_PGTABLE_PRIV_H

/*
 * What the files of the page-table engine share: descriptor bits, the walk, and the writer. Private to mm/pgtable*.c.
 *
 *   63      59 58    55 54 53 52 51 50 48 47              12 11 10 9  8 7  6 5     2 1 0
 *  +----------+--------+--+--+--+--+-----+------------------+--+--+----+----+-------+---+
 *  | ignored  |software|XN|PX|Ct|DB| 0   | output address   |nG|AF| SH |perm| attr  |T V|   leaf (T: 0 block, 1 page)
 *  +----------+--------+--+--+--+--+-----+------------------+--+--+----+----+-------+---+
 *
 * perm is AP[2:1] in stage 1 and S2AP[1:0] in stage 2; attr is AttrIndx/NS or MemAttr; nG is stage 1 only.
 *
 * frame_of(table)->refs counts the valid entries of a table, so that the last unmap frees it without a look at the other 511.
 */

#include "core/bits.h"
#include "core/check.h"
#include "core/compiler.h"
#include "mm/frame.h"
#include "mm/pgtable.h"
#include "mm/port.h"

#define DESC_VALID BIT(0)
#define DESC_TYPE_MASK 3u
#define DESC_TYPE_BLOCK 1u
#define DESC_TYPE_TABLE 3u /* levels 0..2 */
#define DESC_TYPE_PAGE 3u  /* level 3 */
#define DESC_ATTR_SHIFT 2
#define DESC_PERM_SHIFT 6
#define DESC_PERM_W BIT(7) /* S2AP[1]: writable; AP[2]: read-only */
#define DESC_SH_INNER (3u << 8)
#define DESC_AF BIT(10)
#define DESC_NG BIT(11)
#define DESC_ADDR GENMASK(47, 12)
#define DESC_DBM BIT(51)
#define DESC_CONTIG BIT(52)
#define DESC_PXN BIT(53)
#define DESC_XN BIT(54) /* UXN where there are two */
#define DESC_SW_SHIFT 55
#define DESC_SW_MASK GENMASK(57, 55)
#define DESC_LOGGED BIT(58) /* software: under dirty logging, writable in principle */

/* What may change in a valid leaf without break-before-make: permissions, AF, dirty state, software bits (Arm ARM D8.14.1). */
#define DESC_SOFT (3u << DESC_PERM_SHIFT | DESC_AF | DESC_DBM | DESC_PXN | DESC_XN | DESC_SW_MASK | DESC_LOGGED)

#define TABLE_ENTRIES 512u
#define TABLE_BITS 9u
#define CONTIG_ENTRIES 16u
#define SHIFT_L1 30u
#define SHIFT_L2 21u
#define SHIFT_L3 12u

/* A level is known by the number of address bits below its index: 39, 30, 21, 12 for levels 0..3. */
static inline unsigned level_shift(unsigned level) {
  return 39u - TABLE_BITS * level;
}

static inline unsigned shift_level(unsigned shift) {
  return (39u - shift) / TABLE_BITS;
}

static inline bool desc_is_valid(uint64_t desc) {
  return desc & DESC_VALID;
}

static inline bool desc_is_table(uint64_t desc, unsigned shift) {
  return shift > SHIFT_L3 && (desc & DESC_TYPE_MASK) == DESC_TYPE_TABLE;
}

static inline pa_t desc_out(uint64_t desc) {
  return pa(desc & DESC_ADDR);
}

static inline uint64_t *desc_table(uint64_t desc) {
  return port_frame_ptr(pa_pfn(desc_out(desc)));
}

/* Bit 7 means opposite things in the two stages. */
static inline bool desc_is_writable(const struct pt *pt, uint64_t desc) {
  return !(desc & DESC_PERM_W) == !!(pt->features & PT_FEAT_S1);
}

static inline uint64_t desc_set_writable(const struct pt *pt, uint64_t desc, bool writable) {
  return !writable == !(pt->features & PT_FEAT_S1) ? desc & ~DESC_PERM_W : desc | DESC_PERM_W;
}

/* ---- Walking ---- */

/* The concatenated root tables lie side by side: the first index is not masked. */
static inline uint64_t *root_entry(const struct pt *pt, uint64_t ia) {
  return (uint64_t *)pt->root + (ia >> pt->start_shift);
}

static inline uint64_t *table_entry(uint64_t *table, uint64_t ia, unsigned shift) {
  return table + (ia >> shift & (TABLE_ENTRIES - 1));
}

struct pt_at {
  uint64_t *entry;
  uint64_t desc; /* as loaded */
  unsigned shift;
};

/* Follow table descriptors from the root to the entry for `ia` at `stop` (a shift), or to the last one above it that is no table. */
static ALWAYS_INLINE struct pt_at walk_to(const struct pt *pt, uint64_t ia, unsigned stop) {
  unsigned shift = pt->start_shift;
  uint64_t *entry = root_entry(pt, ia);
  uint64_t desc = port_pte_load(entry);
  while (shift != stop && (desc & DESC_TYPE_MASK) == DESC_TYPE_TABLE) {
    shift -= TABLE_BITS;
    entry = table_entry(desc_table(desc), ia, shift);
    desc = port_pte_load(entry);
  }
  return (struct pt_at){entry, desc, shift};
}

/* As walk_to the leaf, by way of the level-3 table used last. The hint is dropped whenever a table descriptor is overwritten. */
static ALWAYS_INLINE struct pt_at walk_hinted(const struct pt *pt, uint64_t ia) {
  if (likely(ia >> SHIFT_L2 == pt->hint_index)) {
    uint64_t *entry = table_entry(pt->hint_table, ia, SHIFT_L3);
    return (struct pt_at){entry, port_pte_load(entry), SHIFT_L3};
  }
  return walk_to(pt, ia, SHIFT_L3);
}

/* The refs of the table that `entry` lies in. */
static inline uint32_t *entry_refs(const uint64_t *entry) {
  return &frame_of(port_ptr_frame(entry))->refs;
}

static inline void hint_set(struct pt *pt, uint64_t ia, uint64_t *entry) {
  pt->hint_index = ia >> SHIFT_L2;
  pt->hint_table = entry - (ia >> SHIFT_L3 & (TABLE_ENTRIES - 1));
  pt->hint_refs = entry_refs(entry);
}

static inline void hint_drop(struct pt *pt) {
  pt->hint_index = ~(uint64_t)0;
}

/* ERR_INVAL unless 4 KiB aligned and not empty, ERR_RANGE unless within ia_bits. */
MUST_CHECK err_t pt_check_range(const struct pt *pt, uint64_t ia, uint64_t size);

/* ---- Writing (pgtable_write.c) ---- */

NOINLINE void pt_report_write(struct pt *pt, const uint64_t *entry, uint64_t old, uint64_t desc, uint64_t where);

/* Every store of a descriptor comes past here. */
static ALWAYS_INLINE void pt_note_write(struct pt *pt, const uint64_t *entry, uint64_t old, uint64_t desc, uint64_t ia, unsigned shift) {
  pt->seq++;
  if (unlikely(port_event_on(MM_EVENT_PTE_WRITE)))
    pt_report_write(pt, entry, old, desc, align_down(ia, BIT(shift)) | shift_level(shift));
}

/*
 * Fill an entry that is invalid, in a table that may be live or not yet linked. The store is a release: whatever a new table holds is
 * observable before the entry that points to it (Arm ARM B2.3, D8.2.6).
 */
static ALWAYS_INLINE void pt_fill(struct pt *pt, uint64_t *entry, uint64_t desc, uint64_t ia, unsigned shift) {
  port_pte_store(entry, desc);
  pt_note_write(pt, entry, 0, desc, ia, shift);
}

/* Make an entry invalid, whatever hardware does to it meanwhile; the last that it held. The flush is the caller's. */
static ALWAYS_INLINE uint64_t pt_clear(struct pt *pt, uint64_t *entry, uint64_t ia, unsigned shift) {
  uint64_t old;
  do
    old = port_pte_load(entry);
  while (unlikely(!port_pte_cas(entry, old, 0)));
  if (desc_is_table(old, shift))
    hint_drop(pt);
  pt_note_write(pt, entry, old, 0, ia, shift);
  return old;
}

/*
 * Replace whatever `entry` holds and return what that was. Invalid to anything, anything to invalid, and changes within DESC_SOFT are one
 * write; anything else is break-before-make, TLB flush of the entry's span included. Making an entry invalid or less permissive leaves the
 * flush to the caller, who may gather several.
 */
uint64_t pt_replace(struct pt *pt, uint64_t *entry, uint64_t desc, uint64_t ia, unsigned shift);

/* Change a valid leaf from `old` to `desc` (within DESC_SOFT) unless hardware changed it meanwhile: then false. */
static ALWAYS_INLINE MUST_CHECK bool pt_update_inline(struct pt *pt, uint64_t *entry, uint64_t old, uint64_t desc, uint64_t ia,
                                                      unsigned shift) {
  CHECK(((old ^ desc) & ~DESC_SOFT) == 0);
  if (!port_pte_cas(entry, old, desc))
    return false;
  pt_note_write(pt, entry, old, desc, ia, shift);
  return true;
}
MUST_CHECK bool pt_update(struct pt *pt, uint64_t *entry, uint64_t old, uint64_t desc, uint64_t ia, unsigned shift);

/* ---- Tables (pgtable_write.c) ---- */

/* Tables allocated before anything is written, chained through their frames. */
struct pt_pool {
  pfn_t head;
  unsigned count;
};

MUST_CHECK err_t pool_fill(struct pt *pt, struct pt_pool *pool, unsigned count);
void pool_drain(struct pt *pt, struct pt_pool *pool);
/* Take one to serve at `shift` for the addresses around `ia`; empty. The pool must not be. */
pfn_t pool_take(struct pt *pt, struct pt_pool *pool, uint64_t ia, unsigned shift);

/* `table` is linked from now on. */
void pt_table_opened(struct pt *pt, pfn_t table, uint64_t ia, unsigned shift);
/* Give back a table that no TLB and no walk can reach any more. */
void pt_table_free(struct pt *pt, pfn_t table);

static inline uint64_t table_desc(pfn_t table) {
  return pfn_pa(table).v | DESC_TYPE_TABLE;
}

/* ---- Leaves ---- */

/* What a page of `prot` looks like, less its address: asked of the encoder only when it is neither of the last two. */
static ALWAYS_INLINE uint64_t pt_page_bits(struct pt *pt, pt_prot_t prot) {
  if (unlikely(prot != pt->page_prot)) {
    uint64_t bits = likely(prot == pt->last_page_prot) ? pt->last_page_bits : pt->ops->leaf(pt, pa(0), 3, prot);
    pt->last_page_bits = pt->page_bits;
    pt->last_page_prot = pt->page_prot;
    pt->page_bits = bits;
    pt->page_prot = prot;
  }
  return pt->page_bits;
}

/* The prot that a page, `desc`, was written with. */
static ALWAYS_INLINE pt_prot_t pt_page_prot(const struct pt *pt, uint64_t desc) {
  return likely((desc & ~DESC_ADDR) == pt->page_bits) ? pt->page_prot : pt->ops->prot(pt, desc);
}

/* Turn the contiguous run that `at` belongs to into 16 leaves without the hint. */
void pt_uncontig(struct pt *pt, uint64_t *entry, uint64_t ia, unsigned shift);
/* Split the block at `entry` (hint already gone) into a table from `pool`. */
void pt_split_block(struct pt *pt, uint64_t *entry, uint64_t ia, unsigned shift, struct pt_pool *pool);
/* See to it that no leaf and no contiguous run reaches over `ia` or `end`. ERR_NOMEM: nothing changed. */
MUST_CHECK err_t pt_isolate(struct pt *pt, uint64_t ia, uint64_t end);

/* Leaves of a range, one after the other. */
struct pt_scan {
  uint64_t ia, end; /* ia: of the leaf found */
  struct pt_at at;
};

static inline struct pt_scan scan_over(uint64_t ia, uint64_t size) {
  return (struct pt_scan){.ia = ia, .end = ia + size};
}

/* Find the next leaf that lies at, or reaches over, or starts after scan->ia and before its end. */
bool pt_scan_next(const struct pt *pt, struct pt_scan *scan);
/* Go past the leaf just found. */
static inline void pt_scan_step(struct pt_scan *scan) {
  scan->ia = align_down(scan->ia, BIT(scan->at.shift)) + BIT(scan->at.shift);
  scan->at.entry++;
}

/* The span of leaves that one tlb_flush will cover. */
struct pt_span {
  uint64_t start, end; /* empty when start >= end */
  unsigned level;      /* the finest */
  bool mixed;          /* more than one level, or tables */
};

static inline struct pt_span span_none(void) {
  return (struct pt_span){.start = ~(uint64_t)0};
}

static inline void span_add(struct pt_span *span, uint64_t ia, unsigned shift) {
  uint64_t start = align_down(ia, BIT(shift)), end = start + BIT(shift);
  unsigned level = shift_level(shift);
  span->mixed |= span->end != 0 && level != span->level;
  span->level = level > span->level ? level : span->level;
  span->start = start < span->start ? start : span->start;
  span->end = end > span->end ? end : span->end;
}

static inline void span_flush(struct pt *pt, const struct pt_span *span) {
  if (span->start < span->end)
    pt->ops->tlb_flush(pt, span->start, span->end - span->start, span->level, span->mixed);
}

#endif
