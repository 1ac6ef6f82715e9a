/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The least of a GICv3 that a payload needs: group 1 with affinity routing, all SGIs and one PPI of a CPU enabled at one priority, the CPU
 * interface open. Writes what the architecture asks for in the order it asks (IHI 0069, 12.9 and 12.11: wait for RWP and ChildrenAsleep),
 * so that the same code is right on bare QEMU and on any virtual GIC.
 */
#include "arch/gicv3.h"
#include "payload.h"

void gic_init_distributor(void) {
  mmio_write32(PAYLOAD_GICD, GICD_CTLR, (uint32_t)(GICD_CTLR_ARE_NS | GICD_CTLR_ENABLE_G1A));
  while (mmio_read32(PAYLOAD_GICD, GICD_CTLR) & GICD_CTLR_RWP)
    cpu_relax();
}

static void wake(volatile void *gicr) {
  uint32_t waker = mmio_read32(gicr, GICR_WAKER);
  mmio_write32(gicr, GICR_WAKER, waker & ~(uint32_t)GICR_WAKER_PROCESSOR_SLEEP);
  while (mmio_read32(gicr, GICR_WAKER) & GICR_WAKER_CHILDREN_ASLEEP)
    cpu_relax();
}

void gic_init_cpu(unsigned cpu, unsigned ppi) {
  volatile void *gicr = (volatile char *)PAYLOAD_GICR + (uint64_t)cpu * GICR_STRIDE;
  wake(gicr);
  mmio_write32(gicr, GICR_IGROUPR0, ~0u);
  for (unsigned intid = 0; intid < 32; intid += 4)
    mmio_write32(gicr, GICR_IPRIORITYR + intid, 0xa0a0a0a0u);
  mmio_write32(gicr, GICR_ISENABLER0, 0xffffu | 1u << ppi);
  sysreg_write_enc(ICC_SRE_EL1, 7);
  isb();
  sysreg_write_enc(ICC_PMR_EL1, 0xf0);
  sysreg_write_enc(ICC_BPR1_EL1, 0);
  sysreg_write_enc(ICC_CTLR_EL1, 0);
  sysreg_write_enc(ICC_IGRPEN1_EL1, 1);
  isb();
}

uint64_t gic_sgi1r(unsigned intid, unsigned cpu) {
  return (uint64_t)intid << ICC_SGI1R_INTID_SHIFT | (uint64_t)1 << cpu;
}
