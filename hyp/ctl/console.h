/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_CONSOLE_H
#define HYP_CTL_CONSOLE_H

/*
 * The physical console: EL2's own messages, guests' output line by line with the VM's name before it, and input to monitor or focused
 * guest.
 *
 *   sluice: text          a status line of EL2 (the caller writes "sluice: " itself; tables and reports go without)
 *   alpha| text           a line of VM alpha
 *   sluice: verdict: PASS the last line of a run; no guest can write one, since "name| " stands before all that a guest says
 *
 * Every complete line also goes to a log of the last 128 KiB, shown or not: `expect` reads that.
 */

#include "core/compiler.h"
#include "core/types.h"
#include "hyp/ctl/line_log.h"
#include <stdarg.h>

struct vm;

void console_init(volatile void *pl011_base);

/*
 * A whole message at EL2, of one or more lines (a last newline is optional); never interleaved with other CPUs' lines. At most
 * CONSOLE_MESSAGE_MAX bytes, the rest is cut. May be called with any lock held but the console's and the work queue's.
 */
#define CONSOLE_MESSAGE_MAX 383u
void hyp_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* As hyp_printf, but where the scenario says `console-quiet` it goes to the log only: life-cycle events and the like. */
void hyp_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* One byte a guest wrote to its UART. On the CPU that runs it; no lock held. */
void console_guest_byte(struct vm *vm, uint8_t byte);
/* The UART's receive interrupt: reads what came and hands it on. No lock held. */
void console_irq(void);
/* Read input until the FIFO is empty, at most `max` bytes; true if there may be more. */
bool console_poll(unsigned max);
/* For panic: from now on no lock is taken, so a message gets out whatever this or another CPU was doing. */
void console_emergency(void);

/* Guests' lines (and hyp_note's) are kept but not shown. */
void console_set_quiet(bool quiet);
/* Show the monitor's prompt. Until this, or until the first key, nothing is drawn but whole lines. */
void console_set_interactive(void);
/* While the monitor works on a command it shows no prompt. */
void console_set_prompt(bool shown);
/* Keys go to VM `id` and its output is shown byte by byte; 0: to the monitor. */
void console_set_focus(unsigned id);
/* One byte of input for a guest: to its virtio console if that is driven, else to its UART. False if that has no room. EL2 work. */
bool console_give(struct vm *vm, uint8_t byte);
/* VM `id` is no more: flush its last line, take the focus from it. */
void console_guest_gone(unsigned id);

/* The log; positions as in line_log.h. Locked inside. */
uint64_t console_log_head(void);
bool console_log_read(uint64_t *at, struct log_line *out);
/* Show a line of the log again, without logging it anew. */
void console_replay(const struct log_line *line);

/* Print a last message, let it drain, and let nobody print any more. False if another CPU was first. */
bool console_close(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
