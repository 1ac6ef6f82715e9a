/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dispatch of interrupts. There are four kinds: the virtual timer, the resched SGI, the UART, virtio devices. Anything else is counted
 * and dropped.
 */
#include "guest/kernel/irq.h"

#include "arch/gicv3.h"
#include "guest/drivers/gic.h"
#include "guest/drivers/uart.h"
#include "guest/drivers/virtio/mmio.h"
#include "guest/kernel/sched.h"

static uint32_t vtimer, uart;
static uint64_t unexpected;

void irq_init(uint32_t vtimer_intid, uint32_t uart_intid) {
  vtimer = vtimer_intid;
  uart = uart_intid;
}

static void console_input(void) {
  if (!uart_interrupt())
    return;
  vlock_acquire(&sched_lock);
  sched_wake_all(WAIT_CONSOLE);
  vlock_release(&sched_lock);
}

static void serve(uint32_t intid) {
  if (intid == vtimer)
    sched_tick();
  else if (intid == uart)
    console_input();
  else if (intid == SGI_RESCHED)
    sched_kicked();
  else if (!virtio_interrupt(intid))
    unexpected++;
}

void irq_poll(void) {
  uint32_t intid;
  while ((intid = gic_acknowledge()) < GIC_INTID_SPECIAL) {
    serve(intid);
    gic_end(intid);
  }
}
