/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * How much the end of a process would help when no frame is left (Linux: oom_badness(), mm/oom_kill.c). Whom to ask, and the killing, is
 * the kernel's (guest/kernel/oom.c).
 *
 * A glimpse without mmap_lock: whoever holds it may be the one that waits for the answer. The counters are words, so each is what it was at
 * some moment. Lock: none; the caller sees to it that the mm stays.
 */

#include "guest/vm/internal.h"

int64_t oom_badness(const struct mm_struct *mm, int adj, uint64_t total_pages) {
  uint64_t pages = atomic_load_relaxed(&mm->pt.table_frames);
  if (adj <= OOM_SCORE_ADJ_MIN)
    return OOM_NEVER;
  for (unsigned kind = 0; kind < MM_RSS_KINDS; kind++)
    pages += atomic_load_relaxed(&mm->rss[kind]);
  return (int64_t)pages + adj * (int64_t)(total_pages / OOM_SCORE_ADJ_MAX);
}
