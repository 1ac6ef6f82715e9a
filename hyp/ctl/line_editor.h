/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_LINE_EDITOR_H
#define HYP_CTL_LINE_EDITOR_H

/* One line of input with a cursor, the usual control keys, and a history walked with the up and down arrows. Pure: it draws nothing. */

#include "core/types.h"

#define EDITOR_LINE_MAX 127u
#define EDITOR_HISTORY 16u /* a power of two */

enum editor_event {
  EDITOR_NONE = 0,
  EDITOR_CHANGED,  /* text or cursor: redraw */
  EDITOR_LINE,     /* Enter: editor_take() has the line */
  EDITOR_INTERRUPT /* Ctrl-C: the line is cleared */
};

struct line_editor {
  char text[EDITOR_LINE_MAX + 1]; /* always terminated */
  unsigned length, cursor;
  uint8_t escape;                  /* where in ESC [ ... we are */
  uint8_t parameter;               /* the number of ESC [ n ~ */
  bool after_cr;                   /* a LF that follows a CR is the same Enter */
  unsigned entered;                /* lines ever put into the history */
  unsigned back;                   /* how far up the history we are; 0: the line being written */
  char draft[EDITOR_LINE_MAX + 1]; /* that line, while we are up */
  char history[EDITOR_HISTORY][EDITOR_LINE_MAX + 1];
};

/* Feed one byte. On EDITOR_LINE the caller copies `text` and then calls editor_reset(). */
enum editor_event editor_key(struct line_editor *e, uint8_t byte);
/* Begin a new line, putting the old one into the history unless it is empty or the same as the last. */
void editor_reset(struct line_editor *e);

#endif
