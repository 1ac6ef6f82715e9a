/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_COLLAPSE_H
#define HYP_MEM_COLLAPSE_H

/* 512 pages of a VM become one 2 MiB leaf again, in steps, under running vCPUs (Linux: khugepaged). */

#include "core/err.h"
#include "core/types.h"

struct vm;

struct collapse {
  unsigned vm_id;
  uint64_t ia;    /* 2 MiB aligned */
  pfn_t block;    /* where the pages go */
  unsigned next;  /* pages below it are there */
  uint64_t moved; /* frames, since collapse_begin() */
};

/*
 * Take on the 2 MiB of `vm` at `at`. ERR_NOENT unless all 512 pages are there as pages of their own; ERR_NOMEM if there is no free block of
 * 2 MiB; ERR_EXIST if the pages lay side by side already and the leaf is made: then that is all. After ERR_OK, steps must follow to
 * their end, or collapse_cancel().
 */
MUST_CHECK err_t collapse_begin(struct collapse *c, struct vm *vm, ipa_t at);
/*
 * Move at most `max_moves` pages. ERR_AGAIN: there are more; ERR_OK: it is one leaf; ERR_BUSY: a page would not move, and the rest of the
 * block is free again.
 */
MUST_CHECK err_t collapse_step(struct collapse *c, unsigned max_moves);
void collapse_cancel(struct collapse *c);

#endif
