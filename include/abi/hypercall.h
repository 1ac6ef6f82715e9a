/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ABI_HYPERCALL_H
#define ABI_HYPERCALL_H

/*
 * Sluice's own hypercalls: HVC #0 with SMCCC function ids in the vendor-hypervisor range (owner 6), fast, 64-bit. Nothing here
 * duplicates a standard: CPUs go through PSCI, discovery through SMCCC. A guest finds out that it runs under Sluice by
 * SMCCC_VENDOR_HYP_CALL_UID. All return SMCCC_RET_* or a value in x0; unknown ids return NOT_SUPPORTED.
 */

/* UID 5c1ce5e1-ba5e-4d0c-8f6a-51d1ce000001, as x0..x3 of CALL_UID (SMCCC 1.2, 5.2: little-endian words of the UUID's bytes). */
#define SLUICE_UID_0 0xe1e51c5cu
#define SLUICE_UID_1 0x0c4d5ebau
#define SLUICE_UID_2 0xd1516a8fu
#define SLUICE_UID_3 0x010000ceu

/* x1: tag, x2..x4: values. One TRACE_GUEST record in the ring of this CPU. For demos and tests; costs the caller an exit. */
#define SLUICE_HVC_TRACE 0xc6000001u

/* x1: verdict (0 passed, else failed), x2: value shown. Marks this VM's verdict; scenarios wait on it by `expect-verdict`. */
#define SLUICE_HVC_VERDICT 0xc6000002u

/* x1: which (enum below). Returns a count kept by EL2 for this VM. */
#define SLUICE_HVC_STAT 0xc6000003u
enum sluice_stat {
  SLUICE_STAT_S2_FAULTS = 0, /* stage-2 faults served by populating */
  SLUICE_STAT_S2_FAULTS_2M,  /* of these, with a 2 MiB block */
  SLUICE_STAT_EXITS,         /* exits of this vCPU */
  SLUICE_STAT_S1_FAULTS,     /* stage-1 aborts seen at EL2 (trap-stage1-faults only) */
  SLUICE_STAT_MASKED_MAX,    /* longest stretch at EL2 with interrupts masked on this CPU, in counter ticks */
  SLUICE_STAT_FRAMES,        /* frames owned by this VM */
  SLUICE_STAT_COUNT
};

#endif
