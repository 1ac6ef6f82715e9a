/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compaction by both policies on seeded layouts of a 4 GiB zone, against the oracle.
 *
 *   compaction KIND                                  a CSV line for each layout of that kind and each policy
 *   compaction picture KIND OCCUPANCY UNMOVABLE POLICY   what each pageblock holds, before and after: frames used, frames unmovable
 *
 * Exit status 1 if anything was lost or miscounted; the figures are for the reader to judge.
 */
#include "layout_judge.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES ((uint64_t)4 << 18)
#define SEED 1

static const unsigned occupancies[] = {30, 40, 50, 60, 70, 80, 90, 95}, unmovables[] = {0, 1, 5};

static enum layout_kind kind_by_name(const char *name) {
  unsigned kind = 0;
  while (kind < LAYOUT_EMPTY && strcmp(layout_kind_name((enum layout_kind)kind), name) != 0)
    kind++;
  return (enum layout_kind)kind;
}

static bool measure(const struct layout_config *c, const struct compact_policy *policy) {
  struct judgement j;
  layout_judge(c, policy, &j);
  printf("%s,%u,%u,%s,%u,%u,%u,%lu,%lu,%u\n", layout_kind_name(c->kind), c->occupancy, c->unmovable, compact_policy_name(policy), j.before,
         j.bound, j.reached, (unsigned long)j.moved, (unsigned long)j.least, j.counts);
  if (j.wrong)
    fprintf(stderr, "compaction: %s %u%% %u%% unmovable, %s: %s\n", layout_kind_name(c->kind), c->occupancy, c->unmovable,
            compact_policy_name(policy), j.wrong);
  return j.wrong == NULL;
}

static int table(enum layout_kind kind) {
  bool good = true;
  puts("kind,occupancy,unmovable,policy,before,bound,reached,moved,least,counts");
  for (unsigned u = 0; u < ARRAY_SIZE(unmovables); u++) {
    for (unsigned i = 0; i < ARRAY_SIZE(occupancies); i++) {
      struct layout_config c = {.kind = kind, .frames = FRAMES, .occupancy = occupancies[i], .unmovable = unmovables[u], .seed = SEED};
      good &= measure(&c, &compact_occupancy);
      good &= measure(&c, &compact_classic);
      fflush(stdout);
    }
  }
  return good ? 0 : 1;
}

static struct layout_pageblock *look(const struct layout *l) {
  struct layout_pageblock *pb = calloc(FRAMES / PAGEBLOCK_FRAMES, sizeof(*pb));
  layout_describe(l, pb);
  return pb;
}

static int picture(enum layout_kind kind, unsigned occupancy, unsigned unmovable, const struct compact_policy *policy) {
  struct layout_config c = {.kind = kind, .frames = FRAMES, .occupancy = occupancy, .unmovable = unmovable, .seed = SEED};
  struct compact_request request = {.policy = policy, .mode = COMPACT_SYNC, .order = PAGEBLOCK_ORDER, .owner = COMPACT_ANY_OWNER};
  struct compact_report report;
  struct layout l;
  layout_create(&l, &c);
  struct layout_pageblock *before = look(&l);
  err_t err = compact_zone(&request, &report);
  struct layout_pageblock *after = look(&l);
  puts("used_before,unmovable_before,used_after,unmovable_after");
  for (uint64_t i = 0; i < FRAMES / PAGEBLOCK_FRAMES; i++)
    printf("%u,%u,%u,%u\n", before[i].used, before[i].unmovable, after[i].used, after[i].unmovable);
  free(before);
  free(after);
  layout_destroy(&l);
  return err == ERR_OK ? 0 : 1;
}

static int usage(void) {
  fprintf(stderr, "usage: compaction KIND | compaction picture KIND OCCUPANCY UNMOVABLE POLICY\n");
  return 2;
}

int main(int argc, char **argv) {
  const char *name = argc == 2 ? argv[1] : argc == 6 ? argv[2] : "";
  enum layout_kind kind = kind_by_name(name);
  if (kind == LAYOUT_EMPTY)
    return usage();
  if (argc == 2)
    return table(kind);
  const struct compact_policy *policy = compact_policy_by_name(argv[5]);
  return policy && strcmp(argv[1], "picture") == 0 ? picture(kind, (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]), policy) : usage();
}
