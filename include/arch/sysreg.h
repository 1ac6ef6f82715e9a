/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_SYSREG_H
#define ARCH_SYSREG_H

/*
 * Access to system registers, and the fields used here, named as in the Arm ARM (D17 / D19).
 * Registers the assembler may not know are given by encoding: S<op0>_<op1>_C<crn>_C<crm>_<op2>.
 */

#include "core/bits.h"
#include <stdint.h>

#define sysreg_read(reg_)                                                                                                                  \
  __extension__({                                                                                                                          \
    uint64_t value__;                                                                                                                      \
    __asm__ volatile("mrs %0, " #reg_ : "=r"(value__));                                                                                    \
    value__;                                                                                                                               \
  })

#define sysreg_write(reg_, value_)                                                                                                         \
  do {                                                                                                                                     \
    uint64_t written__ = (uint64_t)(value_);                                                                                               \
    __asm__ volatile("msr " #reg_ ", %x0" ::"rZ"(written__) : "memory");                                                                   \
  } while (0)

/* GIC CPU interface and virtual CPU interface control (GICv3, IHI 0069). */
#define ICC_PMR_EL1 S3_0_C4_C6_0
#define ICC_IAR0_EL1 S3_0_C12_C8_0
#define ICC_DIR_EL1 S3_0_C12_C11_1
#define ICC_RPR_EL1 S3_0_C12_C11_3
#define ICC_SGI1R_EL1 S3_0_C12_C11_5
#define ICC_IAR1_EL1 S3_0_C12_C12_0
#define ICC_EOIR1_EL1 S3_0_C12_C12_1
#define ICC_HPPIR1_EL1 S3_0_C12_C12_2
#define ICC_BPR1_EL1 S3_0_C12_C12_3
#define ICC_CTLR_EL1 S3_0_C12_C12_4
#define ICC_SRE_EL1 S3_0_C12_C12_5
#define ICC_IGRPEN1_EL1 S3_0_C12_C12_7
#define ICC_SRE_EL2 S3_4_C12_C9_5
#define ICH_AP0R0_EL2 S3_4_C12_C8_0
#define ICH_AP1R0_EL2 S3_4_C12_C9_0
#define ICH_HCR_EL2 S3_4_C12_C11_0
#define ICH_VTR_EL2 S3_4_C12_C11_1
#define ICH_MISR_EL2 S3_4_C12_C11_2
#define ICH_EISR_EL2 S3_4_C12_C11_3
#define ICH_ELRSR_EL2 S3_4_C12_C11_5
#define ICH_VMCR_EL2 S3_4_C12_C11_7
#define ICH_LR0_EL2 S3_4_C12_C12_0
#define ICH_LR1_EL2 S3_4_C12_C12_1
#define ICH_LR2_EL2 S3_4_C12_C12_2
#define ICH_LR3_EL2 S3_4_C12_C12_3
#define ICH_LR4_EL2 S3_4_C12_C12_4
#define ICH_LR5_EL2 S3_4_C12_C12_5
#define ICH_LR6_EL2 S3_4_C12_C12_6
#define ICH_LR7_EL2 S3_4_C12_C12_7
#define ICH_LR8_EL2 S3_4_C12_C13_0
#define ICH_LR9_EL2 S3_4_C12_C13_1
#define ICH_LR10_EL2 S3_4_C12_C13_2
#define ICH_LR11_EL2 S3_4_C12_C13_3
#define ICH_LR12_EL2 S3_4_C12_C13_4
#define ICH_LR13_EL2 S3_4_C12_C13_5
#define ICH_LR14_EL2 S3_4_C12_C13_6
#define ICH_LR15_EL2 S3_4_C12_C13_7

/* Lets a register macro above be passed to sysreg_read/write: expands it before it is made a string. */
#define sysreg_read_enc(reg_) sysreg_read_enc_(reg_)
#define sysreg_read_enc_(reg_) sysreg_read(reg_)
#define sysreg_write_enc(reg_, value_) sysreg_write_enc_(reg_, value_)
#define sysreg_write_enc_(reg_, value_) sysreg_write(reg_, value_)

/* PSTATE.DAIF as `msr daifset, #n` takes it, and as SPSR/DAIF hold it. */
#define DAIF_D 8
#define DAIF_A 4
#define DAIF_I 2
#define DAIF_F 1
#define PSR_F BIT(6)
#define PSR_I BIT(7)
#define PSR_A BIT(8)
#define PSR_D BIT(9)
#define PSR_SSBS BIT(12)
#define PSR_PAN BIT(22)
#define PSR_DIT BIT(24)
#define PSR_nRW BIT(4)
#define PSR_M_MASK 0xful
#define PSR_EL0t 0x0ul
#define PSR_EL1t 0x4ul
#define PSR_EL1h 0x5ul
#define PSR_EL2h 0x9ul

/* SCTLR_ELx */
#define SCTLR_M BIT(0)
#define SCTLR_A BIT(1)
#define SCTLR_C BIT(2)
#define SCTLR_SA BIT(3)
#define SCTLR_I BIT(12)
#define SCTLR_WXN BIT(19)
#define SCTLR_EL2_RES1 (BIT(29) | BIT(28) | BIT(23) | BIT(22) | BIT(18) | BIT(16) | BIT(11) | BIT(5) | BIT(4))
#define SCTLR_EL1_RES1 (BIT(29) | BIT(28) | BIT(23) | BIT(22) | BIT(20) | BIT(11) | BIT(8) | BIT(7))
#define SCTLR_EL1_SA0 BIT(4)
#define SCTLR_EL1_DZE BIT(14)
#define SCTLR_EL1_UCT BIT(15)
#define SCTLR_EL1_nTWI BIT(16)
#define SCTLR_EL1_nTWE BIT(18)
#define SCTLR_EL1_SPAN BIT(23)
#define SCTLR_EL1_UCI BIT(26)

/* HCR_EL2 */
#define HCR_VM BIT(0)
#define HCR_SWIO BIT(1)
#define HCR_FMO BIT(3)
#define HCR_IMO BIT(4)
#define HCR_AMO BIT(5)
#define HCR_VF BIT(6)
#define HCR_FB BIT(9)      /* broadcast EL1's local TLBI and IC: a vCPU may have left entries on another CPU */
#define HCR_BSU_IS BIT(10) /* and let its barriers reach as far */
#define HCR_VI BIT(7)
#define HCR_VSE BIT(8)
#define HCR_TWI BIT(13)
#define HCR_TWE BIT(14)
#define HCR_TID0 BIT(15)
#define HCR_TID1 BIT(16)
#define HCR_TID2 BIT(17)
#define HCR_TID3 BIT(18)
#define HCR_TSC BIT(19)
#define HCR_TIDCP BIT(20)
#define HCR_TACR BIT(21)
#define HCR_TVM BIT(26)
#define HCR_TGE BIT(27)
#define HCR_TRVM BIT(30)
#define HCR_RW BIT(31)
#define HCR_E2H BIT(34)
#define HCR_TLOR BIT(35)
#define HCR_TERR BIT(36)
#define HCR_APK BIT(40)
#define HCR_API BIT(41)
#define HCR_FWB BIT(46)
#define HCR_FIEN BIT(47)

/* CPTR_EL2 (E2H = 0) and CPACR_EL1 */
#define CPTR_EL2_RES1 0x32fful /* [13:12], [9], [7:0]; TZ (8) is separate */
#define CPTR_EL2_TZ BIT(8)
#define CPTR_EL2_TFP BIT(10)
#define CPTR_EL2_TSM BIT(12)
#define CPTR_EL2_TTA BIT(20)
#define CPTR_EL2_TAM BIT(30)
#define CPTR_EL2_TCPAC BIT(31)
#define CPACR_EL1_FPEN (BIT(20) | BIT(21))

/* VTCR_EL2 */
#define VTCR_RES1 BIT(31)
#define VTCR_VS BIT(19)
#define VTCR_HA BIT(21)
#define VTCR_HD BIT(22)
#define VTCR_PS_SHIFT 16
#define VTCR_TG0_4K 0
#define VTCR_SH0_INNER (BIT(12) | BIT(13))
#define VTCR_ORGN0_WBWA BIT(10)
#define VTCR_IRGN0_WBWA BIT(8)
#define VTCR_SL0_SHIFT 6

/* TCR_EL1 and TCR_EL2 fields at the same place in both: T0SZ, IRGN0, ORGN0, SH0, TG0 */
#define TCR_T0SZ(bits_) ((uint64_t)(64 - (bits_)))
#define TCR_T1SZ(bits_) ((uint64_t)(64 - (bits_)) << 16)
#define TCR_IRGN0_WBWA BIT(8)
#define TCR_ORGN0_WBWA BIT(10)
#define TCR_SH0_INNER (BIT(12) | BIT(13))
#define TCR_TG0_4K 0
#define TCR_EPD0 BIT(7)
#define TCR_A1 BIT(22)
#define TCR_EPD1 BIT(23)
#define TCR_IRGN1_WBWA BIT(24)
#define TCR_ORGN1_WBWA BIT(26)
#define TCR_SH1_INNER (BIT(28) | BIT(29))
#define TCR_TG1_4K BIT(31)
#define TCR_EL1_IPS_SHIFT 32
#define TCR_EL1_AS BIT(36)
#define TCR_EL2_PS_SHIFT 16
#define TCR_EL2_RES1 (BIT(31) | BIT(23))

/* CNTHCTL_EL2 (E2H = 0), CNT*_CTL */
#define CNTHCTL_EL1PCTEN BIT(0)
#define CNTHCTL_EL1PCEN BIT(1)
#define CNT_CTL_ENABLE BIT(0)
#define CNT_CTL_IMASK BIT(1)
#define CNT_CTL_ISTATUS BIT(2)

/* PAR_EL1 */
#define PAR_F BIT(0)

/* Affinity fields of MPIDR_EL1, as PSCI and GICv3 routing use them. */
#define MPIDR_AFF_MASK (GENMASK(39, 32) | GENMASK(23, 0))

#endif
