/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_PGTABLE_H
#define MM_PGTABLE_H

/*
 * One page-table engine for EL2 stage 1, EL1 stage 1 and stage 2 (VMSAv8-64, 4 KiB granule, Arm ARM D8). Encoders differ, walking
 * does not. Geometry is data: start level and concatenated root tables; levels carry Arm's numbers 0..3.
 *
 * The engine takes no lock: the caller holds the lock of the table for writing (pt_map .. pt_destroy) or reading (pt_lookup).
 * Every change follows reserve -> commit: tables are allocated before the first descriptor is written, so that an error
 * leaves the mapping as it was. One function writes descriptors; it reports each write through port_event() and does break-before-make
 * (Arm ARM D8.14.1) whenever a valid descriptor is replaced by another that differs in more than permissions, AF or software bits.
 */

#include "core/err.h"
#include "core/types.h"

/* What a leaf allows and how it is cached, in the engine's own terms; the encoder turns it into descriptor bits. */
typedef uint32_t pt_prot_t;
#define PT_R 0x0001u
#define PT_W 0x0002u
#define PT_X 0x0004u         /* executable at the privileged level (stage 1), at all (stage 2) */
#define PT_USER 0x0008u      /* stage 1 of EL1: EL0 may access as R and W say */
#define PT_UX 0x0010u        /* stage 1 of EL1: executable at EL0 */
#define PT_GLOBAL 0x0020u    /* stage 1 of EL1: nG = 0 */
#define PT_DEVICE 0x0040u    /* Device-nGnRnE; else Normal write-back, inner shareable */
#define PT_NC 0x0080u        /* Normal non-cacheable */
#define PT_OLD 0x0100u       /* write the leaf with AF = 0: the first access faults or sets it */
#define PT_CONTIG 0x0200u    /* contiguous hint: 16 entries, naturally aligned; the caller guarantees the run */
#define PT_DIRTY_LOG 0x0400u /* writable in principle, write-protected to log the first write (DBM where hardware has it) */
#define PT_SW0 0x1000u       /* software bits 55..57 of the descriptor, kept for the caller; bit 58 is the engine's */
#define PT_SW1 0x2000u
#define PT_SW2 0x4000u
#define PT_DESC_SW0 ((uint64_t)1 << 55) /* PT_SW0 in a descriptor, in every regime: for a pt_leaf_fn that looks for it */

struct pt;

/* What differs between the regimes, and what the engine must ask its owner. All pointers set; const. */
struct pt_ops {
  const char *name;
  /* Encode a leaf at `level` (1..3): `out` and bits that depend on level, prot and constants of `pt` only. */
  uint64_t (*leaf)(const struct pt *pt, pa_t out, unsigned level, pt_prot_t prot);
  /* The prot a valid leaf was written with. */
  pt_prot_t (*prot)(const struct pt *pt, uint64_t desc);
  /* A zeroed frame for a table, charged to the owner; already in its final frame state. ERR_NOMEM. */
  err_t (*table_alloc)(struct pt *pt, pfn_t *out);
  void (*table_free)(struct pt *pt, pfn_t table);
  /*
   * Entries that translated [ia, ia + size) were made invalid or less permissive: make every CPU forget them, with all barriers
   * before and after (stage 2: DSB ISHST, TLBI IPAS2E1IS, DSB ISH, TLBI VMALLE1IS, DSB ISH, ISB under the right VMID).
   * `level` is that of the leaf entries (TTL hint), the finest if there were several. `tables` is true if table descriptors were among
   * them, or leaves of more than one level: then walk caches must go as well and no TTL hint may be given.
   */
  void (*tlb_flush)(struct pt *pt, uint64_t ia, uint64_t size, unsigned level, bool tables);
  /* New valid entries replaced invalid ones: DSB ISHST (and ISB for the home's own regime). */
  void (*publish)(struct pt *pt);
};

/* A set of translation tables. Fields are set by pt_init and constant afterwards, except where noted. */
struct pt {
  const struct pt_ops *ops;
  void *root; /* linear-map address of the (first) root table */
  pfn_t root_pfn;
  uint8_t start_level;   /* 0..2 */
  uint8_t start_shift;   /* address bits below the first index: 39, 30 or 21 */
  uint8_t root_order;    /* log2 of concatenated root tables, 0..4 */
  uint8_t ia_bits;       /* input addresses are 0 .. 2^ia_bits - 1 (an upper-half TTBR1 range is passed without its sign bits) */
  uint8_t features;      /* PT_FEAT_* */
  uint16_t id;           /* VM id or ASID for events */
  uint32_t seq;          /* of descriptor writes in this table; table lock */
  uint64_t table_frames; /* tables linked, roots included; table lock */
  uint64_t hint_index;   /* ia >> 21 of the level-3 table used last, ~0: none; table lock */
  uint64_t *hint_table;
  uint32_t *hint_refs; /* its frame's count of valid entries; table lock */
  /*
   * What level-3 leaves of the prot used last and of the one before look like at output address 0, and what pt_lookup says of them; the
   * encoders give each prot its own bits, or treat two alike; table lock
   */
  uint64_t page_bits, last_page_bits;
  pt_prot_t page_prot, last_page_prot;
  /* PT_FEAT_KEEP: the level-3 table that may stay linked without an entry, by its count of valid entries, or NULL; table lock */
  const uint32_t *kept_refs;
  uint64_t kept_index; /* ia >> 21 of it */
};

