/* SPDX-License-Identifier: BSD-2-Clause */
/* Judges a policy by what the layout's owner and the oracle know; of the core's own report only its sums are believed, after a check. */
#include "layout_judge.h"

#define EFFORT 100u /* more steps raise the bound by less than a thousandth */

struct oracle *layout_oracle(const struct layout *l) {
  struct oracle *o = oracle_create((uint32_t)(l->config.frames / PAGEBLOCK_FRAMES), PAGEBLOCK_ORDER);
  for (uint32_t id = 0; id < l->blocks; id++) {
    const struct layout_block *b = &l->block[id];
    if (b->mobility != LAYOUT_NO_BLOCK)
      oracle_add(o, b->at, b->order, b->mobility == LAYOUT_MOVABLE);
  }
  return o;
}

static const char *check(const struct layout *l, const struct judgement *j, const struct compact_report *report) {
  const char *wrong = layout_verify(l);
  if (wrong)
    return wrong;
  if (report->moved_frames != l->moved_frames || report->moved_blocks != l->moved_blocks)
    return "the report counts other moves than the owner";
  if (report->pageblocks_before != j->before || report->pageblocks_before + report->pageblocks_freed != j->reached)
    return "the report counts other free pageblocks than there are";
  return j->reached > j->bound ? "more was reached than is possible" : NULL;
}

void layout_judge(const struct layout_config *config, const struct compact_policy *policy, struct judgement *out) {
  struct compact_request request = {.policy = policy, .mode = COMPACT_SYNC, .order = PAGEBLOCK_ORDER, .owner = COMPACT_ANY_OWNER};
  struct compact_report report = {0};
  struct layout l;
  layout_create(&l, config);
  struct oracle *o = layout_oracle(&l);
  *out = (struct judgement){.before = oracle_free_now(o), .bound = oracle_most_free(o)};
  err_t err = compact_zone(&request, &report);
  out->reached = layout_free_pageblocks(&l);
  out->moved = l.moved_frames;
  out->least = oracle_least_moves(o, out->reached > out->bound ? out->bound : out->reached, EFFORT);
  out->counts = out->bound >= JUDGE_COUNTS_FROM;
  out->free_enough = out->reached * 100 >= out->bound * JUDGE_FREE_PERCENT;
  out->moved_few = out->moved * 100 <= out->least * JUDGE_MOVED_PERCENT;
  if (err != ERR_OK && err != ERR_NOENT)
    out->wrong = err_name(err);
  else
    out->wrong = err == ERR_OK ? check(&l, out, &report) : layout_verify(&l);
  oracle_destroy(o);
  layout_destroy(&l);
}
