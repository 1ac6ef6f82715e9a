/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Driver of the physical GICv3 (Arm IHI 0069). EL2 owns it: it takes its own timer (PPI 26), the maintenance interrupt (25), the guests'
 * virtual timer (27), two SGIs and the UART. What is meant for a guest reaches it through the virtual GIC only.
 */
#include "hyp/arch/gic.h"
#include "arch/barrier.h"
#include "core/check.h"
#include "hyp/core/cpu.h"

#define PRIORITY_DEFAULT 0xa0u
#define PPIS_USED ((uint32_t)(BIT(GIC_SGI_KICK) | BIT(GIC_SGI_STOP) | BIT(PPI_MAINTENANCE) | BIT(PPI_CNTHP) | BIT(PPI_CNTV)))

static volatile void *dist;
static volatile char *redist;
static uint64_t redist_bytes;

static void dist_wait(void) {
  while (mmio_read32(dist, GICD_CTLR) & GICD_CTLR_RWP)
    cpu_relax();
}

void gic_init(const struct gic_layout *layout) {
  dist = (volatile void *)layout->dist.v;
  redist = (volatile char *)layout->redist.v;
  redist_bytes = layout->redist_bytes;
  mmio_write32(dist, GICD_CTLR, 0);
  dist_wait();
  unsigned lines = 32 * (unsigned)(bits_get(mmio_read32(dist, GICD_TYPER), 4, 0) + 1);
  for (unsigned i = GIC_SPI_BASE; i < lines; i += 32) {
    mmio_write32(dist, GICD_ICENABLER + i / 8, ~0u);
    mmio_write32(dist, GICD_IGROUPR + i / 8, ~0u);
  }
  mmio_write32(dist, GICD_CTLR, (uint32_t)(GICD_CTLR_ARE_NS | GICD_CTLR_ENABLE_G1A | GICD_CTLR_ENABLE_G1));
  dist_wait();
}

/* GICR_TYPER[63:32] is Aff3.Aff2.Aff1.Aff0; MPIDR has Aff3 at [39:32]. */
static bool redist_is_of(const volatile char *frame, uint64_t mpidr) {
  uint64_t affinity = mmio_read64(frame, GICR_TYPER) >> 32;
  return affinity == (bits_get(mpidr, 39, 32) << 24 | bits_get(mpidr, 23, 0));
}

static err_t find_redist(struct cpu *c) {
  for (uint64_t at = 0; at + GICR_STRIDE <= redist_bytes; at += GICR_STRIDE) {
    if (redist_is_of(redist + at, c->mpidr)) {
      c->gicr = redist + at;
      return ERR_OK;
    }
    if (mmio_read64(redist + at, GICR_TYPER) & GICR_TYPER_LAST)
      break;
  }
  return ERR_NOENT;
}

static void wake_redist(volatile void *gicr) {
  uint32_t waker = mmio_read32(gicr, GICR_WAKER);
  mmio_write32(gicr, GICR_WAKER, waker & ~(uint32_t)GICR_WAKER_PROCESSOR_SLEEP);
  while (mmio_read32(gicr, GICR_WAKER) & GICR_WAKER_CHILDREN_ASLEEP)
    cpu_relax();
}

static void setup_cpu_interface(void) {
  sysreg_write_enc(ICC_SRE_EL2, 0xf); /* SRE, DFB, DIB, and EL1 may use system registers */
  isb();
  sysreg_write_enc(ICC_PMR_EL1, 0xff);
  sysreg_write_enc(ICC_BPR1_EL1, 0);
  sysreg_write_enc(ICC_CTLR_EL1, ICC_CTLR_EOIMODE);
  sysreg_write_enc(ICC_IGRPEN1_EL1, 1);
  isb();
}

/* Aff3, Aff2, Aff1, the range of sixteen that Aff0 is in (RS) and its bit in the TargetList: IHI 0069, 12.2.19. */
static uint64_t sgi_target(uint64_t mpidr) {
  return bits_get(mpidr, 39, 32) << ICC_SGI1R_AFF3_SHIFT | bits_get(mpidr, 23, 16) << ICC_SGI1R_AFF2_SHIFT |
         bits_get(mpidr, 15, 8) << ICC_SGI1R_AFF1_SHIFT | bits_get(mpidr, 7, 4) << ICC_SGI1R_RS_SHIFT | BIT(bits_get(mpidr, 3, 0));
}

err_t gic_cpu_init(struct cpu *c) {
  c->sgi_target = sgi_target(c->mpidr);
  err_t err = find_redist(c);
  if (err != ERR_OK)
    return err;
  wake_redist(c->gicr);
  mmio_write32(c->gicr, GICR_ICENABLER0, ~0u);
  mmio_write32(c->gicr, GICR_IGROUPR0, ~0u);
  for (unsigned i = 0; i < 32; i += 4)
    mmio_write32(c->gicr, GICR_IPRIORITYR + i, PRIORITY_DEFAULT * 0x01010101u);
  mmio_write32(c->gicr, GICR_ISENABLER0, PPIS_USED);
  setup_cpu_interface();
  return ERR_OK;
}

void gic_enable_spi(unsigned intid, const struct cpu *c) {
  CHECK(intid >= GIC_SPI_BASE && intid < GIC_INTID_SPECIAL);
  mmio_write64(dist, GICD_IROUTER + 8 * (uint64_t)intid, c->mpidr);
  mmio_write8(dist, GICD_IPRIORITYR + intid, PRIORITY_DEFAULT);
  mmio_write32(dist, GICD_ISENABLER + intid / 32 * 4, (uint32_t)BIT(intid % 32));
}
