/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The GICv3 driver (Arm IHI 0069): affinity routing, one security state, everything in group 1 at one priority, so that interrupts never
 * nest. Owns the distributor after gic_init(); each CPU owns its redistributor. SPIs stay where they were enabled.
 */
#include "guest/drivers/gic.h"

#include "arch/gicv3.h"
#include "arch/sysreg.h"
#include "guest/arch/cpu.h"
#include "guest/arch/machine.h"
#include "guest/arch/mmu.h"

#define PRIORITY 0xa0a0a0a0u
#define PMR_ALL 0xffu
#define GICD_BYTES 0x10000u

static volatile void *gicd;
static volatile char *gicr_base;
static uint64_t gicr_bytes;

static void wait_rwp(void) {
  while (mmio_read32(gicd, GICD_CTLR) & GICD_CTLR_RWP)
    cpu_relax();
}

static void setup_spis(void) {
  unsigned lines = 32 * (unsigned)(bits_get(mmio_read32(gicd, GICD_TYPER), 4, 0) + 1);
  for (unsigned i = GIC_SPI_BASE; i < lines && i < GIC_INTID_SPECIAL; i += 32) {
    mmio_write32(gicd, GICD_ICENABLER + i / 8, ~0u);
    mmio_write32(gicd, GICD_IGROUPR + i / 8, ~0u);
    for (unsigned j = i; j < i + 32; j += 4)
      mmio_write32(gicd, GICD_IPRIORITYR + j, PRIORITY);
  }
}

err_t gic_init(const struct machine *m) {
  err_t e = mmu_map_device(m->gicd, GICD_BYTES);
  if (e == ERR_OK)
    e = mmu_map_device(m->gicr, m->gicr_bytes);
  if (e != ERR_OK)
    return e;
  gicd = linear_va(m->gicd);
  gicr_base = linear_va(m->gicr);
  gicr_bytes = m->gicr_bytes;
  if (bits_get(mmio_read32(gicd, GICD_PIDR2), 7, 4) < 3)
    return ERR_UNSUPPORTED;
  mmio_write32(gicd, GICD_CTLR, 0);
  wait_rwp();
  setup_spis();
  mmio_write32(gicd, GICD_CTLR, GICD_CTLR_ARE_NS | GICD_CTLR_ENABLE_G1A | GICD_CTLR_ENABLE_G1);
  wait_rwp();
  return ERR_OK;
}

/* GICR_TYPER[63:32] is Aff3.Aff2.Aff1.Aff0. */
static uint32_t packed_affinity(uint64_t mpidr) {
  return (uint32_t)(bits_get(mpidr, 39, 32) << 24 | bits_get(mpidr, 23, 0));
}

static volatile void *find_redistributor(uint64_t mpidr) {
  for (uint64_t offset = 0; offset + GICR_STRIDE <= gicr_bytes; offset += GICR_STRIDE) {
    uint64_t typer = mmio_read64(gicr_base + offset, GICR_TYPER);
    if (typer >> 32 == packed_affinity(mpidr))
      return gicr_base + offset;
    if (typer & GICR_TYPER_LAST)
      break;
  }
  return NULL;
}

static void wake_redistributor(volatile void *gicr) {
  mmio_write32(gicr, GICR_WAKER, mmio_read32(gicr, GICR_WAKER) & ~(uint32_t)GICR_WAKER_PROCESSOR_SLEEP);
  while (mmio_read32(gicr, GICR_WAKER) & GICR_WAKER_CHILDREN_ASLEEP)
    cpu_relax();
}

static void setup_cpu_interface(void) {
  sysreg_write_enc(ICC_SRE_EL1, 7);
  isb();
  sysreg_write_enc(ICC_CTLR_EL1, 0);
  sysreg_write_enc(ICC_PMR_EL1, PMR_ALL);
  sysreg_write_enc(ICC_BPR1_EL1, 0);
  sysreg_write_enc(ICC_IGRPEN1_EL1, 1);
  isb();
}

err_t gic_cpu_init(void) {
  struct cpu *cpu = this_cpu();
  volatile void *gicr = find_redistributor(cpu->mpidr);
  if (gicr == NULL)
    return ERR_NOENT;
  cpu->gicr = gicr;
  wake_redistributor(gicr);
  mmio_write32(gicr, GICR_ICENABLER0, ~0u);
  mmio_write32(gicr, GICR_IGROUPR0, ~0u);
  for (unsigned i = 0; i < 32; i += 4)
    mmio_write32(gicr, GICR_IPRIORITYR + i, PRIORITY);
  mmio_write32(gicr, GICR_ISENABLER0, 0xffff); /* SGIs */
  setup_cpu_interface();
  return ERR_OK;
}

void gic_enable(uint32_t intid) {
  if (intid < GIC_SPI_BASE) {
    mmio_write32(this_cpu()->gicr, GICR_ISENABLER0, (uint32_t)BIT(intid));
    return;
  }
  mmio_write64(gicd, GICD_IROUTER + 8ull * intid, this_cpu()->mpidr);
  mmio_write32(gicd, GICD_ISENABLER + intid / 32 * 4, (uint32_t)BIT(intid % 32));
}

void gic_send_sgi(unsigned cpu, unsigned sgi) {
  uint64_t mpidr = cpus[cpu].mpidr, aff0 = bits_get(mpidr, 7, 0);
  uint64_t value = (uint64_t)sgi << ICC_SGI1R_INTID_SHIFT | bits_get(mpidr, 15, 8) << ICC_SGI1R_AFF1_SHIFT |
                   bits_get(mpidr, 23, 16) << ICC_SGI1R_AFF2_SHIFT | bits_get(mpidr, 39, 32) << ICC_SGI1R_AFF3_SHIFT |
                   (aff0 >> 4) << ICC_SGI1R_RS_SHIFT | BIT(aff0 & 15);
  dsb(ishst); /* what the other CPU is told about is visible before the interrupt */
  sysreg_write_enc(ICC_SGI1R_EL1, value);
  isb();
}

uint32_t gic_acknowledge(void) {
  uint32_t intid = (uint32_t)sysreg_read_enc(ICC_IAR1_EL1);
  dsb(sy); /* the acknowledgement is complete before the handler touches the device */
  return intid;
}

void gic_end(uint32_t intid) {
  sysreg_write_enc(ICC_EOIR1_EL1, intid);
  isb();
}