#define PT_FEAT_DBM 0x01u  /* hardware dirty state is on for this regime */
#define PT_FEAT_BBM2 0x02u /* FEAT_BBM level 2: block size may change without break-before-make */
#define PT_FEAT_CONTIG 0x04u
#define PT_FEAT_S1 0x08u  /* a stage-1 regime; else stage 2 */
#define PT_FEAT_FWB 0x10u /* stage 2 under HCR_EL2.FWB: MemAttr is encoded otherwise (Arm ARM D8.5.6) */
/*
 * One level-3 table may stay when its last page goes, since the next page often comes to the same place. For owners that map single pages
 * only (pt_map_leaf at level 3) and call pt_trim() at the end.
 */
#define PT_FEAT_KEEP 0x20u

/*
 * The root, 2^root_order frames, is allocated by the caller (aligned to its size, zeroed) and freed by it after pt_destroy.
 * ERR_INVAL if start level, root_order and ia_bits do not fit together (Arm ARM D8.2).
 */
MUST_CHECK err_t pt_init(struct pt *pt, const struct pt_ops *ops, pfn_t root_pfn, unsigned start_level, unsigned root_order,
                         unsigned ia_bits, unsigned features, uint16_t id);

/* The leaf that translates an address. */
struct pt_leaf {
  uint64_t ia;   /* start of the leaf */
  pa_t out;      /* output address of the address asked for, offset within the leaf included */
  uint64_t desc; /* as in memory */
  unsigned level;
  pt_prot_t prot;
};

/*
 * Map [ia, ia + size) to [out, out + size), all 4 KiB aligned, with the largest leaves that alignment and `max_leaf` (bytes: 4K, 2M or
 * 1G) allow. The range must be unmapped: ERR_EXIST if any of it is mapped. ERR_NOMEM, ERR_RANGE. All or nothing.
 */
MUST_CHECK err_t pt_map(struct pt *pt, uint64_t ia, pa_t out, uint64_t size, pt_prot_t prot, uint64_t max_leaf);

/* As pt_map for one leaf of `level` (1..3), made quick: the fault path. ERR_EXIST if a leaf or table is there already. */
MUST_CHECK err_t pt_map_leaf(struct pt *pt, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot);

/*
 * Unmap all of [ia, ia + size) that is mapped; a leaf that reaches over an end is split first (which may fail: ERR_NOMEM, nothing changed).
 * `leaf` is called for each leaf removed, after the TLB has forgotten it, in ascending order, so frames may be freed in it; NULL allowed.
 * Tables that become empty are freed (but PT_FEAT_KEEP). Costs time in proportion to what is mapped, not to `size`.
 */
typedef void pt_leaf_fn(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc);
MUST_CHECK err_t pt_unmap(struct pt *pt, uint64_t ia, uint64_t size, pt_leaf_fn *leaf, void *ctx);

/*
 * Unmap up to `*count` leaves of `level` (1..3), at most PT_UNMAP_LEAVES_MAX, wherever they lie, under one tlb_flush (more when tables
 * become empty): each `ias[i]` is the start of one, aligned to its size and within ia_bits; an address where nothing is mapped, or that
 * stood before, is left alone. Ends before an address below which smaller leaves stand (level < 3): `*count` is how many were dealt with.
 * Returns how many leaves went, their frames are in leaves->frames, in the order of `ias`: flushed, and the caller's. Nothing is split,
 * nothing can fail.
 */
#define PT_UNMAP_LEAVES_MAX 128u
typedef bool pt_may_unmap_fn(void *ctx, uint64_t ia, pa_t out);
struct pt_leaves {
  uint64_t mask, word;  /* a leaf whose frame's entry (mm/frame.h: word) reads `word` under `mask` goes; mask 0: each is asked for */
  pt_may_unmap_fn *may; /* asked about every other one, before its entry is written; false leaves it */
  void *ctx;
  pfn_t *frames; /* room for `*count` */
};
unsigned pt_unmap_leaves(struct pt *pt, unsigned level, unsigned *count, const uint64_t *ias, const struct pt_leaves *leaves);

/* Free the empty table that PT_FEAT_KEEP left, if there is one, and those above it that become empty. */
void pt_trim(struct pt *pt);

/*
 * Change the permissions (PT_R, PT_W, PT_X, PT_USER, PT_UX, PT_OLD, PT_DIRTY_LOG, PT_SW*) of all that is mapped in the range; splits as
 * pt_unmap.
 */
MUST_CHECK err_t pt_protect(struct pt *pt, uint64_t ia, uint64_t size, pt_prot_t prot);

