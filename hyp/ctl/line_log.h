/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_LINE_LOG_H
#define HYP_CTL_LINE_LOG_H

/*
 * The last lines of the console, whoever wrote them and whether or not they were shown: what `expect` reads and `log` prints.
 * Positions count bytes ever written, so a reader keeps one number and learns when lines it had not read were overwritten.
 */

#include "core/types.h"

#define LINE_LOG_BYTES 131072u /* a power of two */
#define LOG_LINE_MAX 255u

struct line_log {
  uint64_t head; /* position of the next record */
  uint64_t tail; /* position of the oldest record */
  char ring[LINE_LOG_BYTES];
};

struct log_line {
  uint64_t at;     /* its position */
  unsigned prefix; /* bytes of "name| " before a guest's line; 0: EL2's own */
  unsigned length; /* prefix included */
  char text[LOG_LINE_MAX + 1];
};

/* Append one line; `length` beyond LOG_LINE_MAX is cut. */
void line_log_append(struct line_log *log, const char *text, unsigned length, unsigned prefix);
/* Read the record at `*at` (or the oldest, if that one is gone) and move behind it. False at the end. */
bool line_log_read(const struct line_log *log, uint64_t *at, struct log_line *out);

#endif
