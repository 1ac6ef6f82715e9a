/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOST_VUART_WORLD_H
#define HOST_VUART_WORLD_H

/* A VM that is nothing but its virtual PL011, for tests of a driver: the driver's headers and the hypervisor's do not go into one file. */

#include <stdbool.h>
#include <stdint.h>

#define WORLD_UART_INTID 33u

void world_reset(void);
uint32_t world_read(uint64_t offset);
void world_write(uint64_t offset, uint32_t value);
/* Type a key; false if the FIFO is full. */
bool world_type(uint8_t byte);
/* The interrupt line. */
bool world_line(void);

#endif
