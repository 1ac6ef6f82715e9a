/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_HANDOVER_SELFTEST_PRIV_H
#define HYP_MEM_HANDOVER_SELFTEST_PRIV_H

/* Inside the self-test of the hand-over: the parties' layout, and the look at them. */

#include "hyp/core/vm.h"
#include "hyp/mem/handover_selftest.h"
#include "mm/port.h"

#define SELFTEST_BLOCK_ORDER 9u
#define SELFTEST_PAGES 3u /* of the range, in the walk over pages */
#define SELFTEST_RAM (2 * SZ_2M)
#define SELFTEST_WINDOW_BYTES SZ_2M
#define SELFTEST_HOME (VM_RAM_BASE + SZ_2M) /* where the giver has the range at first */
#define SELFTEST_WINDOW (VM_RAM_BASE + SELFTEST_RAM)

extern const char *const handover_party_names[MODEL_PARTIES];

/* Leaves of the range, their order, pages in all of it. */
static inline unsigned selftest_units(const struct handover_selftest *t) {
  return t->blocks ? 1 : SELFTEST_PAGES;
}

static inline unsigned selftest_order(const struct handover_selftest *t) {
  return t->blocks ? SELFTEST_BLOCK_ORDER : 0;
}

static inline uint64_t selftest_pages(const struct handover_selftest *t) {
  return (uint64_t)selftest_units(t) << selftest_order(t);
}

/* The first word of a page of the range, which holds selftest_mark(). */
static inline uint64_t *selftest_word(const struct handover_selftest *t, uint64_t page) {
  unsigned order = selftest_order(t);
  return port_frame_ptr(pfn_add(t->unit[page >> order], page & (((uint64_t)1 << order) - 1)));
}

static inline uint64_t selftest_mark(uint64_t page) {
  return ~page;
}

/* Say what is wrong with a party, and with which value. ERR_INVAL. */
MUST_CHECK err_t handover_selftest_wrong(struct handover_selftest *t, unsigned party, const char *what, uint64_t value);
/* Is everything as t->m says? ERR_INVAL: handover_selftest_wrong() was called. */
MUST_CHECK err_t handover_selftest_check(struct handover_selftest *t);
/* Both parties are gone: is nothing left that was theirs? As above. */
MUST_CHECK err_t handover_selftest_check_end(struct handover_selftest *t);

#endif
