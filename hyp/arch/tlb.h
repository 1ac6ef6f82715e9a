/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_ARCH_TLB_H
#define HYP_ARCH_TLB_H

/*
 * TLB maintenance for stage 2, by VMID. Each call makes its operation complete on every CPU of the inner shareable domain before it
 * returns.
 */

#include "core/types.h"

struct pt;
struct vmid;

/*
 * Stage-2 entries of `pt`, tagged with `vmid`, for [a, a + bytes) were made invalid or less permissive: DSB ISHST, TLBI IPAS2E1IS (or by
 * range) for each leaf of `level`, DSB ISH, TLBI VMALLE1IS (combined stage-1+2 entries are not tagged by IPA), DSB ISH, ISB. Arm ARM D8.13.
 */
void tlb_flush_ipa(const struct pt *pt, const struct vmid *vmid, ipa_t a, uint64_t bytes, unsigned level, bool tables);

/* Everything of this VMID, both stages. */
void tlb_flush_vmid(const struct pt *pt, const struct vmid *vmid);

/* Everything of all VMIDs at EL1&0: a VMID rollover. */
void tlb_flush_all_vmids(void);

/* Combined entries of the current VMID on this CPU only: another vCPU of the same VM comes in. */
void tlb_flush_local(void);

/* Instruction caches of all CPUs: frames changed their contents and their owner. */
void icache_flush_all(void);

#endif
