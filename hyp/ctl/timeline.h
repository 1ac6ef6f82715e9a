/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_TIMELINE_H
#define HYP_CTL_TIMELINE_H

/* The scenario's timeline: its steps one after the other, as EL2 work, and the verdict they give. */

#include "core/types.h"

struct scenario;

/* With `interactive` the end of the timeline, or a failed step, is told but does not end the machine. */
void timeline_start(const struct scenario *s, bool interactive);
/* The console log has a new line. From any CPU; cheap when no step waits for text. */
void timeline_line_ready(void);
/* A VM changed its state or gave its verdict. */
void timeline_poke(void);

#endif
