/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PL011 driver: transmission is polled, one 32-bit store a byte, reception goes by interrupt into a ring. Bytes that find the ring full are
 * dropped, as a terminal without flow control does. The ring has one lock; transmission is under the console's.
 */
#include "guest/drivers/uart.h"

#include "arch/pl011.h"
#include "guest/arch/mmu.h"
#include "guest/arch/vlock.h"
#include "guest/drivers/gic.h"

#define RING_BYTES 256u

static volatile void *uart;
static struct vlock ring_lock;
static char ring[RING_BYTES];      /* ring_lock; likewise the next two */
static uint32_t ring_in, ring_out; /* free-running */

err_t uart_init(pa_t base) {
  err_t e = mmu_map_device(base, PAGE_SIZE);
  if (e != ERR_OK)
    return e;
  uart = linear_va(base);
  mmio_write32(uart, PL011_IMSC, 0);
  mmio_write32(uart, PL011_LCR_H, PL011_LCR_H_FEN | PL011_LCR_H_WLEN8);
  mmio_write32(uart, PL011_CR, PL011_CR_UARTEN | PL011_CR_TXE | PL011_CR_RXE);
  return ERR_OK;
}

void uart_enable_rx(uint32_t intid) {
  mmio_write32(uart, PL011_IMSC, PL011_INT_RX | PL011_INT_RT);
  gic_enable(intid);
}

void uart_write(const char *s, uint64_t bytes) {
  if (uart == NULL)
    return;
  for (; bytes > 0; bytes--)
    pl011_write_byte(uart, (unsigned char)*s++);
}

/* Cleared before the FIFO is read: behind the last look, it would take away the interrupt of a byte that has come since. */
bool uart_interrupt(void) {
  int c;
  vlock_acquire(&ring_lock);
  mmio_write32(uart, PL011_ICR, PL011_INT_RX | PL011_INT_RT);
  while ((c = pl011_read_byte(uart)) >= 0)
    if (ring_in - ring_out < RING_BYTES)
      ring[ring_in++ % RING_BYTES] = (char)c;
  bool ready = ring_in != ring_out;
  vlock_release(&ring_lock);
  return ready;
}

uint64_t uart_read(char *to, uint64_t cap) {
  uint64_t n = 0;
  vlock_acquire(&ring_lock);
  while (n < cap && ring_in != ring_out)
    to[n++] = ring[ring_out++ % RING_BYTES];
  vlock_release(&ring_lock);
  return n;
}
