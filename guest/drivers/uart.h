/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_UART_H
#define GUEST_DRIVERS_UART_H

/* The console's PL011. */

#include "core/err.h"
#include "core/types.h"

/* Transmit only; nothing may be printed before. ERR_NOMEM from mapping it. */
MUST_CHECK err_t uart_init(pa_t base);
/* Receive by interrupt. */
void uart_enable_rx(uint32_t intid);
/* Polled. The caller holds the console's lock. Newlines go out as they are. */
void uart_write(const char *s, uint64_t bytes);

/* The interrupt: move what came into the buffer. Returns true if there is something to read now. */
bool uart_interrupt(void);
/* Take at most `cap` received bytes; 0 if there are none. */
uint64_t uart_read(char *to, uint64_t cap);

#endif
