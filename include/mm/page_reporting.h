/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_PAGE_REPORTING_H
#define MM_PAGE_REPORTING_H

/*
 * Free-page reporting (Linux: mm/page_reporting): whoever lends this machine its memory is told which whole pageblocks are free, and may
 * take them until they are touched again.
 *
 * A block that is reported is nobody's meanwhile: it leaves the free lists and comes back marked, so that it is not reported again until it
 * was handed out. Marked blocks are handed out last, since they must be backed anew. A block whose other half comes free unreported loses
 * the mark.
 */

#include "mm/page_alloc.h"

#define PAGE_REPORTING_CAPACITY 32u /* blocks of one report (Linux: PAGE_REPORTING_CAPACITY) */

struct page_report {
  pfn_t frame;
  unsigned order; /* PAGEBLOCK_ORDER or MAX_ORDER */
};

struct page_reporting_ops {
  /*
   * Tell of `count` blocks, 1 to PAGE_REPORTING_CAPACITY, and return when the other side has answered. On an error they count as not told.
   * No lock held.
   */
  err_t (*report)(const struct page_report *blocks, unsigned count);
};

/* Frames of whole pageblocks that are free and not reported, those in the CPUs' lists of pageblocks included: a glimpse, some 30 loads. */
uint64_t page_reporting_pending(void);

/*
 * One report, of a zone's largest blocks first. Never takes so much that a request above the low watermark would fail meanwhile: at most
 * half of what lies above it. This CPU's lists go back to the buddy before, others are asked to give theirs; no lock may be held, one
 * caller at a time. ERR_AGAIN: some were reported, there may be more. ERR_OK: there is nothing to report. ERR_NOMEM: there is, but what is
 * free is needed. Else what ops->report() answered; nothing is marked then.
 */
MUST_CHECK err_t page_reporting_step(const struct page_reporting_ops *ops);

#endif
