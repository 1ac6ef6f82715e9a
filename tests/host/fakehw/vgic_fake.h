/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FAKEHW_VGIC_FAKE_H
#define FAKEHW_VGIC_FAKE_H

/*
 * GIC hardware for host tests of the virtual GIC: takes the place of hyp/dev/vgic_hw.h and arch/barrier.h (by their include guards: tests
 * pass it with -include), and plays the virtual CPU interface of Arm IHI 0069 from the list registers that the code under test wrote:
 * acknowledge, priority drop, deactivation, EOIcount, maintenance conditions. It fails the test on what the architecture calls
 * UNPREDICTABLE.
 */

#define ARCH_BARRIER_H
#define dsb(option_) ((void)0)
#define dmb(option_) ((void)0)
static inline void isb(void) {
}
static inline void cpu_relax(void) {
}

#define HYP_DEV_VGIC_HW_H
#include "arch/gicv3.h"
#include <stdbool.h>
#include <stdint.h>

struct cpu;

#define FAKE_CPUS 4
#define FAKE_LRS 16

struct fake_cpu {
  uint64_t lr[FAKE_LRS], vmcr, hcr, ap0r[4], ap1r[4];
  bool timer_active; /* PPI 27 at the physical redistributor */
  bool irq_masked;   /* PSTATE.I of the guest */
};

extern struct fake_cpu fake_cpus[FAKE_CPUS];
extern unsigned fake_current; /* the CPU that runs the code under test */
extern unsigned fake_lrs;     /* list registers it has */

struct cpu *vgic_hw_cpu(void);
uint64_t vgic_hw_read_lr(unsigned n);
void vgic_hw_write_lr(unsigned n, uint64_t value);
uint32_t vgic_hw_read_elrsr(void);
uint64_t vgic_hw_read_vtr(void);
uint64_t vgic_hw_read_hcr(void);
void vgic_hw_write_hcr(uint64_t value);
uint64_t vgic_hw_read_vmcr(void);
void vgic_hw_write_vmcr(uint64_t value);
void vgic_hw_read_apr(unsigned count, uint64_t ap0r[4], uint64_t ap1r[4]);
void vgic_hw_write_apr(unsigned count, const uint64_t ap0r[4], const uint64_t ap1r[4]);
bool vgic_hw_is_running(unsigned count);
bool vgic_hw_irq_masked(void);
void vgic_hw_set_active(unsigned pintid, bool active);
void vgic_hw_setup(void);

void fake_reset(unsigned lrs);
/* Priority of the most urgent pending list register; 0x100 if none. */
unsigned fake_highest_pending(const struct fake_cpu *c);
/* Priority of the interrupt that CPU `c` signals to its guest; 0x100 if none. */
unsigned fake_signalled(const struct fake_cpu *c);
/* What the guest's reads and writes of ICC_IAR1, ICC_EOIR1 and ICC_DIR do. fake_dir: false if it traps (ICH_HCR_EL2.TDIR). */
unsigned fake_acknowledge(struct fake_cpu *c);
void fake_eoi(struct fake_cpu *c, unsigned intid);
bool fake_dir(struct fake_cpu *c, unsigned intid);
/* Is the maintenance interrupt asserted? */
bool fake_maintenance(const struct fake_cpu *c);

#endif
