/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_EXPECT_H
#define HYP_CTL_EXPECT_H

/*
 * Waiting for text on the console. Every source (each VM of the scenario, and EL2 itself) has a reading position of its own: a
 * line that met an expectation, and what its source wrote before it, is not looked at again. So the order in which guests happen to
 * write between each other does not matter, but each guest's own order does.
 */

#include "hyp/ctl/line_log.h"
#include "hyp/ctl/scenario.h"

#define EXPECT_SOURCE_EL2 0
#define EXPECT_SOURCE_ANY (-1)

/* What to look for: `text` within a line of `source` (0: EL2, i + 1: VM i of the scenario). */
struct expectation {
  const char *text;
  int source;
};

struct expect_reader {
  uint64_t at[SCENARIO_VMS_MAX + 1]; /* per source: lines before this are read */
  uint64_t next;                     /* log position the present scan has come to */
};

/* "alpha: text" names VM alpha if the scenario has one, "sluice: text" EL2; anything else is text of any source. */
struct expectation expect_parse(const struct scenario *s, const char *spec);
/* The source of a line of the log; EXPECT_SOURCE_ANY if its VM is not in the scenario. */
int expect_line_source(const struct scenario *s, const struct log_line *line);
/* True if `line` of `source` is not read yet and has the text. */
bool expect_line_matches(const struct expect_reader *r, const struct expectation *e, const struct log_line *line, int source);

/* Begin a scan at the oldest position of any source. */
void expect_begin(struct expect_reader *r);
/* EL2's lines before `position` are read. */
void expect_skip_el2(struct expect_reader *r, uint64_t position);
/* A line of `source` met an expectation: what is before `behind`, the position after it, is read. */
void expect_consume(struct expect_reader *r, int source, uint64_t behind);

/* True if `needle` stands in `text`. */
bool text_contains(const char *text, const char *needle);

#endif
