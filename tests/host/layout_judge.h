/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_LAYOUT_JUDGE_H
#define TESTS_HOST_LAYOUT_JUDGE_H

/* One layout compacted by one policy, held against the oracle. */

#include "compact_oracle.h"
#include "layouts.h"
#include "mm/compact.h"

/* The demands, in percent: free pageblocks of the bound, moved frames of the least. */
#define JUDGE_FREE_PERCENT 99u
#define JUDGE_MOVED_PERCENT 105u
/* A layout counts if there is this much to win, in free pageblocks at the end. */
#define JUDGE_COUNTS_FROM 32u

struct judgement {
  uint32_t before, bound, reached; /* wholly free pageblocks */
  uint64_t moved, least;           /* frames moved, and the fewest for `reached` */
  bool counts, free_enough, moved_few;
  const char *wrong; /* what layout_verify() or the report says, or NULL */
};

/* The oracle that knows this layout. The caller's to destroy. */
struct oracle *layout_oracle(const struct layout *l);

/* Make the layout, compact it until nothing more is to be gained, verify and judge. */
void layout_judge(const struct layout_config *config, const struct compact_policy *policy, struct judgement *out);

#endif
