/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Matching lines of the console log against expectations. Pure functions over what the caller owns; the log's lock is taken by the
 * caller's console_log_read(). A line matches as shown, its "name| " left out.
 */

#include "hyp/ctl/expect.h"

#include "core/bits.h"
#include "core/string.h"

bool text_contains(const char *text, const char *needle) {
  size_t length = strlen(needle);
  if (length == 0)
    return true;
  for (const char *at = text; (at = strchr(at, needle[0])) != NULL; at++)
    if (strncmp(at, needle, length) == 0)
      return true;
  return false;
}

struct expectation expect_parse(const struct scenario *s, const char *spec) {
  const char *colon = strchr(spec, ':');
  struct expectation any = {spec, EXPECT_SOURCE_ANY};
  if (!colon || colon[1] != ' ')
    return any;
  size_t length = (size_t)(colon - spec);
  if (length == 6 && strncmp(spec, "sluice", length) == 0)
    return (struct expectation){colon + 2, EXPECT_SOURCE_EL2};
  int vm = scenario_find_vm(s, spec, length);
  return vm < 0 ? any : (struct expectation){colon + 2, vm + 1};
}

int expect_line_source(const struct scenario *s, const struct log_line *line) {
  if (line->prefix < 2)
    return EXPECT_SOURCE_EL2;
  int vm = scenario_find_vm(s, line->text, line->prefix - 2);
  return vm < 0 ? EXPECT_SOURCE_ANY : vm + 1;
}

bool expect_line_matches(const struct expect_reader *r, const struct expectation *e, const struct log_line *line, int source) {
  if (source < 0 || line->at < r->at[source])
    return false;
  if (e->source != EXPECT_SOURCE_ANY && e->source != source)
    return false;
  return text_contains(line->text + line->prefix, e->text);
}

void expect_begin(struct expect_reader *r) {
  r->next = r->at[0];
  for (unsigned i = 1; i < ARRAY_SIZE(r->at); i++)
    r->next = min_u64(r->next, r->at[i]);
}

void expect_skip_el2(struct expect_reader *r, uint64_t position) {
  r->at[EXPECT_SOURCE_EL2] = max_u64(r->at[EXPECT_SOURCE_EL2], position);
}

void expect_consume(struct expect_reader *r, int source, uint64_t behind) {
  if (source >= 0)
    r->at[source] = behind;
}
