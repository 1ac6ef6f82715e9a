/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOST_VUART_WORLD_H
#define HOST_VUART_WORLD_H

/* A VM that is nothing but its virtual PL011, for tests of it and of a driver: the driver's headers and the hypervisor's do not go into one file. */

#include <stdbool.h>
#include <stdint.h>

#define WORLD_UART_INTID 33u

void world_reset(void);
/* By 4 bytes, as drivers do; by 1, 2, 4 or 8. */
uint32_t world_read(uint64_t offset);
void world_write(uint64_t offset, uint32_t value);
uint64_t world_read_bytes(uint64_t offset, unsigned bytes);
void world_write_bytes(uint64_t offset, unsigned bytes, uint64_t value);
/* Type a key; false if the FIFO is full. */
bool world_type(uint8_t byte);
/* The interrupt line. */
bool world_line(void);
/* What the guest has sent since the reset: how much, and the last 64 bytes of it. */
unsigned world_sent(const char **text);

#endif
