/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A ring of console lines. A record is two header bytes (length, prefix) and the text; records wrap around the end of the
 * ring. Appending drops as many of the oldest records as it needs room, so it never fails.
 * The caller (console.c) holds the console lock around both functions. `head - tail` never exceeds the ring.
 */

#include "hyp/ctl/line_log.h"

#include "core/bits.h"
#include "core/string.h"

#define HEADER_BYTES 2u

_Static_assert((LINE_LOG_BYTES & (LINE_LOG_BYTES - 1)) == 0, "positions are taken modulo the ring");

static uint8_t byte_at(const struct line_log *log, uint64_t at) {
  return (uint8_t)log->ring[at % LINE_LOG_BYTES];
}

static void copy_in(struct line_log *log, uint64_t at, const char *from, unsigned bytes) {
  unsigned start = (unsigned)(at % LINE_LOG_BYTES), first = (unsigned)min_u64(bytes, LINE_LOG_BYTES - start);
  memcpy(log->ring + start, from, first);
  memcpy(log->ring, from + first, bytes - first);
}

static void copy_out(const struct line_log *log, uint64_t at, char *to, unsigned bytes) {
  unsigned start = (unsigned)(at % LINE_LOG_BYTES), first = (unsigned)min_u64(bytes, LINE_LOG_BYTES - start);
  memcpy(to, log->ring + start, first);
  memcpy(to + first, log->ring, bytes - first);
}

void line_log_append(struct line_log *log, const char *text, unsigned length, unsigned prefix) {
  if (length > LOG_LINE_MAX)
    length = LOG_LINE_MAX;
  const char header[HEADER_BYTES] = {(char)length, (char)prefix};
  uint64_t head = log->head + HEADER_BYTES + length;
  while (head - log->tail > LINE_LOG_BYTES)
    log->tail += HEADER_BYTES + byte_at(log, log->tail);
  copy_in(log, log->head, header, HEADER_BYTES);
  copy_in(log, log->head + HEADER_BYTES, text, length);
  log->head = head;
}

bool line_log_read(const struct line_log *log, uint64_t *at, struct log_line *out) {
  if (*at < log->tail)
    *at = log->tail;
  if (*at >= log->head)
    return false;
  out->at = *at;
  out->length = byte_at(log, *at);
  out->prefix = byte_at(log, *at + 1);
  copy_out(log, *at + HEADER_BYTES, out->text, out->length);
  out->text[out->length] = '\0';
  *at += HEADER_BYTES + out->length;
  return true;
}
