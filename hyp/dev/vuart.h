/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VUART_H
#define HYP_DEV_VUART_H

/* Virtual PL011 at 0x0900_0000, SPI 1 (INTID 33), with a 32-byte receive FIFO and receive and transmit interrupts. */

#include "arch/lock.h"
#include "core/types.h"

struct vm;
struct vcpu;

#define VUART_FIFO 32u
#define VUART_INTID 33u

struct vuart {
  struct spinlock lock; /* all fields; `fr` may be read without it */
  uint32_t fr;          /* UARTFR as of now */
  uint32_t ris, imsc;   /* interrupts asserted, and those let through */
  uint32_t lcr_h, cr, ifls, ibrd, fbrd, ilpr, dmacr;
  bool line; /* as last told to the vGIC */
  uint8_t head, count;
  uint8_t fifo[VUART_FIFO];
};

/* At reset; also at a restart of the VM. */
void vuart_init(struct vm *vm);
/* `offset` within the 4 KiB page, naturally aligned for `bytes`. */
uint64_t vuart_read(struct vcpu *v, uint64_t offset, unsigned bytes);
void vuart_write(struct vcpu *v, uint64_t offset, unsigned bytes, uint64_t value);
/* A byte typed at the physical console for this VM; false if its FIFO is full. From any CPU. */
bool vuart_receive(struct vm *vm, uint8_t byte);

#endif
