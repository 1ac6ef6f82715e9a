/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_GIC_H
#define HYP_ARCH_GIC_H

/*
 * The physical GICv3, as EL2 uses it: all interrupts in Group 1, EOImode 1 (priority drop and deactivation apart, so that a guest can
 * deactivate).
 */

#include "arch/barrier.h"
#include "arch/gicv3.h"
#include "arch/sysreg.h"
#include "core/err.h"
#include "core/types.h"
#include "hyp/core/cpu.h"

#define GIC_SGI_KICK 0u /* look at your vCPU's requests and your run queue */
#define GIC_SGI_STOP 1u /* the machine is going down: park */

struct gic_layout {
  pa_t dist;
  uint64_t dist_bytes;
  pa_t redist;
  uint64_t redist_bytes;
};

/* Boot CPU, once. */
void gic_init(const struct gic_layout *layout);
/*
 * Each CPU: wakes its redistributor, enables EL2's PPIs and SGIs, sets up the CPU interface. ERR_NOENT if no redistributor has this MPIDR.
 */
MUST_CHECK err_t gic_cpu_init(struct cpu *c);
/* Route SPI `intid` to `c` and enable it. */
void gic_enable_spi(unsigned intid, const struct cpu *c);

/* To a CPU that has come up (gic_cpu_init). */
static inline void gic_send_sgi(const struct cpu *c, unsigned intid) {
  dsb(ishst); /* what the receiver is to see is visible before the interrupt (IHI 0069, 4.1) */
  sysreg_write_enc(ICC_SGI1R_EL1, c->sgi_target | (uint64_t)intid << ICC_SGI1R_INTID_SHIFT);
  isb();
}

static inline unsigned gic_acknowledge(void) {
  return (unsigned)(sysreg_read_enc(ICC_IAR1_EL1) & 0xffffff);
}

/* Priority drop only: the guest deactivates (linked list register). */
static inline void gic_drop(unsigned intid) {
  sysreg_write_enc(ICC_EOIR1_EL1, intid);
}

/* Priority drop and deactivation. */
static inline void gic_end(unsigned intid) {
  sysreg_write_enc(ICC_EOIR1_EL1, intid);
  sysreg_write_enc(ICC_DIR_EL1, intid);
}

#endif
