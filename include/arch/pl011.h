/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_PL011_H
#define ARCH_PL011_H

/* PrimeCell UART PL011 registers (Arm DDI 0183) and stateless access through a mapped base. */

#include "arch/mmio.h"
#include "core/bits.h"

#define PL011_DR 0x000u
#define PL011_RSR 0x004u
#define PL011_FR 0x018u
#define PL011_ILPR 0x020u
#define PL011_IBRD 0x024u
#define PL011_FBRD 0x028u
#define PL011_LCR_H 0x02cu
#define PL011_CR 0x030u
#define PL011_IFLS 0x034u
#define PL011_IMSC 0x038u
#define PL011_RIS 0x03cu
#define PL011_MIS 0x040u
#define PL011_ICR 0x044u
#define PL011_DMACR 0x048u
#define PL011_PERIPHID0 0xfe0u

#define PL011_FR_BUSY BIT(3)
#define PL011_FR_RXFE BIT(4)
#define PL011_FR_TXFF BIT(5)
#define PL011_FR_RXFF BIT(6)
#define PL011_FR_TXFE BIT(7)
#define PL011_INT_RX BIT(4)
#define PL011_INT_TX BIT(5)
#define PL011_INT_RT BIT(6)
#define PL011_LCR_H_FEN BIT(4)
#define PL011_LCR_H_WLEN8 (BIT(5) | BIT(6))
#define PL011_CR_UARTEN BIT(0)
#define PL011_CR_TXE BIT(8)
#define PL011_CR_RXE BIT(9)

static inline void pl011_write_byte(volatile void *base, unsigned char c) {
  while (mmio_read32(base, PL011_FR) & PL011_FR_TXFF)
    cpu_relax();
  mmio_write32(base, PL011_DR, c);
}

/* -1 if nothing has come. */
static inline int pl011_read_byte(volatile void *base) {
  if (mmio_read32(base, PL011_FR) & PL011_FR_RXFE)
    return -1;
  return (int)(mmio_read32(base, PL011_DR) & 0xff);
}

#endif
