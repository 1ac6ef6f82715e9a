/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VGIC_H
#define HYP_DEV_VGIC_H

/*
 * Virtual GICv3 (Arm IHI 0069): distributor and redistributor state in software, CPU interface in the list registers. One security state
 * (GICD_CTLR.DS = 1), affinity routing always on, Group 1 only, 5 bits of priority, no LPIs. Owned by hyp/dev.
 *
 * Locking. One lock per VM, `vm->vgic.lock`, covers all fields below. It is a leaf: nothing that locks is called under it, and
 * vcpu_request() only after it is dropped. vuart.lock may be held around it.
 */

#include "arch/lock.h"
#include "core/err.h"
#include "core/types.h"

struct vm;
struct vcpu;
struct cpu;

#define VGIC_SPIS 64u /* INTIDs 32..95 */
#define VGIC_INTIDS (32u + VGIC_SPIS)
#define VGIC_VCPUS_MAX 8u
#define VGIC_LRS_MAX 16u
#define VGIC_APRS_MAX 4u

/*
 * The state of up to 64 interrupts, bit i for the i-th. While an interrupt is `resident`, a list register holds its pending and active
 * state, and `latch` holds only what came since and is not merged yet.
 *
 *   pending, outside list registers:  latch | (line & ~edge)
 *   candidate for a list register:    pending & enabled & ~active & ~resident, and the group is enabled
 */
struct vgic_bank {
  uint64_t enabled;
  uint64_t latch;    /* set by an edge, an SGI or ISPENDR */
  uint64_t line;     /* input level, of level-sensitive interrupts */
  uint64_t edge;     /* configuration: edge-triggered */
  uint64_t active;   /* active, but in no list register */
  uint64_t resident; /* in a list register of some vCPU */
  uint64_t soft;     /* resident: its pending bit stems from `latch`, so a falling line does not take it back */
  uint64_t again;    /* resident: once finished, its list register may be made pending again as it stands */
  uint64_t ordered;  /* resident: order to the CPU that has it to make its active bit that of `ordered_active` */
  uint64_t ordered_active;
  uint64_t forced; /* active by a write of software, not by an acknowledge */
  uint8_t priority[64];
  uint8_t lr[64]; /* resident: which list register; active: the priority it was acknowledged at */
};

struct vgic_cpu {
  struct vgic_bank priv;     /* SGIs and PPIs: INTIDs 0..31 */
  struct cpu *loaded_on;     /* the CPU whose ICH_* registers hold this vCPU; NULL: `lr`, `vmcr`, `ap*` below do */
  uint32_t lr_used;          /* list registers in use, finished ones not folded yet included; all others are empty */
  bool hw_unlinked;          /* PPI 27 is physically active for this vCPU, but no list register is linked to it */
  bool sync_due;             /* a request means more than "an SGI was latched": look at every list register; atomic */
  bool asleep;               /* GICR_WAKER.ProcessorSleep */
  uint64_t hcr;              /* ICH_HCR_EL2 as last written */
  uint64_t lr[VGIC_LRS_MAX]; /* while loaded: the state bits as last seen */
  uint64_t vmcr, ap0r[VGIC_APRS_MAX], ap1r[VGIC_APRS_MAX];
};

struct vgic {
  struct spinlock lock;
  bool enabled;  /* GICD_CTLR.EnableGrp1 */
  bool group0;   /* GICD_CTLR.EnableGrp0: kept, without effect */
  uint32_t owed; /* vCPUs (bit per id) to be told when the lock is dropped */
  struct vgic_bank spi;
  uint64_t router[VGIC_SPIS];      /* GICD_IROUTER */
  uint64_t routed[VGIC_VCPUS_MAX]; /* SPIs that `router` sends to each vCPU */
  uint8_t target[VGIC_SPIS];       /* the vCPU that has the SPI in `routed`, or VGIC_NO_VCPU */
  uint8_t holder[VGIC_SPIS];       /* whose list register has it (resident), or who acknowledged it (active) */
};
#define VGIC_NO_VCPU 0xffu

