/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_GICV3_H
#define ARCH_GICV3_H

/* GICv3 register offsets, fields and INTIDs (Arm IHI 0069). No state, no policy. */

#include "arch/mmio.h"
#include "core/bits.h"

#define GIC_SGIS 16u
#define GIC_PPI_BASE 16u
#define GIC_SPI_BASE 32u
#define GIC_INTID_SPECIAL 1020u
#define GIC_INTID_SPURIOUS 1023u

/* Distributor */
#define GICD_CTLR 0x0000u
#define GICD_TYPER 0x0004u
#define GICD_IIDR 0x0008u
#define GICD_TYPER2 0x000cu
#define GICD_STATUSR 0x0010u
#define GICD_SETSPI_NSR 0x0040u
#define GICD_CLRSPI_NSR 0x0048u
#define GICD_IGROUPR 0x0080u
#define GICD_ISENABLER 0x0100u
#define GICD_ICENABLER 0x0180u
#define GICD_ISPENDR 0x0200u
#define GICD_ICPENDR 0x0280u
#define GICD_ISACTIVER 0x0300u
#define GICD_ICACTIVER 0x0380u
#define GICD_IPRIORITYR 0x0400u
#define GICD_ITARGETSR 0x0800u
#define GICD_ICFGR 0x0c00u
#define GICD_IGRPMODR 0x0d00u
#define GICD_NSACR 0x0e00u
#define GICD_SGIR 0x0f00u
#define GICD_IROUTER 0x6000u /* + 8 * intid, intid >= 32 */
#define GICD_PIDR2 0xffe8u
#define GICD_CTLR_RWP BIT(31)
#define GICD_CTLR_DS BIT(6)
#define GICD_CTLR_ARE_NS BIT(4)
#define GICD_CTLR_ENABLE_G1A BIT(1)
#define GICD_CTLR_ENABLE_G1 BIT(0)
#define GICD_IROUTER_IRM BIT(31)

/* Redistributor: RD_base frame, then SGI_base frame 64 KiB above */
#define GICR_STRIDE 0x20000u
#define GICR_SGI_BASE 0x10000u
#define GICR_CTLR 0x0000u
#define GICR_IIDR 0x0004u
#define GICR_TYPER 0x0008u
#define GICR_STATUSR 0x0010u
#define GICR_WAKER 0x0014u
#define GICR_PIDR2 0xffe8u
#define GICR_IGROUPR0 (GICR_SGI_BASE + 0x0080u)
#define GICR_ISENABLER0 (GICR_SGI_BASE + 0x0100u)
#define GICR_ICENABLER0 (GICR_SGI_BASE + 0x0180u)
#define GICR_ISPENDR0 (GICR_SGI_BASE + 0x0200u)
#define GICR_ICPENDR0 (GICR_SGI_BASE + 0x0280u)
#define GICR_ISACTIVER0 (GICR_SGI_BASE + 0x0300u)
#define GICR_ICACTIVER0 (GICR_SGI_BASE + 0x0380u)
#define GICR_IPRIORITYR (GICR_SGI_BASE + 0x0400u)
#define GICR_ICFGR0 (GICR_SGI_BASE + 0x0c00u)
#define GICR_ICFGR1 (GICR_SGI_BASE + 0x0c04u)
#define GICR_IGRPMODR0 (GICR_SGI_BASE + 0x0d00u)
#define GICR_WAKER_PROCESSOR_SLEEP BIT(1)
#define GICR_WAKER_CHILDREN_ASLEEP BIT(2)
#define GICR_TYPER_LAST BIT(4)

#define GIC_PIDR2_ARCH_V3 0x3bu /* ArchRev = 3, JEDEC bit, DES_1 */

/* ICC_SGI1R_EL1 */
#define ICC_SGI1R_INTID_SHIFT 24
#define ICC_SGI1R_AFF1_SHIFT 16
#define ICC_SGI1R_AFF2_SHIFT 32
#define ICC_SGI1R_AFF3_SHIFT 48
#define ICC_SGI1R_RS_SHIFT 44
#define ICC_SGI1R_IRM BIT(40)

#define ICC_CTLR_EOIMODE BIT(1)

/* ICH_HCR_EL2 */
#define ICH_HCR_EN BIT(0)
#define ICH_HCR_UIE BIT(1)
#define ICH_HCR_LRENPIE BIT(2)
#define ICH_HCR_NPIE BIT(3)
#define ICH_HCR_TC BIT(10)
#define ICH_HCR_TALL1 BIT(12)
#define ICH_HCR_TDIR BIT(14)
#define ICH_HCR_EOICOUNT_SHIFT 27

/* ICH_LR<n>_EL2 */
#define ICH_LR_STATE_SHIFT 62
#define ICH_LR_PENDING BIT(62)
#define ICH_LR_ACTIVE BIT(63)
#define ICH_LR_HW BIT(61)
#define ICH_LR_GROUP1 BIT(60)
#define ICH_LR_PRIORITY_SHIFT 48
#define ICH_LR_PINTID_SHIFT 32
#define ICH_LR_EOI BIT(41) /* HW = 0: maintenance interrupt on EOI */
#define ICH_LR_VINTID_MASK 0xffffffffull

/* ICH_VMCR_EL2 */
#define ICH_VMCR_VENG0 BIT(0)
#define ICH_VMCR_VENG1 BIT(1)
#define ICH_VMCR_VCBPR BIT(4)
#define ICH_VMCR_VEOIM BIT(9)
#define ICH_VMCR_VBPR1_SHIFT 18
#define ICH_VMCR_VPMR_SHIFT 24

/* PPIs of the QEMU virt machine's CPUs (Arm BSA) */
#define PPI_PMU 23u
#define PPI_MAINTENANCE 25u
#define PPI_CNTHP 26u
#define PPI_CNTV 27u
#define PPI_CNTHV 28u
#define PPI_CNTP_S 29u
#define PPI_CNTP 30u

#endif
