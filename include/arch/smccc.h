/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_SMCCC_H
#define ARCH_SMCCC_H

/* SMC Calling Convention 1.2+ (Arm DEN 0028) and PSCI 1.1 (Arm DEN 0022) function ids and codes. */

#include <stdint.h>

#define SMCCC_FAST 0x80000000u
#define SMCCC_64 0x40000000u
#define SMCCC_OWNER_SHIFT 24
#define SMCCC_OWNER_ARCH 0u
#define SMCCC_OWNER_STANDARD 4u
#define SMCCC_OWNER_HYP_STANDARD 5u
#define SMCCC_OWNER_HYP_VENDOR 6u

#define SMCCC_VERSION 0x80000000u
#define SMCCC_ARCH_FEATURES 0x80000001u
#define SMCCC_VERSION_1_2 0x00010002u
#define SMCCC_RET_SUCCESS 0l
#define SMCCC_RET_NOT_SUPPORTED (-1l)
#define SMCCC_RET_INVALID_PARAMETER (-3l)

#define SMCCC_VENDOR_HYP_CALL_COUNT 0x8600ff00u
#define SMCCC_VENDOR_HYP_CALL_UID 0x8600ff01u
#define SMCCC_VENDOR_HYP_REVISION 0x8600ff03u

#define PSCI_VERSION 0x84000000u
#define PSCI_CPU_SUSPEND_32 0x84000001u
#define PSCI_CPU_SUSPEND_64 0xc4000001u
#define PSCI_CPU_OFF 0x84000002u
#define PSCI_CPU_ON_32 0x84000003u
#define PSCI_CPU_ON_64 0xc4000003u
#define PSCI_AFFINITY_INFO_32 0x84000004u
#define PSCI_AFFINITY_INFO_64 0xc4000004u
#define PSCI_MIGRATE_INFO_TYPE 0x84000006u
#define PSCI_SYSTEM_OFF 0x84000008u
#define PSCI_SYSTEM_RESET 0x84000009u
#define PSCI_FEATURES 0x8400000au

#define PSCI_SUCCESS 0
#define PSCI_NOT_SUPPORTED (-1)
#define PSCI_INVALID_PARAMETERS (-2)
#define PSCI_DENIED (-3)
#define PSCI_ALREADY_ON (-4)
#define PSCI_ON_PENDING (-5)
#define PSCI_INTERNAL_FAILURE (-6)
#define PSCI_NOT_PRESENT (-7)
#define PSCI_DISABLED (-8)
#define PSCI_INVALID_ADDRESS (-9)

struct smccc_result {
  uint64_t x0, x1, x2, x3;
};

#ifdef __aarch64__ /* host tests have use for the numbers only */
#define SMCCC_CALL(conduit_)                                                                                                               \
  static inline struct smccc_result smccc_##conduit_(uint64_t fid, uint64_t a1, uint64_t a2, uint64_t a3) {                                \
    register uint64_t x0 __asm__("x0") = fid;                                                                                              \
    register uint64_t x1 __asm__("x1") = a1;                                                                                               \
    register uint64_t x2 __asm__("x2") = a2;                                                                                               \
    register uint64_t x3 __asm__("x3") = a3;                                                                                               \
    __asm__ volatile(#conduit_ " #0"                                                                                                       \
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)                                                                              \
                     :                                                                                                                     \
                     : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory");              \
    return (struct smccc_result){x0, x1, x2, x3};                                                                                          \
  }

SMCCC_CALL(hvc)
SMCCC_CALL(smc)

/* With all eight registers of SMCCC 1.2: x[0] is the function, and each comes back as the callee leaves it. */
#define SMCCC_CALL_8(conduit_)                                                                                                             \
  static inline void smccc_##conduit_##8(uint64_t x[8]) {                                                                                  \
    register uint64_t x0 __asm__("x0") = x[0];                                                                                             \
    register uint64_t x1 __asm__("x1") = x[1];                                                                                             \
    register uint64_t x2 __asm__("x2") = x[2];                                                                                             \
    register uint64_t x3 __asm__("x3") = x[3];                                                                                             \
    register uint64_t x4 __asm__("x4") = x[4];                                                                                             \
    register uint64_t x5 __asm__("x5") = x[5];                                                                                             \
    register uint64_t x6 __asm__("x6") = x[6];                                                                                             \
    register uint64_t x7 __asm__("x7") = x[7];                                                                                             \
    __asm__ volatile(#conduit_ " #0"                                                                                                       \
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5), "+r"(x6), "+r"(x7)                                      \
                     :                                                                                                                     \
                     : "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory");                                      \
    x[0] = x0, x[1] = x1, x[2] = x2, x[3] = x3;                                                                                            \
    x[4] = x4, x[5] = x5, x[6] = x6, x[7] = x7;                                                                                            \
  }

SMCCC_CALL_8(hvc)
SMCCC_CALL_8(smc)
#endif

#endif