/* Once per CPU at boot: enable system registers, learn the number of list registers, clear them. */
void vgic_cpu_setup(void);
/* Distributor at reset, every SPI routed to vCPU 0. Before the vCPUs are reset. Also at a restart of the VM, no vCPU loaded. */
MUST_CHECK err_t vgic_init(struct vm *vm);
/* Redistributor and CPU interface of `v` at reset; `v` must not be loaded. */
void vgic_vcpu_reset(struct vcpu *v);
/* The CPU interface of `v` alone at reset; what is pending, active and enabled stays. `v` must not be loaded. */
void vgic_power_down(struct vcpu *v);

/*
 * MMIO at [offset] of the distributor, or of the redistributor region (all vCPUs' frames). `bytes` 1, 2, 4 or 8, naturally aligned. Unknown
 * registers are RAZ/WI.
 */
uint64_t vgicd_read(struct vcpu *v, uint64_t offset, unsigned bytes);
void vgicd_write(struct vcpu *v, uint64_t offset, unsigned bytes, uint64_t value);
uint64_t vgicr_read(struct vcpu *v, uint64_t offset, unsigned bytes);
void vgicr_write(struct vcpu *v, uint64_t offset, unsigned bytes, uint64_t value);

/* A trapped write of ICC_SGI1R_EL1 by `v`. */
void vgic_send_sgi(struct vcpu *v, uint64_t sgi1r);
/* What to do about the instruction of a trapped access. */
enum vgic_icc {
  VGIC_ICC_FOREIGN, /* nothing that vgic_icc_access() knows */
  VGIC_ICC_DONE,    /* emulated: go on after it */
  VGIC_ICC_AGAIN    /* it does not trap any more: execute it again */
};
/*
 * A trapped access by `v` to `sysreg_id`, register `rt`: one of the CPU interface's for Group 1, which trap (ICH_HCR_EL2.TALL1) while the
 * virtual timer's interrupt is pending and the guest could not take it.
 */
enum vgic_icc vgic_icc_access(struct vcpu *v, uint32_t sysreg_id, bool is_read, unsigned rt);
/* A trapped write of ICC_DIR_EL1 by `v` (only while one of its active interrupts had to leave the list registers). */
void vgic_deactivate(struct vcpu *v, unsigned intid);

/* Interrupt lines, from any CPU. `level` matters for level-sensitive ones; edge ones latch on true. */
void vgic_set_spi(struct vm *vm, unsigned intid, bool level);
void vgic_set_ppi(struct vcpu *v, unsigned intid, bool level);
/*
 * The physical timer interrupt, PPI 27, became active on this CPU: pend it for the current vCPU, linked (HW bit) so that the guest's
 * deactivation is the physical one.
 */
void vgic_inject_timer(struct vcpu *v);

/* Fold finished list registers back and fill them from what is pending in software; current vCPU, before entry (VCPU_REQ_VGIC). */
void vgic_flush(struct vcpu *v);
/* Maintenance interrupt of the current vCPU. */
void vgic_maintenance(struct vcpu *v);
/*
 * Save and load the ICH_* registers at a vCPU switch, with CNTV stopped before the save (el1_save) and running before the load (el1_load).
 * A linked timer interrupt that is not finished has its physical active state cleared by the save (another vCPU needs PPI 27) and set again
 * by the load, so that the guest's deactivation still finds it. The load does all that a request (VCPU_REQ_VGIC) would ask for.
 */
void vgic_save(struct vcpu *v);
void vgic_load(struct vcpu *v);
/* Would an interrupt be signalled to `v` now (enabled, priority above PMR and running priority)? What WFI waits for. */
bool vgic_has_pending(struct vcpu *v);
/*
 * Is there a wake-up event for `v` if its power is off? Its CPU interface is off too, so any interrupt counts that is pending and enabled,
 * its group by the distributor, whatever its priority (IHI 0069, WakeRequest). Current vCPU.
 */
bool vgic_has_wakeup(struct vcpu *v);
/* As vgic_has_pending() in haste: true also for one that is active, masked or not urgent enough. Current vCPU. */
bool vgic_may_have_pending(const struct vcpu *v);

#endif