/*
 * As pt_protect, but `fn` chooses the permissions of each leaf that is mapped in the range, in ascending order; it may map and unmap in
 * other tables meanwhile, not in this one. A leaf that comes back unchanged is not written. Leaves are taken whole: nothing is split,
 * nothing can fail. One tlb_flush covers the range if any leaf lost a permission, none happens if leaves only gained: then the caller
 * deals with stale entries. For fork (copy and write-protect in one pass) and mprotect over copy-on-write pages.
 */
typedef pt_prot_t pt_prot_fn(void *ctx, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot);
void pt_protect_each(struct pt *pt, uint64_t ia, uint64_t size, pt_prot_fn *fn, void *ctx);

/*
 * Change the permissions of `leaf`, as pt_lookup() has just found it, to `prot`, which says the same as leaf->prot of all else. The flush
 * is the caller's, who knows what was gained and lost. Cannot fail.
 */
void pt_protect_leaf(struct pt *pt, const struct pt_leaf *leaf, pt_prot_t prot);

/* Replace the output of one leaf (break-before-make): compaction, COW. ERR_NOENT if there is no leaf at `ia` of that level. */
MUST_CHECK err_t pt_replace_leaf(struct pt *pt, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot);

/*
 * The same in two halves, for whoever copies the contents in between, when no one can reach them (compaction). pt_break_leaf() makes the
 * leaf of `level` at `ia` invalid and every TLB forget it; ERR_NOENT if there is none that leads to `out`. pt_make_leaf() writes it back
 * with another output and all else as it was (permissions, memory type, what hardware noted up to the break). Nothing else may be done to
 * `pt` in between.
 */
struct pt_broken {
  uint64_t *entry;
  uint64_t desc; /* as broken */
  uint64_t ia;
  unsigned shift;
};
MUST_CHECK err_t pt_break_leaf(struct pt *pt, uint64_t ia, pa_t out, unsigned level, struct pt_broken *broken);
void pt_make_leaf(struct pt *pt, const struct pt_broken *broken, pa_t out);

/*
 * Find the leaf that translates `ia`. ERR_NOENT if unmapped (then out->level and out->desc are where the walk ended), ERR_RANGE beyond
 * ia_bits.
 */
MUST_CHECK err_t pt_lookup(const struct pt *pt, uint64_t ia, struct pt_leaf *out);

/* Split the block leaf at `ia` (level 1 or 2) into a table of next-level leaves, built off-line and swapped in. ERR_NOMEM, ERR_NOENT. */
MUST_CHECK err_t pt_split(struct pt *pt, uint64_t ia);
/* The inverse: ERR_BUSY if the table's leaves are not contiguous, aligned and alike. */
MUST_CHECK err_t pt_collapse(struct pt *pt, uint64_t ia, unsigned level);

/* Valid entries in the level-3 table that covers `ia`, 0..512; 0 if there is none (a block, or nothing). */
unsigned pt_count_pages(const struct pt *pt, uint64_t ia);

/* Access-flag ageing: clears AF over the range, calling `young` for each leaf that had it set. Dirty logging likewise. */
void pt_age(struct pt *pt, uint64_t ia, uint64_t size, pt_leaf_fn *young, void *ctx);
void pt_collect_dirty(struct pt *pt, uint64_t ia, uint64_t size, pt_leaf_fn *dirty, void *ctx);
/* Set AF (and, for `write` under PT_DIRTY_LOG, make writable) at `ia` after an access-flag or dirty-logging fault. ERR_NOENT, ERR_PERM. */
MUST_CHECK err_t pt_mark_accessed(struct pt *pt, uint64_t ia, bool write);

/*
 * Visit every descriptor on the way to `ia`, from the root: the two-stage walk of reports and of the `walk` command.
 * Returns the number of steps written (at most 4).
 */
struct pt_step {
  unsigned level;
  pa_t entry; /* physical address of the descriptor */
  uint64_t desc;
};
unsigned pt_walk_steps(const struct pt *pt, uint64_t ia, struct pt_step steps[4]);

/*
 * Take everything down in pieces: frees at most `max_tables` tables per call, `leaf` as in pt_unmap. ERR_AGAIN while there is more, ERR_OK
 * when only the roots remain. The TLB must have forgotten the whole id first (no flush is done here): the owner will never run again.
 */
MUST_CHECK err_t pt_destroy(struct pt *pt, unsigned max_tables, pt_leaf_fn *leaf, void *ctx);

/* The three encoders. Owners fill the rest of their ops around these. */
uint64_t pt_leaf_s2(const struct pt *pt, pa_t out, unsigned level, pt_prot_t prot);
pt_prot_t pt_prot_s2(const struct pt *pt, uint64_t desc);
uint64_t pt_leaf_el1(const struct pt *pt, pa_t out, unsigned level, pt_prot_t prot);
pt_prot_t pt_prot_el1(const struct pt *pt, uint64_t desc);
uint64_t pt_leaf_el2(const struct pt *pt, pa_t out, unsigned level, pt_prot_t prot);
pt_prot_t pt_prot_el2(const struct pt *pt, uint64_t desc);

/* MAIR the stage-1 encoders assume: index 0 Device-nGnRnE, 1 Normal write-back, 2 Normal non-cacheable. */
#define PT_MAIR_VALUE 0x000000000044ff00ull

#endif
