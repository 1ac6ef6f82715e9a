/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VGIC_HW_H
#define HYP_DEV_VGIC_HW_H

/*
 * All that the virtual GIC touches of the hardware: the ICH_* registers of this CPU and the active bit of PPI 27. Host tests have
 * another header in place of this one (tests/host/fakehw).
 */

#include "arch/gicv3.h"
#include "arch/sysreg.h"
#include "hyp/core/cpu.h"

static inline struct cpu *vgic_hw_cpu(void) {
  return this_cpu();
}

/* List register `n`, which must be one of those there are (vgic_lr_access.S). */
uint64_t vgic_hw_read_lr(unsigned n);
void vgic_hw_write_lr(unsigned n, uint64_t value);

/* A bit for each list register without pending or active state that also asks for no EOI. */
static inline uint32_t vgic_hw_read_elrsr(void) {
  return (uint32_t)sysreg_read_enc(ICH_ELRSR_EL2);
}

static inline uint64_t vgic_hw_read_vtr(void) {
  return sysreg_read_enc(ICH_VTR_EL2);
}

static inline uint64_t vgic_hw_read_hcr(void) {
  return sysreg_read_enc(ICH_HCR_EL2);
}

static inline void vgic_hw_write_hcr(uint64_t value) {
  sysreg_write_enc(ICH_HCR_EL2, value);
}

static inline uint64_t vgic_hw_read_vmcr(void) {
  return sysreg_read_enc(ICH_VMCR_EL2);
}

static inline void vgic_hw_write_vmcr(uint64_t value) {
  sysreg_write_enc(ICH_VMCR_EL2, value);
}

#define ICH_AP0R1_EL2 S3_4_C12_C8_1
#define ICH_AP0R2_EL2 S3_4_C12_C8_2
#define ICH_AP0R3_EL2 S3_4_C12_C8_3
#define ICH_AP1R1_EL2 S3_4_C12_C9_1
#define ICH_AP1R2_EL2 S3_4_C12_C9_2
#define ICH_AP1R3_EL2 S3_4_C12_C9_3

/* Active priorities. `count` is how many registers of each group there are: 1, 2 or 4; others are UNDEFINED. */
static inline void vgic_hw_read_apr(unsigned count, uint64_t ap0r[4], uint64_t ap1r[4]) {
  ap0r[0] = sysreg_read_enc(ICH_AP0R0_EL2);
  ap1r[0] = sysreg_read_enc(ICH_AP1R0_EL2);
  if (count == 1)
    return;
  ap0r[1] = sysreg_read_enc(ICH_AP0R1_EL2);
  ap1r[1] = sysreg_read_enc(ICH_AP1R1_EL2);
  if (count == 2)
    return;
  ap0r[2] = sysreg_read_enc(ICH_AP0R2_EL2);
  ap1r[2] = sysreg_read_enc(ICH_AP1R2_EL2);
  ap0r[3] = sysreg_read_enc(ICH_AP0R3_EL2);
  ap1r[3] = sysreg_read_enc(ICH_AP1R3_EL2);
}

static inline void vgic_hw_write_apr(unsigned count, const uint64_t ap0r[4], const uint64_t ap1r[4]) {
  sysreg_write_enc(ICH_AP0R0_EL2, ap0r[0]);
  sysreg_write_enc(ICH_AP1R0_EL2, ap1r[0]);
  if (count == 1)
    return;
  sysreg_write_enc(ICH_AP0R1_EL2, ap0r[1]);
  sysreg_write_enc(ICH_AP1R1_EL2, ap1r[1]);
  if (count == 2)
    return;
  sysreg_write_enc(ICH_AP0R2_EL2, ap0r[2]);
  sysreg_write_enc(ICH_AP1R2_EL2, ap1r[2]);
  sysreg_write_enc(ICH_AP0R3_EL2, ap0r[3]);
  sysreg_write_enc(ICH_AP1R3_EL2, ap1r[3]);
}

/* Is any interrupt of Group 1 acknowledged and its priority not dropped? `count` as above. */
static inline bool vgic_hw_is_running(unsigned count) {
  uint64_t active = sysreg_read_enc(ICH_AP1R0_EL2);
  if (unlikely(count > 1))
    active |= sysreg_read_enc(ICH_AP1R1_EL2);
  if (unlikely(count > 2))
    active |= sysreg_read_enc(ICH_AP1R2_EL2) | sysreg_read_enc(ICH_AP1R3_EL2);
  return active != 0;
}

/* PSTATE.I of the guest whose state is on this CPU. */
static inline bool vgic_hw_irq_masked(void) {
  return sysreg_read(spsr_el2) & PSR_I;
}

/*
 * Physical active state of PPI `pintid` on this CPU. The read back makes sure that the redistributor has taken the write before the caller
 * goes on to start or stop the timer behind it (Device-nGnRnE accesses to one peripheral stay in order; the DSB waits for the read).
 */
static inline void vgic_hw_set_active(unsigned pintid, bool active) {
  volatile void *gicr = this_cpu()->gicr;
  isb(); /* what was written to CNTV_* has its effect first */
  uint32_t offset = active ? GICR_ISACTIVER0 : GICR_ICACTIVER0;
  mmio_write32(gicr, offset, (uint32_t)BIT(pintid));
  (void)mmio_read32(gicr, offset);
  dsb(sy);
}

static inline void vgic_hw_setup(void) {
  sysreg_write_enc(ICC_SRE_EL2, 0xf); /* SRE, DFB, DIB, Enable: EL1 may use system registers */
  isb();
}

#endif
