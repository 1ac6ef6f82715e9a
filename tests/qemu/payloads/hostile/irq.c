/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts: the handler, which silences whatever comes, and the stages that fuzz the GIC, the timers and the UART with interrupts open.
 *
 * An interrupt that is not an SGI is disabled where it is: levels that fuzzing raised would storm for ever otherwise. irq_reset()
 * undoes what writes to the CPU interface may have left (active priorities, a closed mask).
 */
#include "arch/gicv3.h"
#include "arch/pl011.h"
#include "hostile.h"

#define GIC_TRIES 20000u
#define TIMER_TRIES 20000u
#define UART_TRIES 4000u
#define UART_BYTES 64u

void hostile_irq(void);

static unsigned this_cpu(void) {
  return (unsigned)sysreg_read(mpidr_el1) & 7;
}

static volatile void *this_gicr(void) {
  return (volatile char *)PAYLOAD_GICR + this_cpu() * GICR_STRIDE;
}

static void silence(unsigned intid) {
  sysreg_write(cntv_ctl_el0, 0);
  sysreg_write(cntp_ctl_el0, 0);
  if (intid >= GIC_SPI_BASE)
    mmio_write32(PAYLOAD_GICD, GICD_ICENABLER + intid / 32 * 4, 1u << intid % 32);
  else if (intid >= GIC_PPI_BASE && intid != PPI_CNTV && intid != PPI_CNTP)
    mmio_write32(this_gicr(), GICR_ICENABLER0, 1u << intid);
}

void hostile_irq(void) {
  uint64_t intid = sysreg_read_enc(ICC_IAR1_EL1) & 0xffffff;
  guards[this_cpu()].interrupts++;
  if (intid >= GIC_INTID_SPECIAL) {
    sysreg_write(S3_0_C12_C12_6, 0); /* ICC_IGRPEN0_EL1: an FIQ that nobody wants */
    return;
  }
  silence((unsigned)intid);
  dsb(sy);
  sysreg_write_enc(ICC_EOIR1_EL1, intid);
  isb();
}

static void clear_active_priorities(void) {
  sysreg_write(S3_0_C12_C8_4, 0);  /* ICC_AP0R0_EL1 */
  sysreg_write(S3_0_C12_C9_0, 0);  /* ICC_AP1R0_EL1 */
  sysreg_write(S3_0_C12_C12_6, 0); /* ICC_IGRPEN0_EL1 */
  isb();
}

void irq_reset(void) {
  sysreg_write(cntv_ctl_el0, 0);
  sysreg_write(cntp_ctl_el0, 0);
  (void)guarded((uint64_t)clear_active_priorities, 0, 0, 0);
  mmio_write32(this_gicr(), GICR_ICENABLER0, ~0u);
  mmio_write32(this_gicr(), GICR_ISACTIVER0 + 0x80, ~0u); /* ICACTIVER0 */
  mmio_write32(this_gicr(), GICR_ICPENDR0, ~0u);
  for (unsigned n = 1; n < 4; n++) {
    mmio_write32(PAYLOAD_GICD, GICD_ICENABLER + 4 * n, ~0u);
    mmio_write32(PAYLOAD_GICD, GICD_ICACTIVER + 4 * n, ~0u);
    mmio_write32(PAYLOAD_GICD, GICD_ICPENDR + 4 * n, ~0u);
  }
  mmio_write32(this_gicr(), GICR_IGRPMODR0, 0);
  gic_init_distributor();
  gic_init_cpu(this_cpu(), 27);
}

void irq_drain(void) {
  __asm__ volatile("msr daifclr, #3\n\tisb\n\tnop\n\tnop\n\tisb\n\tmsr daifset, #3" ::: "memory");
}

static uint64_t gic_address(void) {
  uint64_t r = random64();
  if (r & 1)
    return (uint64_t)PAYLOAD_GICD + (r >> 8 & 0xfff);
  if (r & 2)
    return (uint64_t)PAYLOAD_GICR + (r >> 8 & 0x3ffff);
  return (uint64_t)PAYLOAD_GICD + (r >> 8 & 0xffff);
}

