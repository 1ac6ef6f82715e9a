/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PT_HW_H
#define PT_HW_H

/*
 * What hardware makes of translation tables, written from the Arm ARM (D8) and from nothing of mm/: a walker that objects to any bit that
 * is RES0, and a TLB that remembers all it ever walked until it is told to forget. The TLB is as nasty as the architecture allows: it
 * walks at any moment (hw_speculate), keeps leaves and table pointers, honours level hints to the letter, and may cache a whole contiguous
 * run from one entry.
 */

#include <stdbool.h>
#include <stdint.h>

enum hw_stage {
  HW_STAGE2,
  HW_EL1,
  HW_EL2
};

struct hw_regime {
  enum hw_stage stage;
  unsigned start_level, root_tables, ia_bits;
  uint64_t root; /* physical */
  bool fwb, dbm, bbm2, contig;
  unsigned may_keep; /* empty level-3 tables that the owner allows */
};

enum hw_memory {
  HW_DEVICE,
  HW_WB,
  HW_NC
};

struct hw_leaf {
  uint64_t ia, size, out; /* of the whole leaf */
  unsigned level;
  uint64_t desc;
  bool r, w, x, user, ux, global, af, contig;
  enum hw_memory memory;
};

#define HW_TLB_ENTRIES 512u
#define HW_WALK_ENTRIES 512u

struct hw_tlb_entry {
  uint64_t ia, size, out, leaf_size;
  bool w, x, r, user, ux;
};

struct hw_walk_entry {
  uint64_t ia, size, table; /* the table that serves [ia, ia + size) */
};

struct hw {
  struct hw_regime regime;
  struct hw_tlb_entry tlb[HW_TLB_ENTRIES];
  struct hw_walk_entry walk[HW_WALK_ENTRIES];
  unsigned tlb_count, walk_count;
  uint64_t flushes;
};

/* Ends the test with a message. */
_Noreturn void hw_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Walk in memory, no TLB. False: a translation fault. Dies on a malformed descriptor. */
bool hw_walk(const struct hw_regime *regime, uint64_t ia, struct hw_leaf *leaf);

/* True if a walk of `ia` would read the descriptor at physical address `entry`: it is not in a table still being built. */
bool hw_reaches(const struct hw_regime *regime, uint64_t ia, uint64_t entry);

/* The TLB walks `ia` on its own and keeps what it finds. */
void hw_speculate(struct hw *hw, uint64_t ia);

/* Translate through the TLB, walking if it has nothing. False: a fault. */
bool hw_access(struct hw *hw, uint64_t ia, struct hw_tlb_entry *out);

/* TLBI of [ia, ia + size) for leaves of `level`; walk caches and other levels too if `tables`. */
void hw_flush(struct hw *hw, uint64_t ia, uint64_t size, unsigned level, bool tables);

/* A descriptor for [ia, ia + size) was written: dies if it is valid and the TLB holds something that contradicts it (break-before-make). */
void hw_check_make(const struct hw *hw, uint64_t ia, unsigned level, uint64_t old, uint64_t desc);

/* Dies if the TLB still knows a translation for the range, or this table. */
void hw_check_forgotten(const struct hw *hw, uint64_t ia, uint64_t size);
void hw_check_table_forgotten(const struct hw *hw, uint64_t table);

/* Visit every leaf in memory, ascending; counts tables, roots included. Dies on an empty table or a broken contiguous run. */
typedef void hw_leaf_fn(void *ctx, const struct hw_leaf *leaf);
unsigned hw_for_each_leaf(const struct hw_regime *regime, hw_leaf_fn *fn, void *ctx);

#endif
