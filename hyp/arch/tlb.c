/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TLBI with the right VMID and the right barriers.
 *
 * TLBI by VMID acts on the VMID in VTTBR_EL2. When that is not the VM in question, VTTBR_EL2 is switched for the moment; meanwhile the EL1
 * regime's stage-1 walks are turned off (TCR_EL1.EPD0/EPD1), since a speculative walk with one VM's EL1 registers and another's stage 2
 * would leave entries that belong to neither (Cortex-A72 erratum 1319367 shows it on real parts).
 */
#include "hyp/arch/tlb.h"
#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "hyp/arch/features.h"
#include "hyp/arch/vttbr.h"
#include "hyp/core/cpu.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/vmid.h"
#include "mm/pgtable.h"

#define RANGE_PAGES_MAX (((uint64_t)1 << 21) - 1) /* NUM = 31, SCALE = 3 */
#define FLUSH_BY_LEAF_MAX 64u                     /* beyond this many operations the whole VMID is cheaper */

/* TLBI operand: IPA[47:12] in bits 35:0, TTL in 47:44 (4 KiB granule: 0b01 << 2 | level). */
static uint64_t ipas2_operand(uint64_t a, unsigned level, bool tables) {
  uint64_t ttl = feature_on(HYP_FEAT_TTL) && !tables ? (uint64_t)(4 | level) << 44 : 0;
  return a >> PAGE_SHIFT | ttl;
}

static NOINLINE void watched(enum trace_tlbi op, uint16_t vmid, uint64_t a, uint64_t bytes, uint64_t level) {
  trace(TRACE_GROUP_PT, TRACE_TLBI, vmid, op, a, bytes, level, 0);
  this_cpu()->cost_tlbis += op != TRACE_IC_IALLUIS;
}

static inline void note(enum trace_tlbi op, uint16_t vmid, uint64_t a, uint64_t bytes, uint64_t level) {
  if (unlikely(trace_mask & (BIT(TRACE_GROUP_PT) | TRACE_WATCH_COST)))
    watched(op, vmid, a, bytes, level);
}

static void sync_stores(void) {
  dsb(ishst);
  trace(TRACE_GROUP_PT, TRACE_DSB, 0, 0, 0, 0, 0, 0);
}

static void sync_tlbi(void) {
  dsb(ish);
  trace(TRACE_GROUP_PT, TRACE_DSB, 0, 1, 0, 0, 0, 0);
}

static void sync_context(void) {
  isb();
  trace(TRACE_GROUP_PT, TRACE_ISB, 0, 0, 0, 0, 0, 0);
}

static void flush_leaf(uint16_t vmid, uint64_t a, unsigned level, uint64_t leaf_bytes, bool tables) {
  uint64_t operand = ipas2_operand(a, level, tables);
  __asm__ volatile("tlbi ipas2e1is, %0" ::"r"(operand) : "memory");
  note(TRACE_TLBI_IPAS2E1IS, vmid, a, leaf_bytes, operand >> 44 ? level : 0);
}

/*
 * FEAT_TLBIRANGE: BaseADDR[36:0], TTL[38:37], NUM[43:39], SCALE[45:44], TG[47:46] = 0b01. One operation covers (NUM+1) * 2^(5*SCALE+1)
 * pages.
 */
static void flush_range(uint16_t vmid, uint64_t a, uint64_t pages) {
  for (unsigned scale = 0; scale <= 3 && pages > 0; scale++) {
    uint64_t unit = (uint64_t)1 << (5 * scale + 1);
    uint64_t next = unit << 5;
    uint64_t here = scale == 3 ? pages : pages % next;
    uint64_t count = (here + unit - 1) / unit;
    if (count == 0)
      continue;
    uint64_t operand = (uint64_t)1 << 46 | (uint64_t)scale << 44 | (count - 1) << 39 | a >> PAGE_SHIFT;
    __asm__ volatile("sys #4, c8, c0, #2, %0" ::"r"(operand) : "memory"); /* TLBI RIPAS2E1IS */
    note(TRACE_TLBI_RIPAS2E1IS, vmid, a, count * unit << PAGE_SHIFT, 0);
    a += count * unit << PAGE_SHIFT;
    pages -= count * unit < pages ? count * unit : pages;
  }
}

static void flush_stage2(uint16_t vmid, uint64_t a, uint64_t bytes, unsigned level, bool tables) {
  uint64_t leaf_bytes = (uint64_t)1 << (PAGE_SHIFT + 9 * (3 - level));
  uint64_t leaves = (bytes + leaf_bytes - 1) / leaf_bytes;
  if (leaves > 1 && feature_on(HYP_FEAT_TLBI_RANGE) && bytes >> PAGE_SHIFT <= RANGE_PAGES_MAX) {
    flush_range(vmid, a, bytes >> PAGE_SHIFT);
  } else if (leaves <= FLUSH_BY_LEAF_MAX) {
    for (uint64_t i = 0; i < leaves; i++)
      flush_leaf(vmid, a + i * leaf_bytes, level, leaf_bytes, tables);
  } else {
    __asm__ volatile("tlbi vmalls12e1is" ::: "memory");
    note(TRACE_TLBI_VMALLS12E1IS, vmid, 0, 0, 0);
  }
}

void tlb_flush_ipa(const struct pt *pt, const struct vmid *id, ipa_t a, uint64_t bytes, unsigned level, bool tables) {
  struct vttbr_guard guard;
  sync_stores();
  uint16_t vmid = vmid_value(id); /* after the DSB: whoever takes up a VMID from now on walks the new entries */
  if (vmid == 0)
    return; /* never ran: no TLB can hold anything of it */
  vttbr_enter(&guard, pt, id);
  flush_stage2(vmid, a.v, bytes, level, tables);
  sync_tlbi();
  __asm__ volatile("tlbi vmalle1is" ::: "memory");
  note(TRACE_TLBI_VMALLE1IS, vmid, 0, 0, 0);
  sync_tlbi();
  sync_context();
  vttbr_leave(&guard);
}

void tlb_flush_vmid(const struct pt *pt, const struct vmid *id) {
  struct vttbr_guard guard;
  sync_stores();
  uint16_t vmid = vmid_value(id);
  if (vmid == 0)
    return;
  vttbr_enter(&guard, pt, id);
  __asm__ volatile("tlbi vmalls12e1is" ::: "memory");
  note(TRACE_TLBI_VMALLS12E1IS, vmid, 0, 0, 0);
  sync_tlbi();
  sync_context();
  vttbr_leave(&guard);
}

void tlb_flush_all_vmids(void) {
  sync_stores();
  __asm__ volatile("tlbi alle1is" ::: "memory");
  note(TRACE_TLBI_ALLE1IS, 0, 0, 0, 0);
  sync_tlbi();
  sync_context();
}

void tlb_flush_local(void) {
  __asm__ volatile("tlbi vmalle1" ::: "memory");
  note(TRACE_TLBI_VMALLE1, (uint16_t)(sysreg_read(vttbr_el2) >> 48), 0, 0, 0);
  dsb(nsh);
  isb();
}

void icache_flush_all(void) {
  dsb(ish); /* what was written first: a fetch must not bring the old contents back (Arm ARM B2.4.4) */
  __asm__ volatile("ic ialluis" ::: "memory");
  note(TRACE_IC_IALLUIS, 0, 0, 0, 0);
  dsb(ish);
}
