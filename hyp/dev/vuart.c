/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtual PL011 r1p5 (Arm DDI 0183). What the guest sends goes to the console at once, so the transmit FIFO is always empty; what is
 * typed for it waits in the receive FIFO. As in QEMU's model, UARTCR's enables do not gate traffic (early consoles rely on it), there is no
 * DMA, no modem and no loop-back, and the baud rate is kept without effect.
 *
 * The receive timeout interrupt is asserted with the first byte below the trigger level: there is no baud clock to wait for.
 *
 * Lock: vuart.lock, then vgic.lock inside (see vgic.h). Bytes go to the console without it.
 */
#include "arch/pl011.h"
#include "core/compiler.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"

#define INT_ALL 0x7ffu

static unsigned depth(const struct vuart *u) {
  return (u->lcr_h & PL011_LCR_H_FEN) ? VUART_FIFO : 1;
}

/* UARTIFLS.RXIFLSEL: 1/8, 1/4, 1/2, 3/4, 7/8 full. Without FIFOs the holding register is the trigger. */
static unsigned trigger_level(const struct vuart *u) {
  static const uint8_t eighths[8] = {1, 2, 4, 6, 7, 7, 7, 7};
  return depth(u) == 1 ? 1 : eighths[u->ifls >> 3 & 7] * VUART_FIFO / 8;
}

/* Flags and the interrupt line follow from the rest. */
static void update(struct vm *vm) {
  struct vuart *u = &vm->vuart;
  u->fr = (uint32_t)(PL011_FR_TXFE | (u->count == 0 ? PL011_FR_RXFE : 0) | (u->count >= depth(u) ? PL011_FR_RXFF : 0));
  bool line = (u->ris & u->imsc) != 0;
  if (line != u->line) {
    u->line = line;
    vgic_set_spi(vm, VUART_INTID, line);
  }
}

static void reset_fifo(struct vuart *u) {
  u->head = 0;
  u->count = 0;
  u->ris &= ~(uint32_t)(PL011_INT_RX | PL011_INT_RT);
}

void vuart_init(struct vm *vm) {
  vm->vuart = (struct vuart){.cr = PL011_CR_RXE | PL011_CR_TXE, .ifls = 0x12, .fr = PL011_FR_TXFE | PL011_FR_RXFE};
}

static uint8_t pop(struct vm *vm) {
  struct vuart *u = &vm->vuart;
  uint8_t byte = u->fifo[u->head];
  if (u->count != 0) {
    u->head = (uint8_t)((u->head + 1) % VUART_FIFO);
    u->count--;
  }
  if (u->count < trigger_level(u))
    u->ris &= ~(uint32_t)PL011_INT_RX;
  if (u->count == 0)
    u->ris &= ~(uint32_t)PL011_INT_RT;
  update(vm);
  return byte;
}

bool vuart_receive(struct vm *vm, uint8_t byte) {
  struct vuart *u = &vm->vuart;
  spin_lock(&u->lock);
  bool room = u->count < depth(u);
  if (room) {
    u->fifo[(u->head + u->count++) % VUART_FIFO] = byte;
    u->ris |= (uint32_t)(PL011_INT_RT | (u->count >= trigger_level(u) ? PL011_INT_RX : 0));
    update(vm);
  }
  spin_unlock(&u->lock);
  return room;
}

/* PeriphID 0x00141011 and PCellID 0xb105f00d, a byte in each register. */
static uint32_t read_id(uint64_t offset) {
  static const uint8_t ids[8] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
  return ids[(offset - PL011_PERIPHID0) / 4];
}

static uint32_t read_locked(struct vm *vm, uint64_t offset) {
  struct vuart *u = &vm->vuart;
  switch (offset) {
  case PL011_DR:
    return pop(vm);
  case PL011_ILPR:
    return u->ilpr;
  case PL011_IBRD:
    return u->ibrd;
  case PL011_FBRD:
    return u->fbrd;
  case PL011_LCR_H:
    return u->lcr_h;
  case PL011_CR:
    return u->cr;
  case PL011_IFLS:
    return u->ifls;
  case PL011_IMSC:
    return u->imsc;
  case PL011_RIS:
    return u->ris;
  case PL011_MIS:
    return u->ris & u->imsc;
  case PL011_DMACR:
    return u->dmacr;
  }
  return offset >= PL011_PERIPHID0 ? read_id(offset) : 0;
}

static NOINLINE uint64_t read_any(struct vm *vm, uint64_t offset, unsigned bytes) {
  if (offset & 3)
    return 0;
  spin_lock(&vm->vuart.lock);
  uint32_t value = read_locked(vm, offset);
  spin_unlock(&vm->vuart.lock);
  return bytes >= 4 ? value : value & ((1u << 8 * bytes) - 1);
}

/* What drivers poll is answered without the lock. */
uint64_t vuart_read(struct vcpu *v, uint64_t offset, unsigned bytes) {
  if (offset == PL011_FR)
    return atomic_load_relaxed(&v->vm->vuart.fr);
  return read_any(v->vm, offset, bytes);
}

/* A change of FIFO mode empties the FIFOs (DDI 0183, 3.3.7 asks for it while the UART is off). */
static void write_lcr_h(struct vuart *u, uint32_t value) {
  if ((u->lcr_h ^ value) & PL011_LCR_H_FEN)
    reset_fifo(u);
  u->lcr_h = value & 0xff;
}

static void write_locked(struct vuart *u, uint64_t offset, uint32_t value) {
  switch (offset) {
  case PL011_DR:
    u->ris |= PL011_INT_TX; /* the FIFO ran past its trigger level, to empty */
    break;
  case PL011_ILPR:
    u->ilpr = value & 0xff;
    break;
  case PL011_IBRD:
    u->ibrd = value & 0xffff;
    break;
  case PL011_FBRD:
    u->fbrd = value & 0x3f;
    break;
  case PL011_LCR_H:
    write_lcr_h(u, value);
    break;
  case PL011_CR:
    u->cr = value & 0xffff;
    break;
  case PL011_IFLS:
    u->ifls = value & 0x3f;
    break;
  case PL011_IMSC:
    u->imsc = value & INT_ALL;
    break;
  case PL011_ICR:
    u->ris &= ~value;
    break;
  case PL011_DMACR:
    u->dmacr = value & 7;
    break;
  }
}

void vuart_write(struct vcpu *v, uint64_t offset, unsigned bytes, uint64_t value) {
  struct vuart *u = &v->vm->vuart;
  if ((offset & 3) || bytes == 8)
    return;
  if (offset == PL011_DR)
    console_guest_byte(v->vm, (uint8_t)value);
  spin_lock(&u->lock);
  write_locked(u, offset, (uint32_t)value);
  update(v->vm);
  spin_unlock(&u->lock);
}
