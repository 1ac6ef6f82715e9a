/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PT_WORLD_H
#define PT_WORLD_H

/*
 * A translation regime for tests: the engine under test, the hardware of pt_hw.h that uses its tables, an allocator that can be told to
 * fail, and a flat array that says for each page of a window what it should translate to.
 */

#include "mm/pgtable.h"
#include "pt_hw.h"

struct world_config {
  const char *name;
  enum hw_stage stage;
  unsigned start_level, root_order, ia_bits, features;
  uint64_t window; /* first input address of the model's window */
};

struct world {
  struct pt pt;
  struct hw hw;
  const struct world_config *config;
  uint64_t window, pages;
  uint64_t *out;       /* per page: output address, ~0 unmapped */
  pt_prot_t *prot;     /* per page */
  uint64_t mapped;     /* pages */
  uint64_t *image;     /* copy of `out` and `prot` to compare with after a failure */
  unsigned tables;     /* handed out, roots not included */
  unsigned fail_after; /* allocations until one fails; ~0: never */
  bool failed;         /* one failed */
  unsigned speculate;  /* per cent of writes after which the TLB walks */
  uint64_t hot[2];     /* where it likes to walk: [0, 1) */
  void (*on_write)(struct world *w, uint64_t entry, uint64_t ia, unsigned level); /* a test's own look at a descriptor write; may be NULL */
  uint64_t rng;
  uint64_t leaf_cursor; /* input address the next unmapped leaf must not be below */
  uint64_t leaf_pages;  /* handed out by callbacks */
};

#define WORLD_UNMAPPED (~(uint64_t)0)

/* A fresh arena and root, an empty table and model. */
void world_open(struct world *w, const struct world_config *config, uint64_t pages);
/* Takes everything down and sees that every table came back. */
void world_close(struct world *w);

uint64_t world_random(struct world *w, uint64_t below);

/* The model, and what memory and TLB say, agree in every page. */
void world_check(struct world *w);
/* The TLB agrees for one address. */
void world_touch(struct world *w, uint64_t ia);

/* Model operations over pages [ia, ia + size). */
bool world_any_mapped(const struct world *w, uint64_t ia, uint64_t size);
void world_set(struct world *w, uint64_t ia, uint64_t size, uint64_t out, pt_prot_t prot);
void world_clear(struct world *w, uint64_t ia, uint64_t size);
void world_protect(struct world *w, uint64_t ia, uint64_t size, pt_prot_t prot);
static inline uint64_t world_index(const struct world *w, uint64_t ia) {
  return (ia - w->window) >> PAGE_SHIFT;
}

/*
 * Repeat `op` with the first, the second, ... allocation failing, until it succeeds; after each failure nothing may have changed. Its last
 * result.
 */
#define WORLD_EACH_FAILURE(w_, result_, op_)                                                                                               \
  do {                                                                                                                                     \
    for (unsigned fail__ = 0;; fail__++) {                                                                                                 \
      unsigned tables__ = (w_)->tables;                                                                                                    \
      (w_)->fail_after = fail__;                                                                                                           \
      (w_)->failed = false;                                                                                                                \
      (result_) = (op_);                                                                                                                   \
      (w_)->fail_after = ~0u;                                                                                                              \
      if (!(w_)->failed)                                                                                                                   \
        break;                                                                                                                             \
      assert_int_equal((result_), ERR_NOMEM);                                                                                              \
      assert_int_equal((w_)->tables, tables__);                                                                                            \
      world_check(w_);                                                                                                                     \
    }                                                                                                                                      \
  } while (0)

/* pt_leaf_fn for pt_unmap: checks order, the TLB and the model, and removes the leaf from the model. */
void world_leaf_gone(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc);

extern const struct pt_ops world_s2_ops, world_el1_ops, world_el2_ops;

#endif
