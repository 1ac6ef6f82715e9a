/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Commit accounting: how many pages all address spaces together could come to need.
 *
 * Policy: Linux's OVERCOMMIT_GUESS (mm/util.c, __vm_enough_memory): a single request for more than all of RAM is refused, everything
 * else is let through, and memory that runs out later is the OOM killer's business. MAP_NORESERVE memory is not counted.
 * The sum is atomic; no lock.
 */

#include "core/atomic.h"
#include "guest/vm/internal.h"

static uint64_t committed_pages, limit_pages;

void vm_commit_init(void) {
  limit_pages = ledger_total();
}

err_t vm_commit(uint64_t pages) {
  if (pages > limit_pages)
    return ERR_NOMEM;
  atomic_fetch_add_relaxed(&committed_pages, pages);
  return ERR_OK;
}

void vm_uncommit(uint64_t pages) {
  if (pages)
    atomic_fetch_add_relaxed(&committed_pages, -pages);
}

uint64_t vm_committed_pages(void) {
  return atomic_load_relaxed(&committed_pages);
}
