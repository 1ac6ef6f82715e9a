/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Line editing for the monitor: insert, delete, cursor keys, Ctrl-A/B/C/E/F/D/K/U/W/N/P, and a history of EDITOR_HISTORY lines.
 * Escape sequences are those of a VT100 (ESC [ A and ESC O A, ESC [ 3 ~); one that is not known is swallowed whole.
 * State only, no output and no lock: console.c holds its own lock around each key and draws afterwards.
 * Invariants: cursor <= length <= EDITOR_LINE_MAX, text[length] == 0. Bytes that are neither printable ASCII nor a known key are refused.
 */

#include "hyp/ctl/line_editor.h"

#include "core/string.h"

#define CTRL(letter_) ((letter_)&0x1f)
#define KEY_ESC 0x1b
#define KEY_DEL 0x7f

enum {
  ESCAPE_NONE = 0,
  ESCAPE_ESC,
  ESCAPE_BRACKET
};

static void set_text(struct line_editor *e, const char *from) {
  strlcpy(e->text, from, sizeof e->text);
  e->length = e->cursor = (unsigned)strlen(e->text);
}

static enum editor_event insert(struct line_editor *e, char c) {
  if (e->length == EDITOR_LINE_MAX)
    return EDITOR_NONE;
  memmove(e->text + e->cursor + 1, e->text + e->cursor, e->length - e->cursor + 1);
  e->text[e->cursor++] = c;
  e->length++;
  return EDITOR_CHANGED;
}

/* Remove [from, to) and leave the cursor at `from`. */
static enum editor_event remove_range(struct line_editor *e, unsigned from, unsigned to) {
  if (from >= to)
    return EDITOR_NONE;
  memmove(e->text + from, e->text + to, e->length - to + 1);
  e->length -= to - from;
  e->cursor = from;
  return EDITOR_CHANGED;
}

static unsigned word_start(const struct line_editor *e) {
  unsigned at = e->cursor;
  while (at > 0 && e->text[at - 1] == ' ')
    at--;
  while (at > 0 && e->text[at - 1] != ' ')
    at--;
  return at;
}

static enum editor_event move_to(struct line_editor *e, unsigned cursor) {
  if (cursor > e->length || cursor == e->cursor)
    return EDITOR_NONE;
  e->cursor = cursor;
  return EDITOR_CHANGED;
}

static unsigned history_depth(const struct line_editor *e) {
  return e->entered < EDITOR_HISTORY ? e->entered : EDITOR_HISTORY;
}

static enum editor_event history_go(struct line_editor *e, unsigned back) {
  if (back > history_depth(e))
    return EDITOR_NONE;
  if (e->back == 0)
    strlcpy(e->draft, e->text, sizeof e->draft);
  e->back = back;
  set_text(e, back == 0 ? e->draft : e->history[(e->entered - back) % EDITOR_HISTORY]);
  return EDITOR_CHANGED;
}

static enum editor_event history_up(struct line_editor *e) {
  return history_go(e, e->back + 1);
}

static enum editor_event history_down(struct line_editor *e) {
  return e->back == 0 ? EDITOR_NONE : history_go(e, e->back - 1);
}

static enum editor_event cursor_left(struct line_editor *e) {
  return e->cursor == 0 ? EDITOR_NONE : move_to(e, e->cursor - 1);
}

static enum editor_event delete_here(struct line_editor *e) {
  return e->cursor == e->length ? EDITOR_NONE : remove_range(e, e->cursor, e->cursor + 1);
}

/* The byte that ends ESC [ or ESC O: a letter, or ~ with a number before it. */
static enum editor_event escape_end(struct line_editor *e, uint8_t byte) {
  uint8_t parameter = e->parameter;
  e->escape = ESCAPE_NONE;
  switch (byte) {
  case 'A':
    return history_up(e);
  case 'B':
    return history_down(e);
  case 'C':
    return move_to(e, e->cursor + 1);
  case 'D':
    return cursor_left(e);
  case 'H':
    return move_to(e, 0);
  case 'F':
    return move_to(e, e->length);
  case '~':
    if (parameter == 3)
      return delete_here(e);
    return parameter == 1 ? move_to(e, 0) : parameter == 4 ? move_to(e, e->length) : EDITOR_NONE;
  default:
    return EDITOR_NONE;
  }
}

static enum editor_event escape_key(struct line_editor *e, uint8_t byte) {
  if (e->escape == ESCAPE_ESC) {
    e->escape = byte == '[' || byte == 'O' ? ESCAPE_BRACKET : ESCAPE_NONE;
    e->parameter = 0;
    return EDITOR_NONE;
  }
  if (byte >= 0x40 && byte <= 0x7e)
    return escape_end(e, byte);
  if (byte < 0x20)
    e->escape = ESCAPE_NONE;
  else if (byte >= '0' && byte <= '9')
    e->parameter = (uint8_t)(e->parameter * 10 + (byte - '0'));
  return EDITOR_NONE;
}

static enum editor_event interrupt(struct line_editor *e) {
  set_text(e, "");
  e->back = 0;
  return EDITOR_INTERRUPT;
}

static enum editor_event control_key(struct line_editor *e, uint8_t byte) {
  switch (byte) {
  case KEY_ESC:
    e->escape = ESCAPE_ESC;
    return EDITOR_NONE;
  case '\b':
  case KEY_DEL:
    return e->cursor == 0 ? EDITOR_NONE : remove_range(e, e->cursor - 1, e->cursor);
  case CTRL('A'):
    return move_to(e, 0);
  case CTRL('B'):
    return cursor_left(e);
  case CTRL('C'):
    return interrupt(e);
  case CTRL('D'):
    return delete_here(e);
  case CTRL('E'):
    return move_to(e, e->length);
  case CTRL('F'):
    return move_to(e, e->cursor + 1);
  case CTRL('K'):
    return remove_range(e, e->cursor, e->length);
  case CTRL('N'):
    return history_down(e);
  case CTRL('P'):
    return history_up(e);
  case CTRL('U'):
    return remove_range(e, 0, e->cursor);
  case CTRL('W'):
    return remove_range(e, word_start(e), e->cursor);
  case CTRL('L'):
    return EDITOR_CHANGED;
  default:
    return EDITOR_NONE;
  }
}

enum editor_event editor_key(struct line_editor *e, uint8_t byte) {
  bool same_enter = byte == '\n' && e->after_cr;
  e->after_cr = byte == '\r';
  if (e->escape != ESCAPE_NONE)
    return escape_key(e, byte);
  if (same_enter)
    return EDITOR_NONE;
  if (byte == '\r' || byte == '\n')
    return EDITOR_LINE;
  if (byte >= ' ' && byte < KEY_DEL)
    return insert(e, (char)byte);
  return control_key(e, byte);
}

void editor_reset(struct line_editor *e) {
  char *last = e->history[(e->entered - 1) % EDITOR_HISTORY];
  if (e->length > 0 && (e->entered == 0 || strcmp(last, e->text) != 0)) {
    strlcpy(e->history[e->entered % EDITOR_HISTORY], e->text, sizeof e->history[0]);
    e->entered++;
  }
  set_text(e, "");
  e->back = 0;
}
