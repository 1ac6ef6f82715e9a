/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_HANDOVER_SELFTEST_H
#define HYP_MEM_HANDOVER_SELFTEST_H

/* The self-test of the hand-over, on the machine as it runs: see handover_selftest.c. */

#include "hyp/mem/handover_model.h"
#include "mm/frame.h"

struct vm;

#define SELFTEST_WHAT_MAX 128u

struct handover_selftest {
  unsigned transitions, legal;  /* tried so far */
  bool blocks;                  /* of 2 MiB, after the pages */
  bool blocks_skipped;          /* there was no free block */
  char what[SELFTEST_WHAT_MAX]; /* is wrong: "owned by giver, lent, taken; taker donates: ..." */
  /* its own */
  struct handover_states states;
  unsigned state, call, stage;
  err_t err;
  struct vm *party[MODEL_PARTIES];
  owner_t id[MODEL_PARTIES];
  struct handover_model m;
  uint64_t handle;
  pfn_t unit[3]; /* first frame of each leaf that is handed over */
};

/* Begin anew. */
void handover_selftest_begin(struct handover_selftest *t);
/*
 * A step: ERR_AGAIN while there are more; ERR_OK: all went as it must. ERR_NOMEM, ERR_NOSPC: no memory, or no id, for the two parties; any
 * other: `what` is wrong. After an error the parties are gone, too. Some 70,000 instructions at most. CPU 0 only, no lock held.
 */
MUST_CHECK err_t handover_selftest_step(struct handover_selftest *t);
/* Broken off: the parties end. */
void handover_selftest_stop(struct handover_selftest *t);

#endif