/* With SGIs, pending and active bits, routes and priorities thrown about, and interrupts taken whenever they come. */
void stage_gic(void) {
  uint64_t before = guards[0].interrupts;
  for (unsigned i = 0; i < GIC_TRIES; i++) {
    uint64_t address = gic_address() & ~(random64() & 3 ? (uint64_t)3 : 0);
    (void)do_op((unsigned)random_below(op_count()), address, wild_value());
    sysreg_write_enc(ICC_SGI1R_EL1, gic_sgi1r((unsigned)random_below(16), this_cpu()));
    if (i % 64 == 0)
      irq_reset();
    irq_drain();
  }
  say_count("interrupts:", guards[0].interrupts - before);
}

static uint64_t wild_time(void) {
  uint64_t now = payload_ticks();
  switch (random_below(6)) {
  case 0:
    return 0;
  case 1:
    return ~(uint64_t)0;
  case 2:
    return BIT(63) - (random64() & 1);
  case 3:
    return now + random_below(3) - 1;
  case 4:
    return now + random_below(2000);
  default:
    return random64();
  }
}

/*
 * QEMU 7.2 adds CNTVOFF to CNTV_CVAL without a look at the carry; a sum past 2^64 makes it run the timer for ever (target/arm/helper.c,
 * gt_recalc_timer). So under a hypervisor the virtual timer's extremes stop at 2^62, and TVAL is positive. The physical timer, which a
 * hypervisor emulates, gets all.
 */
static uint64_t virtual_time(void) {
  uint64_t t = wild_time();
  return machine.sluice ? t & GENMASK(61, 0) : t;
}

static void wild_tval(unsigned i) {
  if (i % 4 == 0)
    sysreg_write(cntv_tval_el0, wild_value() & (machine.sluice ? 0x7fffffff : ~(uint64_t)0));
  if (i % 4 == 1)
    sysreg_write(cntp_tval_el0, wild_value());
}

void stage_timers(void) {
  uint64_t before = guards[0].interrupts;
  mmio_write32(this_gicr(), GICR_ISENABLER0, 1u << PPI_CNTP);
  for (unsigned i = 0; i < TIMER_TRIES; i++) {
    sysreg_write(cntv_cval_el0, virtual_time());
    sysreg_write(cntp_cval_el0, wild_time());
    sysreg_write(cntv_ctl_el0, random64() & 7);
    sysreg_write(cntp_ctl_el0, random64() & 7);
    wild_tval(i);
    (void)sysreg_read(cntpct_el0);
    (void)sysreg_read(cntp_tval_el0);
    irq_drain();
  }
  say_count("interrupts:", guards[0].interrupts - before);
}

/* All registers, all sizes; of the data register at most UART_BYTES dots. */
void stage_uart(void) {
  unsigned bytes = 0;
  for (unsigned i = 0; i < UART_TRIES; i++) {
    unsigned op = (unsigned)random_below(op_count());
    uint64_t offset = 4 + random_below(0xff8);
    (void)do_op(op, (uint64_t)PAYLOAD_UART + offset, wild_value());
    if (i % (UART_TRIES / UART_BYTES) == 0 && bytes++ < UART_BYTES)
      mmio_write32(PAYLOAD_UART, PL011_DR, '.');
    irq_drain();
  }
  mmio_write32(PAYLOAD_UART, PL011_IMSC, 0);
  mmio_write32(PAYLOAD_UART, PL011_LCR_H, (uint32_t)(PL011_LCR_H_FEN | PL011_LCR_H_WLEN8));
  mmio_write32(PAYLOAD_UART, PL011_CR, (uint32_t)(PL011_CR_UARTEN | PL011_CR_TXE | PL011_CR_RXE));
  put_str("\n");
}
